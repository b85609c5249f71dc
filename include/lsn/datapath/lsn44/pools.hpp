// A shard's NAT addresses and their ports.
//
// A NatAddress holds, per protocol, which ports (ICMP: identifiers) are taken; no port is ever
// given twice, whatever its destination. The control thread makes the objects for addresses that a
// generation adds and gives them to their owner together with the generation (ShardAddresses);
// objects of addresses that stay are carried over, also into another pool. A freed port waits `portrealloctimeout` in its
// pool's queue before it can be taken again; when the queue is full it is free at once.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "lsn/datapath/generation.hpp"
#include "lsn/state/port_allocator.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/wire/big_endian.hpp"

namespace lsn::datapath::lsn44 {

struct NatAddress {
  wire::Ipv4Address ip;
  std::uint32_t serial = 0;       ///< no other object ever has the same
  std::uint32_t subscribers = 0;  ///< paired with it
  std::array<state::PortBitmap, kPortProtocols> ports;
};

/// Ports of one pool that wait before they are free, first come first out.
class ReallocQueue {
 public:
  static constexpr std::uint32_t kMaxCapacity = 65536;  ///< the largest maxPortReallocTmq

  struct Entry {
    wire::Ipv4Address ip;
    std::uint32_t serial;  ///< of the NatAddress: the address may go and come back meanwhile
    std::uint16_t port;
    Protocol protocol;
    state::Ticks given_back;
  };

  explicit ReallocQueue(std::uint32_t capacity) : entries_(capacity) {}

  [[nodiscard]] bool full() const { return count_ == entries_.size(); }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::uint32_t size() const { return count_; }
  [[nodiscard]] const Entry& front() const { return entries_[first_]; }
  void pop() {
    first_ = first_ + 1 == entries_.size() ? 0 : first_ + 1;
    --count_;
  }
  void push(const Entry& entry) {
    std::size_t at = std::size_t{first_} + count_;
    if (at >= entries_.size()) at -= entries_.size();
    entries_[at] = entry;
    ++count_;
  }

 private:
  std::vector<Entry> entries_;
  std::uint32_t first_ = 0;
  std::uint32_t count_ = 0;
};

/// What one shard needs of a generation beyond the generation itself: made by the control thread,
/// given to the shard whole, given back whole when the next one comes.
struct ShardAddresses {
  /// By NatAddressPlace::number; nullptr: another shard's.
  std::vector<NatAddress*> by_number;
  /// By stable pool id; nullptr: the pool never had a portrealloctimeout.
  std::vector<ReallocQueue*> realloc;
};

/// Owns a shard's NatAddress and ReallocQueue objects; lives with whoever publishes generations.
/// prepare() makes what a generation needs in addition; discard() frees what the shard does not
/// need any more, after the shard has given back the old ShardAddresses.
class AddressStore {
 public:
  [[nodiscard]] std::unique_ptr<ShardAddresses> prepare(const Generation& generation,
                                                        ShardId shard);
  void discard(const ShardAddresses& in_use);

 private:
  std::vector<std::unique_ptr<NatAddress>> addresses_;  ///< ascending by ip
  std::vector<std::unique_ptr<ReallocQueue>> queues_;   ///< by stable pool id
  std::uint32_t last_serial_ = 0;
};

}  // namespace lsn::datapath::lsn44
