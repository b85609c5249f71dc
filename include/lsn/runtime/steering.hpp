// Asking a NIC to put packets where their owner polls.
//
// A hint, nothing more: every packet's owner is checked by the worker that gets it. A NIC with
// receive side scaling and a redirection table is given a key that makes the table's index the
// class of one address, whatever else it hashes (shared/address_class.hpp): inside the source's,
// outside the destination's, on a device of both the destination's. Its table is the shards' own.
// No flow rule is needed, and a reload changes entries of the table alone. Drivers are known here
// by what they cannot do (DPDK 22.11); the outcome for a port is kept in words, and
// Worker::check_distribution() sees whether it holds.
#pragma once

#include <rte_ethdev.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/shared/address_class.hpp"
#include "lsn/shared/generation.hpp"

namespace lsn::runtime {

class Steering {
 public:
  /// Bits of the class that the device can distribute by; 0: none.
  [[nodiscard]] static unsigned class_bits(const rte_eth_dev_info& info, std::string_view driver);

  /// The part of the device's offers to ask rte_eth_dev_configure() for; `conf` refers to this
  /// object's memory, as DPDK will.
  void choose(const rte_eth_dev_info& info, std::string_view driver, unsigned rx_queues,
              shared::HashedAddress by, const shared::AddressClasses& classes, rte_eth_conf& conf);

  /// After each start of the port. `poller_of[queue]`: the worker that polls it.
  void start(std::uint16_t port, const std::vector<unsigned>& poller_of);

  /// The owners of a generation instead of those of the one before.
  void update(const shared::Generation& generation);

  /// The distribution is not the one predicted: from now on by flow, with an ordinary key.
  void give_up();

  /// The outcome for the port.
  [[nodiscard]] std::string describe() const;

  /// Any thread: the address by which packets are distributed to their owners; nothing: they are
  /// not.
  [[nodiscard]] std::optional<shared::HashedAddress> by() const {
    const int by = by_.load(std::memory_order_relaxed);
    return by < 0 ? std::nullopt : std::optional(static_cast<shared::HashedAddress>(by));
  }

 private:
  enum class Way : std::uint8_t { kOneQueue, kNothing, kByFlow, kByOwner };

  void settle_key();
  [[nodiscard]] int tell_key();
  [[nodiscard]] int tell_table(const std::vector<std::uint16_t>& queues);
  void refuse(std::string why);
  [[nodiscard]] std::vector<std::uint16_t> queues_for(const shared::Generation& generation) const;
  void write_table(const std::vector<std::uint16_t>& queues);

  std::uint16_t port_ = RTE_MAX_ETHPORTS;
  unsigned rx_queues_ = 1;
  std::string driver_;
  Way way_ = Way::kOneQueue;
  shared::HashedAddress address_ = shared::HashedAddress::kSource;
  shared::AddressClasses classes_;
  /// Drivers read it at each start, some of them 52 bytes whatever its length.
  std::vector<std::uint8_t> key_;
  std::uint8_t key_length_ = 0;
  std::uint64_t types_ = 0;
  std::vector<int> queue_of_;         ///< by worker; -1: it polls none here
  std::vector<std::uint16_t> table_;  ///< the queues that the device has been told
  std::string refusal_;               ///< what the driver did not take
  std::atomic<int> by_{-1};
};

}  // namespace lsn::runtime
