#include "lsn/datapath/lsn44/foresight.hpp"

#include <array>

#include "lsn/datapath/lsn44/lifecycle.hpp"
#include "lsn/datapath/lsn44/stages.hpp"
#include "lsn/datapath/path.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// A session to be made for a packet from inside.
struct Opening {
  const Packet* packet = nullptr;
  const Group* group = nullptr;
  AppPolicy policy;
  bool shares = false;  ///< it has a mapping, known or new
  state::FlowKey mapping_key;
  std::uint32_t mapping_hash = 0;
  SubscriberId subscriber = state::kNone;
  MappingId mapping = state::kNone;
  PortOutlook outlook;  ///< where its own port will be, or that of its new mapping

  [[nodiscard]] Protocol protocol() const { return packet->protocol; }
  [[nodiscard]] wire::Be16 inside_port() const { return wire::Be16::raw(packet->key.c); }
  [[nodiscard]] wire::Be16 remote_port() const { return wire::Be16::raw(packet->key.d); }
};

struct Openings {
  std::array<Opening, kBurst> all;
  std::uint32_t count = 0;

  [[nodiscard]] std::span<Opening> used() { return {all.data(), count}; }
};

void begin(Shard& shard, Openings& openings, const Packet& packet) {
  Tables& tables = shard.lsn44;
  const Generation& generation = *shard.generation;
  const std::uint16_t* id =
      generation.maps.front()->group_of(wire::Ipv4Address{packet.ip->source});
  const Group* group = id == nullptr ? nullptr : generation.group(*id);
  if (group == nullptr) return;
  Opening& opening = openings.all[openings.count];
  opening.packet = &packet;
  opening.group = group;
  opening.policy = group->app(packet.protocol, opening.remote_port().host());
  prefetch_subscriber(shard, packet.ip->source);
  const SessionId session = tables.sessions.upcoming(openings.count);
  tables.sessions.prefetch(session);
  tables.cold.prefetch(session);
  if (has_mapping(opening.policy)) {
    opening.shares = true;
    opening.mapping_key =
        outbound_mapping_key(opening.policy, packet.protocol, packet.ip->source,
                             opening.inside_port(), packet.ip->destination, opening.remote_port());
    opening.mapping_hash = tables.mapping_index.hash(opening.mapping_key);
    tables.mapping_index.prefetch(opening.mapping_hash);
  }
  ++openings.count;
}

void find_subscribers(Shard& shard, std::span<Opening> openings) {
  Tables& tables = shard.lsn44;
  for (Opening& opening : openings) {
    opening.subscriber = find_subscriber(shard, opening.packet->ip->source);
    if (opening.subscriber != state::kNone) tables.subscribers.prefetch(opening.subscriber);
    if (!opening.shares) continue;
    opening.mapping = tables.mapping_index.find(opening.mapping_key, opening.mapping_hash);
    if (opening.mapping != state::kNone) tables.mappings.prefetch(opening.mapping);
  }
}

/// The lists that they will be put on, and where their ports come from.
void look_around(Shard& shard, std::span<Opening> openings) {
  Tables& tables = shard.lsn44;
  std::uint32_t draw = 0, new_mappings = 0;
  for (Opening& opening : openings) {
    const Subscriber* subscriber = nullptr;
    if (opening.subscriber != state::kNone) {
      subscriber = &tables.subscribers[opening.subscriber];
      if (!subscriber->sessions.empty()) tables.cold.prefetch(subscriber->sessions.first);
    }
    if (opening.mapping != state::kNone) continue;
    if (opening.shares) {
      tables.mappings.prefetch(tables.mappings.upcoming(new_mappings++));
      if (subscriber != nullptr && !subscriber->mappings.empty())
        tables.mappings.prefetch(subscriber->mappings.first);
    }
    opening.outlook = look_ahead(shard, subscriber, *opening.group, opening.protocol(),
                                 opening.policy.pooling, draw);
  }
}

void narrow(std::span<Opening> openings) {
  for (Opening& opening : openings)
    narrow(opening.outlook, *opening.group, opening.protocol(), opening.inside_port());
}

