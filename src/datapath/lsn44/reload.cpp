// What a new generation means for what exists, and how the control thread looks at sessions.
//
// Both walk subscribers by their slots, a budget at a time; sessions are reached by their
// subscriber's lists, so that ending a removed client's or address' sessions costs as much as there
// are of them.

#include <algorithm>

#include "lsn/datapath/ipsec_alg/esp_sessions.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/ipsec_alg/stages.hpp"
#include "lsn/datapath/lsn44/lifecycle.hpp"
#include "lsn/datapath/path.hpp"

namespace lsn::datapath {

using namespace lsn44;

void adopt_generation(Shard& shard, const Generation* generation,
                      lsn44::ShardAddresses* addresses) {
  shard.generation = generation;
  if (const lsn44::ShardAddresses* before = shard.lsn44.addresses)
    addresses->full.take_over(before->full, addresses->fresh_slots);
  shard.lsn44.addresses = addresses;
  shard.counters.generation.set(generation->number);
  shard.inbound_refresh = generation->inbound_refresh;
  shard.adopted = ++shard.stamp;
  ipsec_alg::adopt_generation(shard);
}

namespace {

/// Where to go on in a subscriber's list of sessions. The one that was remembered may have ended
/// meanwhile: then from the beginning; what is listed twice was found good the first time.
SessionId resume(const Tables& tables, SubscriberId subscriber, SessionId remembered) {
  if (remembered != state::kNone &&
      (tables.sessions[remembered].flags & SessionFlags::kInUse) != 0 &&
      tables.cold[remembered].subscriber == subscriber)
    return remembered;
  return tables.subscribers[subscriber].sessions.first;
}

MappingId resume_mapping(const Tables& tables, SubscriberId subscriber, MappingId remembered) {
  if (remembered != state::kNone && tables.mappings[remembered].in_use != 0 &&
      tables.mappings[remembered].subscriber == subscriber)
    return remembered;
  return tables.subscribers[subscriber].mappings.first;
}

/// Shows all sessions and then all mappings of a subscriber, each of which the visitor may end.
/// `position` (GenerationSweep, SessionFlush) says where to go on. False: out of budget.
template <class Position, class VisitSession, class VisitMapping>
bool walk_subscriber(Shard& shard, SubscriberId id, Position& position, std::size_t& budget,
                     VisitSession&& visit_session, VisitMapping&& visit_mapping) {
  Tables& tables = shard.lsn44;
  const Subscriber& subscriber = tables.subscribers[id];
  if (!position.sessions_done) {
    for (SessionId session = resume(tables, id, position.next); session != state::kNone;) {
      if (budget == 0) {
        position.next = session;
        return false;
      }
      --budget;
      const SessionId next = tables.cold[session].of_subscriber.next;
      visit_session(session);
      if (subscriber.in_use == 0) break;  // that was all it had
      session = next;
    }
    position.sessions_done = true;
    position.next = state::kNone;
  }
  if (subscriber.in_use != 0) {
    for (MappingId mapping = resume_mapping(tables, id, position.next); mapping != state::kNone;) {
      if (budget == 0) {
        position.next = mapping;
        return false;
      }
      --budget;
      const MappingId next = tables.mappings[mapping].of_subscriber.next;
      visit_mapping(mapping);
      mapping = next;
    }
    release_subscriber(shard, id);
  }
  position.sessions_done = false;
  position.next = state::kNone;
  return true;
}

/// Ends what is not allowed of the subscriber at the cursor, and arms again what may end earlier
/// now. False: out of budget, more to do.
bool enforce_subscriber(Shard& shard, GenerationSweep& sweep, std::size_t& budget) {
  Tables& tables = shard.lsn44;
  Subscriber& subscriber = tables.subscribers[sweep.cursor];
  const Group* group = refresh_subscriber(shard, sweep.cursor);

  const auto is_shortened = [&](Protocol protocol) {
    return protocol == Protocol::kEsp || subscriber.has_moved ||
           group->shortened[static_cast<std::size_t>(protocol)];
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
  if (is_done) subscriber.has_moved = false;
  return is_done;
}

bool matches_subscriber(const SessionFilter& filter, wire::Be32 subscriber) {
  if (!filter.network) return true;
  const std::uint32_t mask = filter.netmask.value_or(filter.network->mask());
  return ((wire::Ipv4Address{subscriber}.value ^ filter.network->address.value) & mask) == 0;
}

/// By the NAT endpoint, the protocol and, of a session, the destination.
bool matches(const SessionFilter& filter, const auto& object) {
  if (filter.protocol && *filter.protocol != object.protocol) return false;
  if (filter.destination_ip) {
    if constexpr (requires { object.remote_ip; }) {
      if (filter.destination_ip->be() != object.remote_ip) return false;
    } else {
      return false;  // a mapping without sessions has none
    }
  }
  if (filter.nat_ip && filter.nat_ip->be() != object.nat_ip) return false;
  if (!filter.nat_port) return true;
  return object.protocol != Protocol::kEsp && *filter.nat_port == object.nat_port.host();
}

std::uint32_t seconds_since(state::Ticks now, state::Ticks then) {
  return static_cast<std::uint32_t>(std::max<std::int32_t>(now - then, 0)) / 100;
}

SessionRow row_of(const Shard& shard, const Session& session, const SessionCold& cold) {
  SessionRow row;
  row.protocol = session.protocol;
  row.direction = (session.flags & SessionFlags::kInboundFirst) != 0 ? Direction::kInbound
                                                                     : Direction::kOutbound;
  row.state = state_of(session);
  row.hairpin = (session.flags & SessionFlags::kHairpin) != 0;
  row.subscriber_ip = wire::Ipv4Address{session.inside_ip};
  row.nat_ip = wire::Ipv4Address{session.nat_ip};
  row.remote_ip = wire::Ipv4Address{session.remote_ip};
  if (session.protocol == Protocol::kEsp) {
    const ipsec_alg::EspSession& esp = shard.alg.esp_sessions[cold.mapping()];
    row.spi_out = wire::Be32::raw(esp.spi[ipsec_alg::at(Direction::kOutbound)]).host();
    row.spi_in = wire::Be32::raw(esp.spi[ipsec_alg::at(Direction::kInbound)]).host();
  } else {
    row.subscriber_port = session.inside_port.host();
    row.nat_port = shown_nat_port(session).host();
    row.remote_port = session.remote_port.host();
  }
  row.group = shard.lsn44.subscribers[cold.subscriber].group;
  row.idle_seconds = seconds_since(shard.now, session.last_seen);
  row.age_seconds = seconds_since(shard.now, cold.created);
  for (std::size_t d = 0; d < kDirections; ++d) {
    row.packets[d] = session.packets[d];
    row.bytes[d] = session.bytes[d];
  }
  return row;
}

}  // namespace

void enforce_generation(Shard& shard, GenerationSweep& sweep, std::size_t budget) {
  const Tables& tables = shard.lsn44;
  for (; sweep.cursor < tables.subscribers.high_water(); ++sweep.cursor) {
    if (budget == 0) return;
    --budget;
    if (tables.subscribers[sweep.cursor].in_use == 0) continue;
    const bool is_done = enforce_subscriber(shard, sweep, budget);
    // At once: the next packet must not find a gate of an address that is ours no more.
    ipsec_alg::resolve_doubts(shard);
    if (!is_done) return;
  }
  sweep.finished = true;
}

void list_sessions(Shard& shard, SessionPage& page, std::size_t budget) {
  const Tables& tables = shard.lsn44;
  for (; page.cursor < tables.sessions.high_water(); ++page.cursor) {
    if (budget == 0 || page.rows.size() >= page.limit) return;
    --budget;
    const Session& session = tables.sessions[page.cursor];
    if ((session.flags & SessionFlags::kInUse) == 0) continue;
    const SessionCold& cold = tables.cold[page.cursor];
    if (page.filter.group != kNoId &&
        tables.subscribers[cold.subscriber].group != page.filter.group)
      continue;
    if (matches_subscriber(page.filter, session.inside_ip) && matches(page.filter, session))
      page.rows.push_back(row_of(shard, session, cold));
  }
  page.finished = true;
}

void flush_sessions(Shard& shard, SessionFlush& flush, std::size_t budget) {
  Tables& tables = shard.lsn44;
  for (; flush.cursor < tables.subscribers.high_water(); ++flush.cursor) {
    if (budget == 0) return;
    --budget;
    const Subscriber& subscriber = tables.subscribers[flush.cursor];
    if (subscriber.in_use == 0 ||
        (flush.filter.group != kNoId && subscriber.group != flush.filter.group) ||
        !matches_subscriber(flush.filter, subscriber.ip))
      continue;
    // Flushed means forgotten: a mapping that keeps no session goes as well.
    const bool done = walk_subscriber(
        shard, flush.cursor, flush, budget,
        [&](SessionId session) {
          if (!matches(flush.filter, tables.sessions[session])) return;
          end_session(shard, session, SessionEnd::kFlushed);
          ++flush.flushed;
        },
        [&](MappingId mapping) {
          const Mapping& m = tables.mappings[mapping];
          if (m.sessions == 0 && matches(flush.filter, m)) remove_mapping(shard, mapping);
        });
    if (!done) return;
  }
  flush.finished = true;
}

}  // namespace lsn::datapath
