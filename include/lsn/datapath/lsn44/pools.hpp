// A shard's NAT addresses and their ports.
//
// A NatAddress holds, per protocol, which ports (ICMP: identifiers) are taken; no port is ever
// given twice, whatever its destination. The control thread creates the objects for addresses that
// a generation adds and gives them to their owner together with the generation (ShardAddresses);
// objects of addresses that stay are carried over, also into another pool. A freed port waits
// `portrealloctimeout` in its pool's queue before it can be taken again; when the queue is full it
// is free at once.
//
// Which addresses have a free port is known without asking them: each has a slot, a number that it
// keeps, and a bit per slot says that the address has none of a protocol and class of ports
// (FullAddresses). With the slots of a group's addresses (AddressSet) one that has room is found in
// the time of looking through as many bits, 64 at a time, also when all others are full.
//
// The ports of static mappings are taken like others, by nobody's session: an address knows which
// ports these mappings want, and which of them they have (StaticPorts). When a shard adopts a
// generation they get those that are free, and give back those that they do not want any more; a
// port that is in use becomes theirs when it would be free again (ports.cpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/block_map.hpp"
#include "lsn/state/port_allocator.hpp"
#include "lsn/state/port_set.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/wire/big_endian.hpp"

namespace lsn::datapath::lsn44 {

/// The ports of one protocol at a NAT address that static mappings want, and those that they have.
struct StaticPorts {
  const state::PortSet* wanted = nullptr;  ///< of the generation; nullptr: none
  state::PortSet* held = nullptr;          ///< the shard's

  [[nodiscard]] bool wants(std::uint16_t port) const {
    return wanted != nullptr && wanted->has(port);
  }
  [[nodiscard]] bool has(std::uint16_t port) const { return held != nullptr && held->has(port); }
};

struct NatAddress {
  wire::Ipv4Address ip;
  std::uint32_t serial = 0;       ///< no other object ever has the same
  std::uint32_t subscribers = 0;  ///< paired with it
  std::uint32_t slot = 0;         ///< no other object of the shard has the same at that time
  ByPortProtocol<StaticPorts> statics{};
  ByPortProtocol<state::PortBitmap> ports;
  std::unique_ptr<state::BlockMap> blocks;  ///< nullptr: its pool never had port blocks

  /// Whether static mappings have all that they want of it.
  [[nodiscard]] bool has_all_static_ports() const {
    for (const StaticPorts& of : statics)
      if (of.wanted != nullptr && *of.wanted != *of.held) return false;
    return true;
  }
  /// Whether a port of 1024 and above is free.
  [[nodiscard]] bool has_room(Protocol protocol) const {
    const state::PortBitmap& of = ports[protocol];
    return !of.is_full(3) || !of.is_full(4);
  }
};

/// Slots of NAT addresses, 64 to a word; words without any are left out.
struct AddressSet {
  struct Word {
    std::uint32_t number;
    std::uint64_t slots;
  };
  std::vector<Word> words;
};

/// The addresses that have no free port, by protocol and class of ports, and those that have no
/// free port block. "Not full" may be wrong for one that has become so without being noted; "full"
/// is always right.
class FullAddresses {
 public:
  explicit FullAddresses(std::uint32_t slots = 0) : no_block_((slots + 63) / 64) {
    for (auto& classes : full_)
      for (auto& words : classes) words.resize((slots + 63) / 64);
  }

  void set(std::size_t protocol, unsigned of_class, std::uint32_t slot) {
    full_[protocol][of_class][slot / 64] |= std::uint64_t{1} << slot % 64;
  }
  void clear(std::size_t protocol, unsigned of_class, std::uint32_t slot) {
    full_[protocol][of_class][slot / 64] &= ~(std::uint64_t{1} << slot % 64);
  }
  void set_no_block(std::uint32_t slot) { no_block_[slot / 64] |= std::uint64_t{1} << slot % 64; }
  void clear_no_block(std::uint32_t slot) {
    no_block_[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
  }
  /// Takes over the bits of `before`, but for slots that have another address now; those of blocks
  /// begin again, as their size may have changed.
  void take_over(const FullAddresses& before, const std::vector<std::uint32_t>& fresh);

  /// A slot of the set whose address has a port of one of the classes (a bit each), state::kNone if
  /// there is none. `random`: 32 random bits.
  [[nodiscard]] std::uint32_t find_with_room(const AddressSet& set, std::size_t protocol,
                                             unsigned classes, std::uint32_t random) const;
  /// The same, one with a free port block.
  [[nodiscard]] std::uint32_t find_with_block(const AddressSet& set, std::uint32_t random) const;

 private:
  using Words = std::vector<std::uint64_t>;
  ByPortProtocol<std::array<Words, state::kPortClasses>> full_;
  Words no_block_;
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

/// What static mappings want of one protocol at an address from a generation on.
struct StaticReservation {
  NatAddress* address;
  Protocol protocol;
  std::shared_ptr<const state::PortSet> wanted;  ///< nullptr: nothing any more
  std::shared_ptr<const state::PortSet> before;  ///< that the shard looks at until then
  state::PortSet* held;                          ///< of the store
};

/// One shard's part of a generation beyond the generation itself: created by the control thread,
/// given to the shard whole, given back whole when the next one comes.
struct ShardAddresses {
  /// By NatAddressPlace::number; nullptr: another shard's.
  std::vector<NatAddress*> by_number;
  std::vector<NatAddress*> by_slot;
  FullAddresses full;
  std::vector<std::uint32_t> fresh_slots;  ///< of addresses that the shard has not had before
  std::vector<AddressSet> sets;
  std::vector<std::uint32_t> set_of_group;  ///< by stable group id: index into sets
  /// Where that changes, but for addresses that the shard has not had before.
  std::vector<StaticReservation> statics;
  /// By stable pool id; nullptr: the pool never had a portrealloctimeout.
  std::vector<ReallocQueue*> realloc;
};

/// Owns a shard's NatAddress and ReallocQueue objects; lives with the publisher of generations.
/// prepare() creates the objects that a generation needs in addition; discard() frees those that
/// the shard does not need any more, after the shard has given back the old ShardAddresses.
class AddressStore {
 public:
  [[nodiscard]] std::unique_ptr<ShardAddresses> prepare(const Generation& generation,
                                                        ShardId shard);
  void discard(const ShardAddresses& in_use);

 private:
  struct StaticSets {
    std::shared_ptr<const state::PortSet> wanted;
    std::unique_ptr<state::PortSet> held;
  };
  void prepare_statics(const Generation& generation, ShardAddresses& result);

  std::vector<std::unique_ptr<NatAddress>> addresses_;  ///< ascending by ip
  std::vector<std::unique_ptr<ReallocQueue>> queues_;   ///< by stable pool id
  std::uint32_t last_serial_ = 0;
  std::uint32_t adopted_serial_ = 0;  ///< the shard has had all up to this one
  std::uint32_t slots_ = 0;           ///< that have ever been given
  std::vector<std::uint32_t> free_slots_;
  std::map<std::uint32_t, ByPortProtocol<StaticSets>> static_sets_;  ///< by NatAddress::serial
};

/// Notes which classes of ports an address has none of, after many have been taken or freed.
void note_full(ShardAddresses& addresses, const NatAddress& address, Protocol protocol);
/// Gives static mappings the ports that they want and that are free, and frees those that they do
/// not want any more. The caller notes which classes of ports are full then.
void reserve(const StaticReservation& reservation);

}  // namespace lsn::datapath::lsn44
