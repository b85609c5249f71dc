#include "lsn/datapath/lsn44/prefetch.hpp"

#include <array>

#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// A session to be created for a packet from inside.
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
  PortPrediction prediction;  ///< where its own port will be, or that of its new mapping

  [[nodiscard]] Protocol protocol() const { return packet->protocol; }
  [[nodiscard]] wire::Be16 inside_port() const { return wire::Be16::raw(packet->key.local_port); }
  [[nodiscard]] wire::Be16 remote_port() const { return wire::Be16::raw(packet->key.remote_port); }
};

struct Openings {
  std::array<Opening, kBurst> all;
  std::uint32_t count = 0;

  [[nodiscard]] std::span<Opening> used() { return {all.data(), count}; }
};

void begin(Lsn44& shard, Openings& openings, const Packet& packet, PrefetchBatch& batch) {
  Tables& tables = shard.lsn44;
  const Generation& generation = *shard.generation;
  const InsideAddress source = in_domain_of(generation, packet, packet.ip->source);
  const std::uint16_t* id = generation.maps.front()->group_of(source);
  const Group* group = id == nullptr ? nullptr : generation.group(*id);
  if (group == nullptr) return;
  Opening& opening = openings.all[openings.count];
  opening.packet = &packet;
  opening.group = group;
  opening.policy = group->app(packet.protocol, opening.remote_port().host());
  opening.subscriber_hash = subscriber_hash(shard, source);
  batch.add_line(tables.subscriber_index.line_of(opening.subscriber_hash));
  const SessionId session = tables.sessions.upcoming(openings.count);
  batch.add(tables.sessions[session]);
  batch.add(tables.cold[session]);
  if (has_mapping(opening.policy)) {
    opening.shares = true;
    opening.mapping_key = marked(
        outbound_mapping_key(opening.policy, packet.protocol, packet.ip->source,
                             opening.inside_port(), packet.ip->destination, opening.remote_port()),
        shard.mark_of(source.td));
    opening.mapping_hash = tables.mapping_index.hash(opening.mapping_key);
    batch.add_line(tables.mapping_index.line_of(opening.mapping_hash));
  }
  ++openings.count;
}

void find_subscribers(Lsn44& shard, std::span<Opening> openings, PrefetchBatch& batch) {
  Tables& tables = shard.lsn44;
  for (Opening& opening : openings) {
    opening.subscriber = find_subscriber(
        shard, in_domain_of(*shard.generation, *opening.packet, opening.packet->ip->source),
        opening.subscriber_hash);
    if (opening.subscriber != state::kNone) batch.add(tables.subscribers[opening.subscriber]);
    if (!opening.shares) continue;
    opening.mapping = tables.mapping_index.find(opening.mapping_key, opening.mapping_hash);
    if (opening.mapping != state::kNone) batch.add(tables.mappings[opening.mapping]);
  }
  batch.fetch();
}

/// The lists that they will be put on, and where their ports come from.
void look_around(Lsn44& shard, std::span<Opening> openings, PrefetchBatch& batch) {
  Tables& tables = shard.lsn44;
  std::uint32_t draw = 0, new_mappings = 0;
  for (Opening& opening : openings) {
    const Subscriber* subscriber = nullptr;
    if (opening.subscriber != state::kNone) {
      subscriber = &tables.subscribers[opening.subscriber];
      if (!subscriber->sessions.empty()) batch.add(tables.cold[subscriber->sessions.first]);
    }
    if (opening.mapping != state::kNone) continue;
    if (opening.shares) {
      batch.add(tables.mappings[tables.mappings.upcoming(new_mappings++)]);
      if (subscriber != nullptr && !subscriber->mappings.empty())
        batch.add(tables.mappings[subscriber->mappings.first]);
    }
    opening.prediction = predict_port(shard, subscriber, *opening.group, opening.protocol(),
                                      opening.policy.pooling, draw, batch);
  }
  batch.fetch();
}

void narrow(std::span<Opening> openings, PrefetchBatch& batch) {
  for (Opening& opening : openings)
    narrow(opening.prediction, *opening.group, opening.protocol(), opening.inside_port(), batch);
  batch.fetch();
}

/// The keys under which answers will be looked for.
void fetch_inbound(Lsn44& shard, std::span<Opening> openings, PrefetchBatch& batch) {
  Tables& tables = shard.lsn44;
  for (const Opening& opening : openings) {
    std::optional<wire::Endpoint> nat;
    if (opening.mapping != state::kNone) {
      const Mapping& mapping = tables.mappings[opening.mapping];
      nat = wire::Endpoint{mapping.nat_ip, mapping.nat_port};
    } else {
      nat = likely_endpoint(opening.prediction, *opening.group, opening.protocol(),
                            opening.inside_port());
    }
    if (!nat) continue;
    const auto key = flow_key(opening.protocol(), nat->address, nat->port,
                              opening.packet->ip->destination, opening.remote_port());
    batch.add_line(tables.inbound.line_of(tables.inbound.hash(key)));
    if (opening.shares && opening.mapping == state::kNone)
      batch.add_line(tables.mapping_index.line_of(tables.mapping_index.hash(
          inbound_mapping_key(opening.protocol(), nat->address, nat->port))));
  }
  batch.fetch();
}

