// The floor that all of a shard stands on: its id, the time, the generation that it works with, its
// counters, and the buffers of packets that leave it.
//
// A shard is built of floors. Each is the base of the next one, knows those below it, and nothing
// of those above:
//
//   Context    this file
//   L3         next hops, fragments, ICMP of its own       l3/l3.hpp
//   Lsn44      sessions, mappings, subscribers, NAT ports  lsn44/lsn44.hpp
//   IpsecAlg   IKE and ESP sessions, gates                 ipsec_alg/ipsec_alg.hpp
//   Shard      all of it: what one worker owns             shard.hpp
//
// A function takes the lowest floor that it needs and calls it `shard`: it is one object, seen from
// any floor. Holding one means "I run on its core": nothing in it is locked, and only the counters
// may be read by others. No floor knows a thread, a NIC or a clock: the runtime sets `now` and
// `generation` before each burst and takes the packets out of `tx` and `handoff_buffers`.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <array>
#include <cstdint>
#include <vector>

#include "lsn/datapath/overload.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/recent_drops.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/counters.hpp"
#include "lsn/shared/fib.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/shared/queries.hpp"
#include "lsn/state/flow_table.hpp"
#include "lsn/state/random.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/wire/ethernet.hpp"

namespace lsn::datapath {

class CaptureTap;
class KernelPolicer;

/// Packets that wait for a device. The worker sends them after every burst.
struct TxBuffer {
  static constexpr std::uint32_t kCapacity = 512;

  std::uint32_t count = 0;
  std::uint32_t captured = 0;  ///< the first ones, which the capture that runs has already
  std::array<rte_mbuf*, kCapacity> packets;
};

/// Packets that wait for another shard's ring.
struct HandoffBuffer {
  static constexpr std::uint32_t kCapacity = 256;

  std::uint32_t count = 0;
  std::array<rte_mbuf*, kCapacity> packets;
};

/// Packets of one class that wait for the ring to the kernel path's thread.
struct KernelBuffer {
  static constexpr std::uint32_t kCapacity = 64;

  std::uint32_t count = 0;
  std::array<rte_mbuf*, kCapacity> packets;
};

/// The interface that a frame came in on, as the packet path needs it: all that a device adds to
/// its configuration, and its side.
struct InterfaceLink {
  wire::MacAddress mac;
  Side side;
  KernelUse kernel = KernelUse::kNone;
  /// Of its traffic domain (Context::mark_of()): set with each generation.
  std::uint64_t mark = 0;
};

/// Sums of one burst, added to the counters at its end.
struct BurstTotals {
  struct Sum {
    std::uint32_t packets = 0;
    std::uint32_t bytes = 0;
  };
  ByProtocol<ByDirection<Sum>> translated;
  Sum received[kMaxInterfaces];
  /// The interfaces of which received[] is not zero: a burst's packets come from so many at most.
  std::array<InterfaceId, kBurst> received_on{};
  std::uint32_t received_on_count = 0;
};

struct ContextConfig {
  ShardId id = 0;
  unsigned shards = 1;
  std::vector<InterfaceLink> links;  ///< by interface index
  std::uint16_t devices = 1;
  rte_mempool* buffers = nullptr;           ///< for packets of the NAT's own
  rte_mempool* indirect_buffers = nullptr;  ///< for fragments that refer to a packet's bytes
  state::ZeroedMemory* memory = nullptr;    ///< of the tables
  KernelPolicer* kernel_policer = nullptr;  ///< all shards'; null: no link has a kernel interface
  const shared::Fib* fib = nullptr;         ///< the kernel's routes; null: they are not asked for
  state::Random::Seed seed{};
  state::Ticks now{};
};

struct Context {
  explicit Context(const ContextConfig& config);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Set by the runtime before each burst.
  const Generation* generation = nullptr;
  state::Ticks now;

  // A session's next hop, and its check against the configuration, hold only while its own epoch
  // equals this one: raised by a new generation, and if a neighbour's index goes to another one.
  std::uint32_t epoch = 1;
  std::uint32_t adopted = 1;    ///< the epoch with which the generation came
  bool inbound_refresh = true;  ///< of the generation

