// The workers as the control thread sees them: the one interface between decisions and packets.
//
// The runtime implements it over mailboxes; tests implement it over a table. Every function is
// called on the control thread and returns at once; answers come as calls of `done`, also on the
// control thread, from within poll(). A question goes to one shard; a caller that wants all asks
// each.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "lsn/shared/address_class.hpp"
#include "lsn/shared/alg_counters.hpp"
#include "lsn/shared/alg_queries.hpp"
#include "lsn/shared/counters.hpp"
#include "lsn/shared/events.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/shared/kernel_class.hpp"
#include "lsn/shared/log_record.hpp"
#include "lsn/shared/port_status.hpp"
#include "lsn/shared/queries.hpp"
#include "lsn/shared/route_row.hpp"

namespace lsn::shared {
class CaptureRing;
struct CaptureFilter;
}  // namespace lsn::shared

namespace lsn::control {

/// A worker as `stat worker` shows it.
struct WorkerStatus {
  unsigned cpu = 0;
  int numa_node = 0;
  const shared::Counters* counters = nullptr;  ///< lives as long as the dataplane
  const shared::AlgCounters* alg = nullptr;    ///< as long
  shared::ShardCapacity capacity;
};

class Dataplane {
 public:
  virtual ~Dataplane() = default;

  [[nodiscard]] virtual unsigned workers() const = 0;
  [[nodiscard]] virtual WorkerStatus worker(unsigned shard) const = 0;
  /// The classes by which the devices can distribute packets. Never another answer.
  [[nodiscard]] virtual shared::AddressClasses address_classes() const { return {}; }
  /// By device index (Interface::device).
  [[nodiscard]] virtual std::vector<shared::PortStatus> ports() = 0;
  /// By interface: its kernel interface. Shorter: none of the others has one.
  [[nodiscard]] virtual std::vector<std::optional<shared::KernelStatus>> kernel_interfaces() const {
    return {};
  }

  /// The thread that takes over the kernel's routes; nothing: none does.
  [[nodiscard]] virtual std::optional<shared::KernelRoutesStatus> kernel_routes() const {
    return std::nullopt;
  }
  /// At most about `limit` of the kernel's routes in order, those after `after`.
  [[nodiscard]] virtual std::vector<shared::RouteRow> list_kernel_routes(
      const std::optional<shared::RouteRow>& /*after*/, std::size_t /*limit*/) const {
    return {};
  }
  /// The kernel's route in force that a packet to an address takes, if no configured one is as
  /// long.
  [[nodiscard]] virtual std::optional<shared::RouteRow> find_kernel_route(
      const shared::InsideAddress& /*destination*/) const {
    return std::nullopt;
  }

  /// Makes a generation the current one; `done(ended)` when every worker works with it and the
  /// sessions that it does not allow any more are ended (their number).
  virtual void publish(std::shared_ptr<const shared::Generation> generation,
                       std::function<void(std::uint64_t ended)> done) = 0;

  /// Before the first publish(): the records that its workers restore with it, before their first
  /// packet; `done` with the number of records that hold.
  virtual void restore(std::vector<shared::StateRecord> records,
                       std::function<void(std::uint64_t restored)> done) = 0;

  /// The changes of the state that a shard would restore after a restart (StatePage).
  [[nodiscard]] virtual shared::StateRing& state_changes(unsigned shard) = 0;

  /// Ends the sessions that match; `done` with their number.
  virtual void flush(unsigned shard, shared::SessionFlush flush,
                     std::function<void(std::uint64_t flushed)> done) = 0;

  /// The same of the ALG.
  virtual void flush_alg(unsigned shard, shared::AlgFlush flush,
                         std::function<void(shared::AlgFlush)> done) = 0;

  /// A question that a shard answers in one go or in pages: it comes back with the rows found.
  using Question =
      std::variant<shared::SessionPage, shared::SubscriberPage, shared::MappingPage,
                   shared::BlockPage, shared::Usage, shared::StaticPage, shared::NeighbourPage,
                   shared::DropPage, shared::EspPage, shared::IkePage, shared::GatePage,
                   shared::AdvicePage, shared::StatePage, shared::Lookup>;
  virtual void ask(unsigned shard, Question question, std::function<void(Question)> done) = 0;

  /// The events of a shard's ALG for the log. Only the control thread takes them.
  [[nodiscard]] virtual shared::EventRing& alg_events(unsigned shard) = 0;

  /// The records of a shard; nullptr: it writes none. Only the log thread takes them.
  [[nodiscard]] virtual shared::LogRing* log_records(unsigned /*shard*/) { return nullptr; }
  /// When the clock of all tables would have stood at zero.
  [[nodiscard]] virtual std::chrono::steady_clock::time_point tick_zero() const { return {}; }

  /// From now on a shard writes the packets that fit into the ring; `done` when it does. The
  /// capture before has been stopped.
  virtual void start_capture(unsigned /*shard*/, std::shared_ptr<shared::CaptureRing> /*ring*/,
                             const shared::CaptureFilter& /*filter*/, std::function<void()> done) {
    done();
  }
  /// `done` when the shard writes nothing more.
  virtual void stop_capture(unsigned /*shard*/, std::function<void()> done) { done(); }

  /// ask() for one kind.
  template <class T>
  void ask_for(unsigned shard, T question, std::function<void(T)> done) {
    ask(shard, std::move(question),
        [then = std::move(done)](Question answer) { then(std::get<T>(std::move(answer))); });
  }

  /// Delivers answers, frees old generations, watches links. Called at every tick.
  virtual void poll() = 0;
};

}  // namespace lsn::control