void add_port(Lsn44& shard, Protocol protocol, wire::Be32 nat_ip, wire::Be16 nat_port,
              PrefetchBatch& batch) {
  const NatAddress* address = find_nat_address(shard, nat_ip);
  if (address == nullptr) return;
  const state::PortBitmap& ports = address->ports[protocol];
  batch.add_line(ports.line_of(nat_port.host()));
  batch.add_line(ports.line_of_load());
}

/// Those whose links change when one is taken off its list: two lines at the most.
template <class Objects>
void add_neighbours(const state::ListLinks& links, const Objects& objects, PrefetchBatch& batch) {
  for (const std::uint32_t id : {links.next, links.prev})
    if (id != state::kNone) batch.add(objects[id]);
}

/// From outside: the mapping that may let it in.
void add_mapping(Lsn44& shard, const Packet& packet, PrefetchBatch& batch) {
  const Tables& tables = shard.lsn44;
  const auto port = wire::Be16::raw(packet.key.local_port);
  if (tables.mappings.size() != 0)
    batch.add_line(tables.mapping_index.line_of(tables.mapping_index.hash(
        inbound_mapping_key(packet.protocol, packet.ip->destination, port))));
  add_port(shard, packet.protocol, packet.ip->destination, port, batch);
}

}  // namespace

void prefetch(Lsn44& shard, std::span<const Packet* const> packets) {
  Openings openings;
  PrefetchBatch batch;
  for (const Packet* packet : packets) {
    if (packet->kind != PacketKind::kFlow || packet->protocol == Protocol::kEsp) continue;
    if (packet->side == Side::kInside)
      begin(shard, openings, *packet, batch);
    else
      add_mapping(shard, *packet, batch);
  }
  batch.fetch();
  find_subscribers(shard, openings.used(), batch);
  look_around(shard, openings.used(), batch);
  narrow(openings.used(), batch);
  fetch_inbound(shard, openings.used(), batch);
}

void prefetch_sessions(Lsn44& shard, std::span<const SessionId> ids) {
  Tables& tables = shard.lsn44;
  PrefetchBatch batch;
  for (const SessionId id : ids) {
    batch.add(tables.sessions[id]);
    batch.add(tables.cold[id]);
  }
  batch.fetch();
  for (const SessionId id : ids) batch.add(tables.subscribers[tables.cold[id].subscriber]);
  batch.fetch();
  for (const SessionId id : ids) {
    const Session& session = tables.sessions[id];
    const SessionCold& cold = tables.cold[id];
    // Most are in use and only get a new place on the wheel.
    if ((session.last_seen + idle_timeout(shard, session, cold)).later_than(shard.now)) continue;
    add_neighbours(cold.of_subscriber, tables.cold, batch);
    if (session.protocol == Protocol::kEsp) continue;
    batch.add_line(tables.outbound.line_of(tables.outbound.hash(outbound_key(shard, session))));
    batch.add_line(tables.inbound.line_of(tables.inbound.hash(inbound_key(session))));
    if (cold.mapping() != state::kNone)
      batch.add(tables.mappings[cold.mapping()]);
    else
      add_port(shard, session.protocol, session.nat_ip, session.nat_port, batch);
  }
  batch.fetch();
}

void prefetch_mappings(Lsn44& shard, std::span<const MappingId> ids) {
  Tables& tables = shard.lsn44;
  PrefetchBatch batch;
  for (const MappingId id : ids) batch.add(tables.mappings[id]);
  batch.fetch();
  for (const MappingId id : ids) {
    const Mapping& mapping = tables.mappings[id];
    if (mapping.sessions != 0) continue;
    batch.add(tables.subscribers[mapping.subscriber]);
    add_neighbours(mapping.of_subscriber, tables.mappings, batch);
    batch.add_line(
        tables.mapping_index.line_of(tables.mapping_index.hash(outbound_key(shard, mapping))));
    batch.add_line(tables.mapping_index.line_of(tables.mapping_index.hash(inbound_key(mapping))));
    add_port(shard, mapping.protocol, mapping.nat_ip, mapping.nat_port, batch);
  }
  batch.fetch();
}

}  // namespace lsn::datapath::lsn44