  const ShardId id;
  const unsigned shards;  ///< in all
  std::vector<InterfaceLink> links;
  /// Interface of (device, VLAN id), kNoInterface if none: ingress[device][vlan].
  std::vector<std::array<InterfaceId, 4096>> ingress;

  BurstTotals totals;
  Overload overload;
  /// The core's time stamp, for what overload control charges; null: as reckoned.
  std::uint64_t (*clocks)() = nullptr;
  state::Random random;
  state::HashSecret secret;
  Counters counters;
  std::uint64_t misplaced = 0;  ///< packets that came here and are another shard's
  /// By device: an eighth of its last burst was another shard's.
  std::vector<char> brings_others;
  RecentDrops recent_drops;
  CaptureTap* capture = nullptr;  ///< of `start capture` (capture_tap.hpp); nullptr: none runs

  std::vector<TxBuffer> tx;                    ///< by device
  std::vector<HandoffBuffer> handoff_buffers;  ///< by shard
  std::array<KernelBuffer, kKernelClasses> kernel;
  KernelPolicer* const kernel_policer;  ///< l3/kernel_policer.hpp
  const shared::Fib* const fib;
  rte_mempool* const buffers;
  rte_mempool* const indirect_buffers;

  /// What the address pair of a flow from inside is XORed with in its name (packet.hpp): of domain
  /// 0 nothing. The lower halves of any two domains differ: so multiplies an odd number.
  [[nodiscard]] std::uint64_t mark_of(DomainId td) const { return td * (secret.words[1] | 1); }

  /// Frees a packet and counts why.
  void drop(rte_mbuf* packet, DropReason reason) {
    counters.drop(reason);
    recent_drops.note(reason, packet, now);
    if (capture != nullptr) [[unlikely]]
      capture_drop(packet, reason);
    rte_pktmbuf_free(packet);
  }
  /// A packet that is dropped, for the capture that runs.
  void capture_drop(const rte_mbuf* packet, DropReason reason);

  /// Puts a packet into the buffer for another shard. The packet's data begin at its link header.
  void handoff(rte_mbuf* packet, ShardId to, PacketOrigin origin);

 protected:
  ~Context() = default;
};

/// Applies a verdict: drops the packet, hands it off, or does nothing. The packet's data begin at
/// its link header.
void apply(Context& shard, Packet& packet, Verdict verdict);

/// Puts a packet into a device's transmit buffer; drops and counts it when that is full.
inline void transmit(Context& shard, std::uint16_t device, rte_mbuf* packet) {
  TxBuffer& buffer = shard.tx[device];
  if (buffer.count == TxBuffer::kCapacity) [[unlikely]] {
    shard.drop(packet, DropReason::kTxFull);
    return;
  }
  buffer.packets[buffer.count++] = packet;
}

/// The traffic domain that a packet is of: outside, and hairpinned, 0.
[[nodiscard]] inline DomainId domain_of(const Generation& generation, const Packet& packet) {
  return packet.side == Side::kInside ? generation.interfaces[packet.interface].td : DomainId{0};
}
/// An address as a packet of that domain, or this packet, means it.
[[nodiscard]] inline InsideAddress in_domain(DomainId td, wire::Be32 address) {
  return {wire::Ipv4Address{address}, td};
}
[[nodiscard]] inline InsideAddress in_domain_of(const Generation& generation, const Packet& packet,
                                                wire::Be32 address) {
  return in_domain(domain_of(generation, packet), address);
}

/// Whether an address is that of an interface which the packet's domain knows.
[[nodiscard]] inline bool is_own_address(const Generation& generation, const Packet& packet,
                                         wire::Be32 address) {
  return generation.is_own_address(in_domain_of(generation, packet, address));
}

using wire::is_host_address;

/// Questions of the control thread (shared/queries.hpp), a step of at most about `budget` objects.
void list_drops(const Context& shard, DropPage& page, std::size_t budget);

}  // namespace lsn::datapath
