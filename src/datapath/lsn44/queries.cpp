#include "lsn/datapath/lsn44/queries.hpp"

#include <algorithm>

#include "lsn/datapath/l3/output.hpp"
#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/blocks.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/session_rate.hpp"
#include "lsn/datapath/lsn44/static_mapping.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/datapath/lsn44/walk.hpp"

namespace lsn::datapath {

using namespace lsn44;

namespace {

bool matches_subscriber(const SessionFilter& filter, const Subscriber& subscriber) {
  if (filter.group != kNoId && subscriber.group != filter.group) return false;
  if (filter.td && subscriber.td != *filter.td) return false;
  if (!filter.network) return true;
  const std::uint32_t mask = filter.netmask.value_or(filter.network->mask());
  return ((wire::Ipv4Address{subscriber.ip}.value ^ filter.network->address.value) & mask) == 0;
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

SessionRow row_of(const Lsn44& shard, const Session& session, const SessionCold& cold) {
  SessionRow row;
  row.protocol = session.protocol;
  row.direction = (session.flags & SessionFlags::kInboundFirst) != 0 ? Direction::kInbound
                                                                     : Direction::kOutbound;
  row.state = state_of(session);
  row.by_static = session.protocol != Protocol::kEsp && cold.by_static();
  row.hairpin = (session.flags & SessionFlags::kHairpin) != 0;
  row.td = shard.lsn44.subscribers[cold.subscriber].td;
  row.subscriber_ip = wire::Ipv4Address{session.inside_ip};
  row.nat_ip = wire::Ipv4Address{session.nat_ip};
  row.remote_ip = wire::Ipv4Address{session.remote_ip};
  if (session.protocol == Protocol::kEsp) {
    const alg_hooks::EspNames names = alg_hooks::esp_names(shard, cold.esp());
    row.spi_out = names.spi[Direction::kOutbound].host();
    row.spi_in = names.spi[Direction::kInbound].host();
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

SubscriberRow row_of(const Subscriber& subscriber) {
  SubscriberRow row;
  row.ip = wire::Ipv4Address{subscriber.ip};
  row.td = subscriber.td;
  if (subscriber.paired_ip.raw() != 0) row.nat_ip = wire::Ipv4Address{subscriber.paired_ip};
  row.group = subscriber.group;
  row.sessions = subscriber.session_count;
  row.ports = subscriber.port_count;
  return row;
}

MappingRow row_of(const Lsn44& shard, const Mapping& mapping) {
  MappingRow row;
  row.protocol = mapping.protocol;
  row.mapping = mapping.mapping;
  row.filtering = mapping.filtering;
  row.td = shard.lsn44.subscribers[mapping.subscriber].td;
  row.subscriber_ip = wire::Ipv4Address{mapping.inside_ip};
  row.subscriber_port = mapping.inside_port.host();
  row.nat_ip = wire::Ipv4Address{mapping.nat_ip};
  row.nat_port = mapping.nat_port.host();
  if (mapping.mapping != Dependence::kEndpointIndependent)
    row.remote_ip = wire::Ipv4Address{mapping.remote_ip};
  if (mapping.mapping == Dependence::kAddressPort) row.remote_port = mapping.remote_port.host();
  row.group = shard.lsn44.subscribers[mapping.subscriber].group;
  row.sessions = mapping.sessions;
  const Group* const group = shard.generation->group(row.group);
  if (mapping.sessions == 0 && group != nullptr) {
    const state::Ticks end = mapping.idle_since + group->transport[mapping.protocol].stun_timeout;
    row.left_seconds = seconds_since(end, shard.now);
  }
  return row;
}

}  // namespace

void list_sessions(Lsn44& shard, SessionPage& page, std::size_t budget) {
  const Tables& tables = shard.lsn44;
  page.finished = walk_page(page, tables.sessions.high_water(), budget, [&](SessionId id) {
    const Session& session = tables.sessions[id];
    if ((session.flags & SessionFlags::kInUse) == 0) return;
    const SessionCold& cold = tables.cold[id];
    if (matches_subscriber(page.filter, tables.subscribers[cold.subscriber]) &&
        matches(page.filter, session))
      page.rows.push_back(row_of(shard, session, cold));
  });
}

void flush_sessions(Lsn44& shard, SessionFlush& flush, std::size_t budget) {
  Tables& tables = shard.lsn44;
  for (; flush.cursor < tables.subscribers.high_water(); ++flush.cursor) {
    if (budget == 0) return;
    --budget;
    const Subscriber& subscriber = tables.subscribers[flush.cursor];
    if (subscriber.in_use == 0 || !matches_subscriber(flush.filter, subscriber)) continue;
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

namespace {

/// Adds up what the subscriber's sessions have carried, from where the page stands; false: out of
/// budget.
bool sum_bytes(const Tables& tables, SubscriberId id, SubscriberPage& page, std::size_t& budget) {
  SessionId session = resume(tables, id, page.next);
  if (page.next == state::kNone || session != page.next)  // that one has ended meanwhile
    std::fill(std::begin(page.bytes), std::end(page.bytes), 0);
  for (; session != state::kNone; session = tables.cold[session].of_subscriber.next) {
    if (budget == 0) {
      page.next = session;
      return false;
    }
    --budget;
    for (std::size_t d = 0; d < kDirections; ++d)
      page.bytes[d] += tables.sessions[session].bytes[d];
  }
  page.next = state::kNone;
  return true;
}

}  // namespace

void list_subscribers(Lsn44& shard, SubscriberPage& page, std::size_t budget) {
  const Tables& tables = shard.lsn44;
  const auto matches_filter = [&](const Subscriber& subscriber) {
    return subscriber.in_use != 0 && matches_subscriber(page.filter, subscriber) &&
           (!page.filter.nat_ip || page.filter.nat_ip->be() == subscriber.paired_ip);
  };
  // A single one is looked up.
  std::uint32_t end = tables.subscribers.high_water();
  const bool has_domains = shard.generation->routes.all().size() > 1;
  if (page.filter.network && page.filter.network->length == 32 && !page.filter.netmask &&
      (page.filter.td || !has_domains)) {
    const SubscriberId id =
        find_subscriber(shard, {page.filter.network->address, page.filter.td.value_or(0)});
    if (id != page.cursor) page.next = state::kNone;
    page.cursor = id == state::kNone ? 0 : id;
    end = id == state::kNone ? 0 : id + 1;
  }
  for (; page.cursor < end; ++page.cursor) {
    if (budget == 0 || page.rows.size() >= page.limit) return;
    if (page.next == state::kNone) --budget;  // else it was visited before: each step gets on
    const Subscriber& subscriber = tables.subscribers[page.cursor];
    if (!matches_filter(subscriber)) {
      page.next = state::kNone;
      continue;
    }
    if (page.filter.with_bytes && !sum_bytes(tables, page.cursor, page, budget)) return;
    SubscriberRow row = row_of(subscriber);
    std::copy(std::begin(page.bytes), std::end(page.bytes), std::begin(row.bytes));
    page.rows.push_back(row);
  }
  page.finished = true;
}

void list_mappings(Lsn44& shard, MappingPage& page, std::size_t budget) {
  const Tables& tables = shard.lsn44;
  page.finished = walk_page(page, tables.mappings.high_water(), budget, [&](MappingId id) {
    const Mapping& mapping = tables.mappings[id];
    if (mapping.in_use == 0) return;
    if (matches_subscriber(page.filter, tables.subscribers[mapping.subscriber]) &&
        matches(page.filter, mapping))
      page.rows.push_back(row_of(shard, mapping));
  });
}

void list_missing_static_ports(Lsn44& shard, StaticPage& page, std::size_t budget) {
  // The cursor counts words of ports: of a protocol, of an address.
  constexpr std::uint32_t kWords = state::PortSet::kWords, kPerAddress = kPortProtocols * kWords;
  const auto& addresses = shard.lsn44.addresses->by_number;
  const auto end = static_cast<std::uint64_t>(addresses.size()) * kPerAddress;
  for (std::uint64_t at = page.cursor; at < end; --budget) {
    page.cursor = static_cast<std::uint32_t>(at);
    if (budget == 0 || page.rows.size() >= page.limit) return;
    const NatAddress* const address = addresses[at / kPerAddress];
    const auto protocol = static_cast<Protocol>(at % kPerAddress / kWords);
    const auto word = static_cast<std::uint32_t>(at % kWords);
    if (address == nullptr) {
      at += kPerAddress - at % kPerAddress;
      continue;
    }
    const StaticPorts& of = address->statics[protocol];
    if (of.wanted == nullptr) {
      at += kWords - word;
      continue;
    }
    ++at;
    const std::uint64_t missing = of.wanted->word(word) & ~of.held->word(word);
    if (missing != 0)
      page.rows.push_back({address->ip, protocol, static_cast<std::uint16_t>(word * 64), missing});
  }
  page.finished = true;
}

void list_blocks(Lsn44& shard, BlockPage& page, std::size_t budget) {
  const Tables& tables = shard.lsn44;
  page.finished = walk_page(page, tables.blocks.high_water(), budget, [&](BlockId id) {
    const Block& block = tables.blocks[id];
    if (block.in_use == 0) return;
    const Subscriber& subscriber = tables.subscribers[block.subscriber];
    if ((page.filter.nat_ip && page.filter.nat_ip->be() != block.nat_ip) ||
        !matches_subscriber(page.filter, subscriber))
      return;
    BlockRow row{wire::Ipv4Address{subscriber.ip},
                 {wire::Ipv4Address{block.nat_ip}, block.ports.first, block.ports.last},
                 subscriber.group};
    if (const NatAddress* const address = find_nat_address(shard, block.nat_ip))
      for (std::size_t p = 0; p < kPortProtocols; ++p)
        row.used[p] = address->ports[p].count_taken(block.ports.first, block.ports.last);
    row.td = subscriber.td;
    page.rows.push_back(row);
  });
}

void survey_usage(Lsn44& shard, Usage& usage, std::size_t budget) {
  const Tables& tables = shard.lsn44;
  const Generation& generation = *shard.generation;
  // The caller has made room for all; pools and groups that a reload has brought since are left
  // out.
  const auto pool_of = [&](std::size_t id) {
    return id < usage.pools.size() ? &usage.pools[id] : nullptr;
  };
  constexpr std::size_t kAddressCosts = 4;  // it and its protocols' counts are lines far apart
  if (usage.step == Usage::Step::kAddresses) {
    const auto& all = generation.nat_addresses.all();
    for (; usage.cursor < all.size(); ++usage.cursor) {
      if (budget == 0) return;
      const NatAddressPlace& place = all[usage.cursor].value;
      const NatAddress* const address =
          place.owner == shard.id ? tables.addresses->by_number[place.number] : nullptr;
      budget -= address == nullptr ? 1 : std::min(budget, kAddressCosts);
      Usage::OfPool* const pool = pool_of(place.pool);
      if (address == nullptr || pool == nullptr) continue;
      ++pool->addresses;
      pool->paired += address->subscribers;
      for (std::size_t p = 0; p < kPortProtocols; ++p) pool->ports[p] += address->ports[p].taken();
      if (address->blocks != nullptr) pool->blocks += address->blocks->taken();
      if (!generation.pools[place.pool].drains(address->ip)) continue;
      ++pool->draining.addresses;
      pool->draining.paired += address->subscribers;
      for (std::size_t p = 0; p < kPortProtocols; ++p)
        pool->draining.ports[p] += address->ports[p].taken();
    }
    usage.step = Usage::Step::kWaitingPorts;
    usage.cursor = 0;
  }
  if (usage.step == Usage::Step::kWaitingPorts) {
    for (; usage.cursor < tables.addresses->realloc.size(); ++usage.cursor) {
      if (budget == 0) return;
      --budget;
      const ReallocQueue* const queue = tables.addresses->realloc[usage.cursor];
      if (Usage::OfPool* const pool = pool_of(usage.cursor); queue != nullptr && pool != nullptr)
        pool->waiting = queue->size();
    }
    usage.step = Usage::Step::kSubscribers;
    usage.cursor = 0;
  }
  for (; usage.cursor < tables.subscribers.high_water(); ++usage.cursor) {
    if (budget == 0) return;
    --budget;
    const Subscriber& subscriber = tables.subscribers[usage.cursor];
    if (subscriber.in_use == 0 || subscriber.group >= usage.groups.size()) continue;
    Usage::OfGroup& group = usage.groups[subscriber.group];
    ++group.subscribers;
    for (std::size_t p = 0; p < kProtocols; ++p) group.sessions[p] += subscriber.session_count[p];
    for (std::size_t p = 0; p < kPortProtocols; ++p) group.ports[p] += subscriber.port_count[p];
  }
  usage.finished = true;
}

namespace {

/// The static mapping that fits.
std::optional<StaticMatch> match_static(Lsn44& shard, const Lookup& lookup) {
  const bool out = lookup.direction == Direction::kOutbound;
  const wire::Be32 local = lookup.local.be(), remote = lookup.remote.be();
  const InsideAddress inside{lookup.local, lookup.td};
  const wire::Be16 port = wire::Be16::of(lookup.local_port);
  if (lookup.protocol == Protocol::kEsp)
    return out ? match_inside(shard, inside, remote) : match_nat(shard, local, remote);
  return out ? match_inside(shard, lookup.protocol, inside, port, remote)
             : match_nat(shard, lookup.protocol, {local, port}, remote);
}

void look_up_port(Lsn44& shard, Lookup& lookup) {
  if (lookup.direction == Direction::kOutbound) return;
  const NatAddress* const address = find_nat_address(shard, lookup.local.be());
  lookup.owns_address = address != nullptr;
  lookup.port_taken = address != nullptr && lookup.protocol != Protocol::kEsp &&
                      address->ports[lookup.protocol].is_taken(lookup.local_port);
}

void look_up_hop(Lsn44& shard, Lookup& lookup) {
  if (lookup.direction == Direction::kOutbound)
    if (const auto way = way_to(shard, {lookup.remote, lookup.td}, lookup.local.be()))
      lookup.hop = lookup.way = way;
  if (!lookup.hop) return;
  const NeighbourId hop = shard.neighbours.find(lookup.hop->interface, lookup.hop->via.be());
  lookup.hop_known =
      hop != kNoNeighbour && shard.neighbours[hop].state == NeighbourState::kReachable;
}

/// What a new session from inside would get.
void look_up_new(Lsn44& shard, Lookup& lookup, SubscriberId subscriber) {
  const Group* const group = shard.generation->group(lookup.group);
  if (group == nullptr) return;
  const Tables& tables = shard.lsn44;
  const TransportPolicy& transport = group->transport[lookup.protocol];
  lookup.rate_spent = transport.session_rate != 0 && subscriber != state::kNone &&
                      !may_begin(shard, subscriber, lookup.protocol, transport);
  const PortOutlook outlook =
      port_outlook(shard, subscriber == state::kNone ? nullptr : &tables.subscribers[subscriber],
                   {lookup.local, lookup.td}, *group, lookup.protocol, lookup.policy.pooling);
  lookup.no_port = outlook.refusal;
  lookup.block = outlook.block;
  if (!lookup.full && has_mapping(lookup.policy) && !lookup.mapping &&
      tables.mappings.size() == tables.mappings.capacity())
    lookup.full = DropReason::kMappingTableFull;
}

}  // namespace

SubscriberId lsn44::look_up(Lsn44& shard, Lookup& lookup) {
  const Tables& tables = shard.lsn44;
  const bool out = lookup.direction == Direction::kOutbound;
  const wire::Be32 local = lookup.local.be(), remote = lookup.remote.be();
  const wire::Be16 local_port = wire::Be16::of(lookup.local_port);
  const wire::Be16 remote_port = wire::Be16::of(lookup.remote_port);
  const bool is_esp = lookup.protocol == Protocol::kEsp;
  const InsideAddress inside{lookup.local, lookup.td};
  const state::FlowKey name =
      is_esp ? esp_key(local, remote, wire::Be32::of(lookup.spi))
             : flow_key(lookup.protocol, local, local_port, remote, remote_port);
  SubscriberId subscriber = out ? find_subscriber(shard, inside) : state::kNone;
  if (const SessionId id = out ? find_outbound(shard, lookup.td, name)
                               : tables.inbound.find(name, tables.inbound.hash(name));
      id != state::kNone) {
    lookup.session = row_of(shard, tables.sessions[id], tables.cold[id]);
    subscriber = tables.cold[id].subscriber;
  }
  look_up_port(shard, lookup);
  const std::optional<StaticMatch> fixed = match_static(shard, lookup);
  lookup.static_held = fixed && fixed->is_active;
  if (!is_esp) {
    MappingId mapping = state::kNone;
    if (!out) {
      mapping = find_mapping(shard, lookup.protocol, local, local_port);
    } else if (has_mapping(lookup.policy)) {
      const state::FlowKey key = marked(outbound_mapping_key(lookup.policy, lookup.protocol, local,
                                                             local_port, remote, remote_port),
                                        shard.mark_of(lookup.td));
      mapping = tables.mapping_index.find(key, tables.mapping_index.hash(key));
      if (mapping != state::kNone && tables.mappings[mapping].subscriber != subscriber)
        mapping = state::kNone;
    }
    if (mapping != state::kNone) {
      lookup.mapping = row_of(shard, tables.mappings[mapping]);
      lookup.admits = !out && admits(shard, tables.mappings[mapping], remote);
      if (subscriber == state::kNone) subscriber = tables.mappings[mapping].subscriber;
    }
  }
  const bool is_let_in = !out && !is_esp && lookup.static_held && subscriber == state::kNone;
  if (is_let_in) subscriber = find_subscriber(shard, in_domain(fixed->td, fixed->endpoint.address));
  if (subscriber != state::kNone) lookup.subscriber = row_of(tables.subscribers[subscriber]);
  if (tables.sessions.size() == tables.sessions.capacity())
    lookup.full = DropReason::kSessionTableFull;
  else if ((out || is_let_in) && subscriber == state::kNone &&
           tables.subscribers.size() == tables.subscribers.capacity())
    lookup.full = DropReason::kSubscriberTableFull;
  if (out && !is_esp) look_up_new(shard, lookup, subscriber);
  look_up_hop(shard, lookup);
  return subscriber;
}

}  // namespace lsn::datapath
