#include "lsn/datapath/ipsec_alg/clockwork.hpp"

#include <algorithm>

#include "lsn/datapath/ipsec_alg/esp.hpp"
#include "lsn/datapath/ipsec_alg/holding.hpp"
#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/ipsec_alg/turns.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

/// Released packets that one burst sends at most: the rest goes with the next.
constexpr std::size_t kReleaseBudget = 128;
/// ESP sessions whose traffic is added to the counters in one tick: a second for 6,400.
constexpr std::size_t kCountedPerTick = 64;

}  // namespace

void after_burst(IpsecAlg& shard) {
  if (!shard.alg.released.empty()) [[unlikely]]
    send_released(shard, kReleaseBudget);
  if (!shard.alg.unused.empty()) [[unlikely]]
    release_unused(shard);
}

void housekeep(IpsecAlg& shard, std::size_t budget) {
  expire_gates(shard, budget);  // design 4.7: closing is handled before ageing
  expire_waiters(shard, budget);
  expire_ike_sessions(shard, budget);
  count_traffic(shard, kCountedPerTick);
}

void adopt_generation(IpsecAlg& shard) {
  Tables& tables = shard.alg;
  tables.max_fresh_sequence = 0;
  for (const AlgProfile& profile : shard.generation->alg_profiles)
    if (profile.present)
      tables.max_fresh_sequence = std::max(tables.max_fresh_sequence, profile.fresh_sequence);
  tables.watched_sequence = tables.armed_gates == 0 ? 0 : tables.max_fresh_sequence;
}

void refresh_client(IpsecAlg& shard, SubscriberId subscriber_id) {
  Tables& tables = shard.alg;
  const Client& client = tables.clients[subscriber_id];
  if (client.peer_count == 0) return;
  const lsn44::Subscriber& subscriber = shard.lsn44.subscribers[subscriber_id];
  const bool has_profile = find_profile(shard, subscriber.group) != nullptr;
  bool removed = false;
  for (PeerId id = client.peers.first; id != state::kNone; id = tables.peers[id].of_client.next) {
    const GateId gate_id = tables.peers[id].gate;
    if (!has_profile || tables.gates[gate_id].nat_ip != subscriber.paired_ip) {
      clear_peer(shard, id, AlgEnd::kReload);
      removed = true;
      continue;
    }
    recount_profile(shard, id);
    for (IkeId ike = tables.peers[id].ike_sessions.first; ike != state::kNone;
         ike = tables.ike_sessions[ike].of_peer.next) {
      tables.ike_wheel.cancel(ike, tables.ike_wheel_links());
      tables.ike_wheel.schedule(ike, ike_deadline(shard, tables.ike_sessions[ike]),
                                tables.ike_wheel_links());
    }
    schedule_gate(shard, gate_id);
  }
  if (!removed) return;
  Event event = event_of(shard, EventKind::kStateRemoved, tables.peers[client.peers.first]);
  event.server = wire::Be32{};
  tables.events.put(event);
}

}  // namespace lsn::datapath::ipsec_alg
