// All that one worker owns: its tables, its share of the NAT addresses, its buffers, its counters.
//
// Holding a `Shard&` means "I run on its core": nothing in here is locked, and only the counters
// may be read by others. The packet path (path.hpp) works on a Shard and knows no thread, no NIC
// and no clock: the runtime puts received packets in, sets `now` and `generation` before each
// burst, and takes out what stands in `tx` and `handoff`; a test does the same without a NIC.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lsn/shared/counters.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/datapath/ipsec_alg/tables.hpp"
#include "lsn/datapath/l3/icmp_budget.hpp"
#include "lsn/datapath/l3/identification.hpp"
#include "lsn/datapath/l3/neighbours.hpp"
#include "lsn/datapath/lsn44/tables.hpp"
#include "lsn/datapath/overload.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/recent_drops.hpp"
#include "lsn/datapath/reassembly.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/state/random.hpp"
#include "lsn/wire/ethernet.hpp"

namespace lsn::datapath {

/// Packets that wait for a device. The worker sends them after every burst.
struct TxBuffer {
  static constexpr std::uint32_t kCapacity = 512;

  std::uint32_t count = 0;
  std::array<rte_mbuf*, kCapacity> packets;
};

/// Packets that wait for another shard's ring.
struct HandoffBuffer {
  static constexpr std::uint32_t kCapacity = 256;

  std::uint32_t count = 0;
  std::array<rte_mbuf*, kCapacity> packets;
};

/// What every frame is asked of the interface that it came in on: all that a device adds to its
/// configuration, and its side.
struct InterfaceLink {
  wire::MacAddress mac;
  Side side;
};

/// What one burst has translated, added to the counters at its end.
struct BurstTotals {
  struct Sum {
    std::uint32_t packets = 0;
    std::uint32_t bytes = 0;
  };
  Sum translated[kProtocols][kDirections];
  Sum received[kMaxInterfaces];
  /// The interfaces of which received[] is not zero: a burst's packets come from so many at most.
  std::array<InterfaceId, kBurst> received_on{};
  std::uint32_t received_on_count = 0;
};

struct ShardConfig {
  ShardId id = 0;
  unsigned shards = 1;
  std::uint32_t max_sessions = 65536;   ///< this shard's share
  std::uint32_t max_fragments = 4096;
  ipsec_alg::Capacity alg;              ///< this shard's share
  std::vector<InterfaceLink> links;     ///< by interface index
  std::uint16_t devices = 1;
  rte_mempool* buffers = nullptr;       ///< for packets that we make
  rte_mempool* indirect_buffers = nullptr;  ///< for fragments that refer to a packet's bytes
  state::ZeroedMemory* memory = nullptr;    ///< of the tables
  state::ZeroedMemory* session_memory = nullptr;  ///< of what every session takes; null: the same
  state::ZeroedMemory* mapping_memory = nullptr;  ///< of what every mapping takes; null: the same
  state::Random::Seed seed{};
  state::Ticks now{};
};

struct Shard {
  explicit Shard(const ShardConfig& config);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // Set by the runtime before each burst.
  const Generation* generation = nullptr;
  state::Ticks now;

  // What a session remembers of next hops and of the configuration holds only while its own stamp
  // equals this one: raised by a new generation and by a neighbour's index changing hands.
  std::uint32_t stamp = 1;
  std::uint32_t adopted = 1;    ///< the stamp with which the generation came
  bool inbound_refresh = true;  ///< of the generation
  /// housekeep() has done all that was due by then. Not set: it has not, or a generation is new.
  std::optional<state::Ticks> kept_up_to;

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
  RecentDrops recent_drops;

  Neighbours neighbours;
  IcmpBudget icmp_budget;
  Identifications identifications;
  Reassembly reassembly;
  lsn44::Tables lsn44;
  ipsec_alg::Tables alg;

  std::vector<TxBuffer> tx;            ///< by device
  std::vector<HandoffBuffer> handoff;  ///< by shard
  rte_mempool* const buffers;
  rte_mempool* const indirect_buffers;

  /// Frees a packet and counts why.
  void drop(rte_mbuf* packet, DropReason reason) {
    counters.drop(reason);
    recent_drops.note(reason, packet, now);
    rte_pktmbuf_free(packet);
  }

  /// Puts a packet into the buffer for another shard. The packet's data begin at its link header.
  void hand_over(rte_mbuf* packet, ShardId to, PacketOrigin origin) {
    HandoffBuffer& buffer = handoff[to];
    if (buffer.count == HandoffBuffer::kCapacity) {
      drop(packet, DropReason::kHandoffFull);
      return;
    }
    counters.handoff_sent.add();
    origin_of(packet) = origin;
    buffer.packets[buffer.count++] = packet;
  }
};

}  // namespace lsn::datapath
