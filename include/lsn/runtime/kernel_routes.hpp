// The thread that follows the kernel's IPv4 routes (rtnetlink(7)) and puts those that lead by our
// kernel interfaces into the packet path (route_table.hpp).
//
// It listens first and then reads the whole table, so that nothing is missed between; what it hears
// meanwhile it applies afterwards, in order. It reads the table again when it may have missed
// something: the kernel had more changes than its buffer holds, an interface came, went, or lost
// its carrier or address - of the routes that this takes away the kernel says nothing -, or a next
// hop object was removed. What the table has not is then removed; nothing else changes meanwhile.
//
// Taken are unicast routes of one table, of no other TOS than 0, whose ways go by a kernel
// interface of ours to a gateway in its network. The networks of the interfaces themselves are not:
// they are the configuration's.
#pragma once

#include <rte_rcu_qsbr.h>

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lsn/control/file_descriptor.hpp"
#include "lsn/runtime/plan.hpp"
#include "lsn/runtime/route_table.hpp"

namespace lsn::runtime {

class KernelRoutes {
 public:
  /// Interfaces have their kernel interfaces. All that is given outlives it. Error: one line.
  [[nodiscard]] static std::expected<std::unique_ptr<KernelRoutes>, std::string> start(
      const Plan& plan, shared::Fib& fib, rte_rcu_qsbr* quiescence);
  ~KernelRoutes();
  KernelRoutes(const KernelRoutes&) = delete;
  KernelRoutes& operator=(const KernelRoutes&) = delete;

  // ── control thread ────────────────────────────────────────────────────────────────────────────

  /// The interfaces are others' domains: the table is read again.
  void set_sides(std::vector<RouteTable::Side> sides);
  [[nodiscard]] shared::KernelRoutesStatus status() const;
  [[nodiscard]] std::vector<shared::RouteRow> list(const std::optional<shared::RouteRow>& after,
                                                   std::size_t limit) const;
  [[nodiscard]] std::optional<shared::RouteRow> find(shared::DomainId td,
                                                     wire::Ipv4Address address) const;

 private:
  class Space;

  KernelRoutes(const Plan& plan, shared::Fib& fib, rte_rcu_qsbr* quiescence);
  void run();
  void wake() const;

  mutable std::mutex mutex_;  ///< of the table and the status
  RouteTable table_;
  shared::KernelRoutesStatus status_;
  std::vector<std::unique_ptr<Space>> spaces_;  ///< by network namespace
  control::FileDescriptor wake_;
  std::atomic<bool> stop_{false}, read_again_{false};
  std::thread thread_;
};

}  // namespace lsn::runtime
