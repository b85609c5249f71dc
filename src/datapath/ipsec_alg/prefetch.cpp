#include "lsn/datapath/ipsec_alg/prefetch.hpp"

#include <array>

#include "lsn/datapath/ipsec_alg/attribution.hpp"
#include "lsn/datapath/ipsec_alg/keys.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

template <std::size_t size>
void prefetch_front(const void* object) {
  const char* bytes = static_cast<const char*>(object);
#pragma GCC unroll 16
  for (std::size_t at = 0; at < size; at += state::kCacheLine) __builtin_prefetch(bytes + at);
}

void prefetch(const Gate& gate) {
  prefetch_front<sizeof(Gate)>(&gate);
}
void prefetch(const Peer& peer) {
  prefetch_front<sizeof(Peer)>(&peer);
}

}  // namespace

void prefetch(IpsecAlg& shard, std::span<const Packet* const> packets) {
  const Tables& tables = shard.alg;
  if (tables.gates.size() == 0) return;
  struct Asked {
    state::FlowKey key;
    std::uint32_t hash;
    GateId gate;
    PeerId peer;
  };
  std::array<Asked, kBurst> all;
  unsigned count = 0;
  for (const Packet* packet : packets) {
    if (packet->kind != PacketKind::kFlow || packet->protocol != Protocol::kEsp ||
        packet->side != Side::kOutside)
      continue;
    Asked& asked = all[count++];
    asked.key = gate_key(packet->ip->destination, packet->ip->source);
    asked.hash = tables.index.hash(asked.key);
    tables.index.prefetch(asked.hash);
  }
  const std::span<Asked> used{all.data(), count};
  for (Asked& asked : used) {
    asked.gate = tables.index.find(asked.key, asked.hash);
    if (asked.gate != state::kNone) prefetch(tables.gates[asked.gate]);
  }
  for (Asked& asked : used) {
    if (asked.gate == state::kNone) continue;
    const Gate& gate = tables.gates[asked.gate];
    // The SPI is likely to take the place of the oldest, which is the next one if many come.
    __builtin_prefetch(&tables.histories[asked.gate][(gate.latest_seen + 1u) % kSeenSpis], 1);
    asked.peer = asked_about(gate);
    prefetch(tables.peers[asked.peer]);
    if (!gate.claimants.empty()) prefetch(tables.peers[gate.claimants.first]);
  }
  for (const Asked& asked : used)
    if (asked.gate != state::kNone)
      shard.lsn44.subscribers.prefetch(tables.peers[asked.peer].subscriber);
}

}  // namespace lsn::datapath::ipsec_alg
