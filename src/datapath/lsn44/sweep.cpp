#include "lsn/datapath/lsn44/sweep.hpp"

#include <algorithm>

#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/blocks.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/datapath/lsn44/walk.hpp"

namespace lsn::datapath {

using namespace lsn44;

void lsn44::adopt(Lsn44& shard, const Generation* generation, ShardAddresses* addresses) {
  shard.generation = generation;
  if (const ShardAddresses* before = shard.lsn44.addresses)
    addresses->full.take_over(before->full, addresses->fresh_slots);
  shard.lsn44.addresses = addresses;
  for (const StaticReservation& reservation : addresses->statics) {
    reserve(reservation);
    note_full(*addresses, *reservation.address, reservation.protocol);
  }
  shard.counters.generation.set(generation->number);
  shard.inbound_refresh = generation->inbound_refresh;
  for (std::size_t i = 0; i < std::min(shard.links.size(), generation->interfaces.size()); ++i)
    shard.links[i].mark = shard.mark_of(generation->interfaces[i].td);
  shard.adopted = ++shard.epoch;
}

namespace {

/// Ends sessions and mappings of the subscriber at the cursor that are not allowed, and arms again
/// those that may end earlier now. False: out of budget, more to do.
bool enforce_subscriber(Lsn44& shard, GenerationSweep& sweep, std::size_t& budget) {
  Tables& tables = shard.lsn44;
  Subscriber& subscriber = tables.subscribers[sweep.cursor];
  const Group* group = refresh_subscriber(shard, sweep.cursor);

  const auto is_shortened = [&](Protocol protocol) {
    return protocol == Protocol::kEsp || subscriber.has_moved || group->shortened[protocol];
  };
  const bool is_done = walk_subscriber(
      shard, sweep.cursor, sweep, budget,
      [&](SessionId id) {
        const Session& session = tables.sessions[id];
        if (!is_allowed(shard, id)) {
          end_session(shard, id, SessionEnd::kReload);
          ++sweep.ended;
        } else if (is_shortened(session.protocol)) {
          // A change of place on the wheel costs as much again.
          budget -= std::min<std::size_t>(budget, 1);
          rearm_session(shard, id);
        }
      },
      [&](MappingId id) {
        const Mapping& mapping = tables.mappings[id];
        const bool stays = revalidate_mapping(shard, id) && !mapping.is_retired;
        if (!stays && mapping.sessions == 0) {
          remove_mapping(shard, id);
        } else if (stays && is_shortened(mapping.protocol)) {
          rearm_mapping(shard, id);
        }
      });
  if (is_done) {
    subscriber.has_moved = false;
    if (subscriber.in_use != 0) rearm_blocks(shard, subscriber);
  }
  return is_done;
}

}  // namespace

void enforce_generation(Lsn44& shard, GenerationSweep& sweep, std::size_t budget) {
  const Tables& tables = shard.lsn44;
  for (; sweep.cursor < tables.subscribers.high_water(); ++sweep.cursor) {
    if (budget == 0) return;
    --budget;
    if (tables.subscribers[sweep.cursor].in_use == 0) continue;
    const bool is_done = enforce_subscriber(shard, sweep, budget);
    alg_hooks::on_subscriber_swept(shard);
    if (!is_done) return;
  }
  sweep.finished = true;
}

}  // namespace lsn::datapath
