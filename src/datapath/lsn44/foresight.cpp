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
  std::uint32_t subscriber_hash = 0;
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

void begin(Shard& shard, Openings& openings, const Packet& packet, Fetches& fetches) {
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
  opening.subscriber_hash = subscriber_hash(shard, packet.ip->source);
  fetches.add_line(tables.subscriber_index.line_of(opening.subscriber_hash));
  const SessionId session = tables.sessions.upcoming(openings.count);
  fetches.add(tables.sessions[session]);
  fetches.add(tables.cold[session]);
  if (has_mapping(opening.policy)) {
    opening.shares = true;
    opening.mapping_key =
        outbound_mapping_key(opening.policy, packet.protocol, packet.ip->source,
                             opening.inside_port(), packet.ip->destination, opening.remote_port());
    opening.mapping_hash = tables.mapping_index.hash(opening.mapping_key);
    fetches.add_line(tables.mapping_index.line_of(opening.mapping_hash));
  }
  ++openings.count;
}

void find_subscribers(Shard& shard, std::span<Opening> openings, Fetches& fetches) {
  Tables& tables = shard.lsn44;
  for (Opening& opening : openings) {
    opening.subscriber =
        find_subscriber(shard, opening.packet->ip->source, opening.subscriber_hash);
    if (opening.subscriber != state::kNone) fetches.add(tables.subscribers[opening.subscriber]);
    if (!opening.shares) continue;
    opening.mapping = tables.mapping_index.find(opening.mapping_key, opening.mapping_hash);
    if (opening.mapping != state::kNone) fetches.add(tables.mappings[opening.mapping]);
  }
  fetches.fetch();
}

/// The lists that they will be put on, and where their ports come from.
void look_around(Shard& shard, std::span<Opening> openings, Fetches& fetches) {
  Tables& tables = shard.lsn44;
  std::uint32_t draw = 0, new_mappings = 0;
  for (Opening& opening : openings) {
    const Subscriber* subscriber = nullptr;
    if (opening.subscriber != state::kNone) {
      subscriber = &tables.subscribers[opening.subscriber];
      if (!subscriber->sessions.empty()) fetches.add(tables.cold[subscriber->sessions.first]);
    }
    if (opening.mapping != state::kNone) continue;
    if (opening.shares) {
      fetches.add(tables.mappings[tables.mappings.upcoming(new_mappings++)]);
      if (subscriber != nullptr && !subscriber->mappings.empty())
        fetches.add(tables.mappings[subscriber->mappings.first]);
    }
    opening.outlook = look_ahead(shard, subscriber, *opening.group, opening.protocol(),
                                 opening.policy.pooling, draw, fetches);
  }
  fetches.fetch();
}

void narrow(std::span<Opening> openings, Fetches& fetches) {
  for (Opening& opening : openings)
    narrow(opening.outlook, *opening.group, opening.protocol(), opening.inside_port(), fetches);
  fetches.fetch();
}

/// The keys under which answers will be looked for.
void fetch_inbound(Shard& shard, std::span<Opening> openings, Fetches& fetches) {
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
    fetches.add_line(tables.inbound.line_of(tables.inbound.hash(key)));
    if (opening.shares && opening.mapping == state::kNone)
      fetches.add_line(tables.mapping_index.line_of(
          tables.mapping_index.hash(inbound_mapping_key(opening.protocol(), nat->ip, nat->port))));
  }
  fetches.fetch();
}

void add_port(Shard& shard, Protocol protocol, wire::Be32 nat_ip, wire::Be16 nat_port,
              Fetches& fetches) {
  const NatAddress* address = find_nat_address(shard, nat_ip);
  if (address == nullptr) return;
  const state::PortBitmap& ports = address->ports[static_cast<std::size_t>(protocol)];
  fetches.add_line(ports.line_of(nat_port.host()));
  fetches.add_line(ports.line_of_load());
}

/// Those whose links change when one is taken off its list: two lines at the most.
template <class Objects>
void add_neighbours(const state::ListLinks& links, const Objects& objects, Fetches& fetches) {
  for (const std::uint32_t id : {links.next, links.prev})
    if (id != state::kNone) fetches.add(objects[id]);
}

/// From outside: what says whether somebody lets it in.
void add_mapping(Shard& shard, const Packet& packet, Fetches& fetches) {
  const Tables& tables = shard.lsn44;
  const auto port = wire::Be16::raw(packet.key.c);
  if (tables.mappings.size() != 0)
    fetches.add_line(tables.mapping_index.line_of(tables.mapping_index.hash(
        inbound_mapping_key(packet.protocol, packet.ip->destination, port))));
  add_port(shard, packet.protocol, packet.ip->destination, port, fetches);
}

}  // namespace

void foresee(Shard& shard, std::span<const Packet* const> packets) {
  Openings openings;
  Fetches fetches;
  for (const Packet* packet : packets) {
    if (packet->kind != PacketKind::kFlow || packet->protocol == Protocol::kEsp) continue;
    if (packet->side == Side::kInside)
      begin(shard, openings, *packet, fetches);
    else
      add_mapping(shard, *packet, fetches);
  }
  fetches.fetch();
  find_subscribers(shard, openings.used(), fetches);
  look_around(shard, openings.used(), fetches);
  narrow(openings.used(), fetches);
  fetch_inbound(shard, openings.used(), fetches);
}

void foresee_sessions(Shard& shard, std::span<const SessionId> ids) {
  Tables& tables = shard.lsn44;
  Fetches fetches;
  for (const SessionId id : ids) {
    fetches.add(tables.sessions[id]);
    fetches.add(tables.cold[id]);
  }
  fetches.fetch();
  for (const SessionId id : ids) fetches.add(tables.subscribers[tables.cold[id].subscriber]);
  fetches.fetch();
  for (const SessionId id : ids) {
    const Session& session = tables.sessions[id];
    const SessionCold& cold = tables.cold[id];
    // Most are in use and only get a new place on the wheel.
    if ((session.last_seen + idle_timeout(shard, session, cold)).later_than(shard.now)) continue;
    add_neighbours(cold.of_subscriber, tables.cold, fetches);
    if (session.protocol == Protocol::kEsp) continue;
    fetches.add_line(tables.outbound.line_of(tables.outbound.hash(outbound_key(session))));
    fetches.add_line(tables.inbound.line_of(tables.inbound.hash(inbound_key(session))));
    if (cold.mapping() != state::kNone)
      fetches.add(tables.mappings[cold.mapping()]);
    else
      add_port(shard, session.protocol, session.nat_ip, session.nat_port, fetches);
  }
  fetches.fetch();
}

void foresee_mappings(Shard& shard, std::span<const MappingId> ids) {
  Tables& tables = shard.lsn44;
  Fetches fetches;
  for (const MappingId id : ids) fetches.add(tables.mappings[id]);
  fetches.fetch();
  for (const MappingId id : ids) {
    const Mapping& mapping = tables.mappings[id];
    if (mapping.sessions != 0) continue;
    fetches.add(tables.subscribers[mapping.subscriber]);
    add_neighbours(mapping.of_subscriber, tables.mappings, fetches);
    fetches.add_line(
        tables.mapping_index.line_of(tables.mapping_index.hash(outbound_key(mapping))));
    fetches.add_line(tables.mapping_index.line_of(tables.mapping_index.hash(inbound_key(mapping))));
    add_port(shard, mapping.protocol, mapping.nat_ip, mapping.nat_port, fetches);
  }
  fetches.fetch();
}

}  // namespace lsn::datapath::lsn44
