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
  shard.lsn44.addresses = addresses;
  shard.counters.generation.set(generation->number);
  shard.inbound_refresh = generation->inbound_refresh;
  ++shard.stamp;
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

/// A limit that a reload has brought counts the sessions that are there; one that it took away
/// forgets them.
void enforce_limits(const Group& group, Subscriber& subscriber) {
  for (std::size_t p = 0; p < kPortProtocols; ++p) {
    const auto bit = static_cast<std::uint8_t>(1u << p);
    const bool limited = group.transport[p].group_session_limit != 0;
    if (limited == ((subscriber.counted & bit) != 0)) continue;
    std::atomic<std::uint64_t>& sessions = group.usage->sessions[p];
    if (limited) {
      sessions.fetch_add(subscriber.session_count[p], std::memory_order_relaxed);
    } else {
      sessions.fetch_sub(subscriber.session_count[p], std::memory_order_relaxed);
    }
    subscriber.counted ^= bit;
  }
}

/// Counts those who stay here although the present map has another owner for them: when no shard
/// has any, former maps need not be asked any more.
void note_stranger(Shard& shard, Subscriber& subscriber) {
  const ShardMap& map = *shard.generation->maps.front();
  const bool stranger = map.owner_of(wire::Ipv4Address{subscriber.ip}) != shard.id;
  if (stranger == (subscriber.stranger != 0)) return;
  subscriber.stranger = stranger ? 1 : 0;
  if (stranger) {
    shard.counters.strangers.add();
  } else {
    shard.counters.strangers.subtract();
  }
}

bool is_mapping_allowed(const Shard& shard, const Group* group, const Mapping& mapping) {
  const NatAddressPlace* place =
      shard.generation->nat_addresses.find(wire::Ipv4Address{mapping.nat_ip});
  return group != nullptr && place != nullptr && place->owner == shard.id &&
         std::find(group->pools.begin(), group->pools.end(), place->pool) != group->pools.end();
}

/// Ends what is not allowed of the subscriber at the cursor. False: out of budget, more to do.
bool enforce_subscriber(Shard& shard, GenerationSweep& sweep, std::size_t& budget) {
  Tables& tables = shard.lsn44;
  Subscriber& subscriber = tables.subscribers[sweep.cursor];
  const Group* group = shard.generation->group(subscriber.group);
  if (group != nullptr) enforce_limits(*group, subscriber);
  note_stranger(shard, subscriber);
  if (subscriber.paired_ip.raw() != 0) {
    const NatAddressPlace* place =
        shard.generation->nat_addresses.find(wire::Ipv4Address{subscriber.paired_ip});
    if (group == nullptr || place == nullptr ||
        std::find(group->pools.begin(), group->pools.end(), place->pool) == group->pools.end())
      unpair(shard, subscriber);
  }
  ipsec_alg::enforce_generation(shard, sweep.cursor);

  return walk_subscriber(
      shard, sweep.cursor, sweep, budget,
      [&](SessionId session) {
        if (is_allowed(shard, tables.sessions[session], tables.cold[session])) {
          if (tables.sessions[session].protocol == Protocol::kEsp) rearm_session(shard, session);
          return;
        }
        end_session(shard, session, SessionEnd::kReload);
        ++sweep.ended;
      },
      [&](MappingId mapping) {
        const Mapping& m = tables.mappings[mapping];
        if (m.sessions == 0 && !is_mapping_allowed(shard, group, m)) remove_mapping(shard, mapping);
      });
}

bool matches_subscriber(const SessionFilter& filter, wire::Be32 subscriber) {
  if (!filter.network) return true;
  const std::uint32_t mask = filter.netmask.value_or(filter.network->mask());
  return ((wire::Ipv4Address{subscriber}.value ^ filter.network->address.value) & mask) == 0;
}

/// By the NAT endpoint of a session or mapping.
bool matches(const SessionFilter& filter, const auto& object) {
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
    const ipsec_alg::EspSession& esp = shard.alg.esp_sessions[cold.mapping];
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