/// The keys under which answers will be looked for.
void fetch_inbound(Shard& shard, std::span<Opening> openings) {
  Tables& tables = shard.lsn44;
  for (const Opening& opening : openings) {
    std::optional<NatEndpoint> nat;
    if (opening.mapping != state::kNone) {
      const Mapping& mapping = tables.mappings[opening.mapping];
      nat = NatEndpoint{mapping.nat_ip, mapping.nat_port};
    } else {
      nat = likely_endpoint(opening.outlook, *opening.group, opening.protocol(),
                            opening.inside_port());
    }
    if (!nat) continue;
    const auto key = state::FlowKey::make(
        nat->ip.raw(), opening.packet->ip->destination.raw(), nat->port.raw(),
        opening.remote_port().raw(), static_cast<unsigned>(flow_kind(opening.protocol())));
    tables.inbound.prefetch(tables.inbound.hash(key));
    if (opening.shares && opening.mapping == state::kNone)
      tables.mapping_index.prefetch(tables.mapping_index.hash(
          inbound_mapping_key(opening.protocol(), nat->ip, nat->port)));
  }
}

void fetch_port(Shard& shard, Protocol protocol, wire::Be32 nat_ip, wire::Be16 nat_port) {
  const NatAddress* address = find_nat_address(shard, nat_ip);
  if (address != nullptr)
    address->ports[static_cast<std::size_t>(protocol)].prefetch(nat_port.host());
}

/// Those whose links change when one is taken off its list.
template <class Objects>
void fetch_neighbours(const state::ListLinks& links, const Objects& objects) {
  for (const std::uint32_t id : {links.next, links.prev})
    if (id != state::kNone) objects.prefetch(id);
}

/// From outside: what says whether somebody lets it in.
void fetch_mapping(Shard& shard, const Packet& packet) {
  const Tables& tables = shard.lsn44;
  const auto port = wire::Be16::raw(packet.key.c);
  if (tables.mappings.size() != 0)
    tables.mapping_index.prefetch(tables.mapping_index.hash(
        inbound_mapping_key(packet.protocol, packet.ip->destination, port)));
  fetch_port(shard, packet.protocol, packet.ip->destination, port);
}

/// Whether no other shard will have it.
bool stays(Shard& shard, const Packet& packet) {
  std::uint16_t group;
  return packet.side == Side::kInside
             ? steer_outbound(shard, packet.ip->source, packet.asked, group).is_next()
             : steer_inbound(shard, packet.ip->destination).is_next();
}

}  // namespace

void foresee(Shard& shard, std::span<const Packet* const> packets) {
  Openings openings;
  for (const Packet* packet : packets) {
    if (packet->kind != PacketKind::kFlow || packet->protocol == Protocol::kEsp) continue;
    if (shard.shards > 1 && !stays(shard, *packet)) continue;
    if (packet->side == Side::kInside) begin(shard, openings, *packet);
    else fetch_mapping(shard, *packet);
  }
  find_subscribers(shard, openings.used());
  look_around(shard, openings.used());
  narrow(openings.used());
  fetch_inbound(shard, openings.used());
}

void foresee_sessions(Shard& shard, std::span<const SessionId> ids) {
  Tables& tables = shard.lsn44;
  for (const SessionId id : ids) {
    tables.sessions.prefetch(id);
    tables.cold.prefetch(id);
  }
  for (const SessionId id : ids) tables.subscribers.prefetch(tables.cold[id].subscriber);
  for (const SessionId id : ids) {
    const Session& session = tables.sessions[id];
    const SessionCold& cold = tables.cold[id];
    // Most are in use and only get a new place on the wheel.
    if ((session.last_seen + idle_timeout(shard, session, cold)).later_than(shard.now)) continue;
    fetch_neighbours(cold.of_subscriber, tables.cold);
    if (session.protocol == Protocol::kEsp) continue;
    tables.outbound.prefetch(tables.outbound.hash(outbound_key(session)));
    tables.inbound.prefetch(tables.inbound.hash(inbound_key(session)));
    if (cold.mapping != state::kNone)
      tables.mappings.prefetch(cold.mapping);
    else
      fetch_port(shard, session.protocol, session.nat_ip, session.nat_port);
  }
}

void foresee_mappings(Shard& shard, std::span<const MappingId> ids) {
  Tables& tables = shard.lsn44;
  for (const MappingId id : ids) tables.mappings.prefetch(id);
  for (const MappingId id : ids) {
    const Mapping& mapping = tables.mappings[id];
    if (mapping.sessions != 0) continue;
    tables.subscribers.prefetch(mapping.subscriber);
    fetch_neighbours(mapping.of_subscriber, tables.mappings);
    tables.mapping_index.prefetch(tables.mapping_index.hash(outbound_key(mapping)));
    tables.mapping_index.prefetch(tables.mapping_index.hash(inbound_key(mapping)));
    fetch_port(shard, mapping.protocol, mapping.nat_ip, mapping.nat_port);
  }
}

}  // namespace lsn::datapath::lsn44
