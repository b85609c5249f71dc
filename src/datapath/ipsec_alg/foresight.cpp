#include "lsn/datapath/ipsec_alg/foresight.hpp"

#include <array>

#include "lsn/datapath/ipsec_alg/attribution.hpp"
#include "lsn/datapath/ipsec_alg/keys.hpp"
#include "lsn/datapath/path.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

/// All its lines: a gate is read from its head to the SPIs that it has seen.
template <class T>
void prefetch_whole(const T& object) {
  const char* bytes = reinterpret_cast<const char*>(&object);
  for (std::size_t at = 0; at < sizeof(T); at += state::kCacheLine)
    __builtin_prefetch(bytes + at);
}

}  // namespace

void foresee(Shard& shard, std::span<const Packet* const> packets) {
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
    if (asked.gate != state::kNone) prefetch_whole(tables.gates[asked.gate]);
  }
  for (Asked& asked : used) {
    if (asked.gate == state::kNone) continue;
    const Gate& gate = tables.gates[asked.gate];
    asked.peer = asked_about(gate);
    prefetch_whole(tables.peers[asked.peer]);
    if (!gate.claimants.empty()) prefetch_whole(tables.peers[gate.claimants.first]);
  }
  for (const Asked& asked : used)
    if (asked.gate != state::kNone)
      shard.lsn44.subscribers.prefetch(tables.peers[asked.peer].subscriber);
}

}  // namespace lsn::datapath::ipsec_alg
