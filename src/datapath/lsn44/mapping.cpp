#include "lsn/datapath/lsn44/mapping.hpp"

#include "lsn/datapath/lsn44/foresight.hpp"
#include "lsn/datapath/lsn44/lifecycle.hpp"

namespace lsn::datapath::lsn44 {
namespace {

std::uint32_t find(const state::FlowTable& table, const state::FlowKey& key) {
  return table.find(key, table.hash(key));
}
bool insert(state::FlowTable& table, const state::FlowKey& key, std::uint32_t index) {
  return table.insert(key, table.hash(key), index);
}
void erase(state::FlowTable& table, const state::FlowKey& key) {
  table.erase(key, table.hash(key));
}

}  // namespace

std::expected<MappingId, DropReason> obtain_mapping(Shard& shard, SubscriberId subscriber_id,
                                                    const Group& group, Protocol protocol,
                                                    const AppPolicy& policy,
                                                    wire::Be16 inside_port, wire::Be32 remote_ip,
                                                    wire::Be16 remote_port,
                                                    std::optional<wire::Be16> wanted) {
  Tables& tables = shard.lsn44;
  Subscriber& subscriber = tables.subscribers[subscriber_id];
  const state::FlowKey key = outbound_mapping_key(policy, protocol, subscriber.ip, inside_port,
                                                  remote_ip, remote_port);
  if (const MappingId known = find(tables.mapping_index, key); known != state::kNone) {
    Mapping& mapping = tables.mappings[known];
    // A reload may have given the port another filtering since.
    if (mapping.sessions == 0) mapping.filtering = policy.filtering;
    return known;
  }

  const MappingId id = tables.mappings.allocate();
  if (id == state::kNone) return std::unexpected(DropReason::kMappingTableFull);
  const auto endpoint =
      take_port(shard, subscriber, group, protocol, policy.pooling, inside_port, wanted);
  if (!endpoint) {
    tables.mappings.release(id);
    return std::unexpected(endpoint.error());
  }
  Mapping& mapping = tables.mappings[id];
  mapping.inside_ip = subscriber.ip;
  mapping.nat_ip = endpoint->ip;
  mapping.remote_ip = wire::Be32::raw(key.b);
  mapping.inside_port = inside_port;
  mapping.nat_port = endpoint->port;
  mapping.remote_port = wire::Be16::raw(key.d);
  mapping.protocol = protocol;
  mapping.mapping = policy.mapping;
  mapping.filtering = policy.filtering;
  mapping.subscriber = subscriber_id;
  const bool first = insert(tables.mapping_index, key, id);
  if (!first || !insert(tables.mapping_index, inbound_key(mapping), id)) {
    if (first) erase(tables.mapping_index, key);
    give_back_port(shard, subscriber, protocol, *endpoint);
    tables.mappings.release(id);
    return std::unexpected(DropReason::kMappingTableFull);
  }
  mapping.in_use = 1;
  state::list_push(subscriber.mappings, id, mapping_list_links(tables));
  shard.counters.of(protocol).mappings.add();
  return id;
}

MappingId find_mapping(const Shard& shard, Protocol protocol, wire::Be32 nat_ip,
                       wire::Be16 nat_port) {
  // Where no policy shares mappings a spray of strangers pays for no miss here.
  if (shard.lsn44.mappings.size() == 0) return state::kNone;
  return find(shard.lsn44.mapping_index, inbound_mapping_key(protocol, nat_ip, nat_port));
}

bool admits(const Shard& shard, const Mapping& mapping, wire::Be32 remote_ip) {
  switch (mapping.filtering) {
    case Dependence::kEndpointIndependent:
      return true;
    case Dependence::kAddress:
      return find(shard.lsn44.permission_index,
                  permission_key(mapping.protocol, mapping.nat_ip, mapping.nat_port, remote_ip)) !=
             state::kNone;
    case Dependence::kAddressPort:
      // Only a session with this very endpoint lets it in, and none was found.
      return false;
  }
  return false;
}

bool add_permission(Shard& shard, const Mapping& mapping, wire::Be32 remote_ip) {
  if (mapping.filtering != Dependence::kAddress) return true;
  Tables& tables = shard.lsn44;
  const state::FlowKey key =
      permission_key(mapping.protocol, mapping.nat_ip, mapping.nat_port, remote_ip);
  if (const std::uint32_t known = find(tables.permission_index, key); known != state::kNone) {
    ++tables.permissions[known];
    return true;
  }
  const std::uint32_t id = tables.permissions.allocate();
  if (id == state::kNone) return false;
  if (!insert(tables.permission_index, key, id)) {
    tables.permissions.release(id);
    return false;
  }
  tables.permissions[id] = 1;
  return true;
}

void remove_permission(Shard& shard, const Mapping& mapping, wire::Be32 remote_ip) {
  if (mapping.filtering != Dependence::kAddress) return;
  Tables& tables = shard.lsn44;
  const state::FlowKey key =
      permission_key(mapping.protocol, mapping.nat_ip, mapping.nat_port, remote_ip);
  const std::uint32_t id = find(tables.permission_index, key);
  if (id == state::kNone || --tables.permissions[id] != 0) return;
  erase(tables.permission_index, key);
  tables.permissions.release(id);
}

void mapping_became_idle(Shard& shard, MappingId id) {
  Tables& tables = shard.lsn44;
  Mapping& mapping = tables.mappings[id];
  mapping.idle_since = shard.now;
  const Group* group = shard.generation->group(tables.subscribers[mapping.subscriber].group);
  const auto timeout =
      group == nullptr
          ? state::TickDuration{0}
          : group->transport[static_cast<std::size_t>(mapping.protocol)].stun_timeout;
  // Still armed if it was idle before: the wheel re-arms by idle_since.
  if (!tables.mapping_wheel.is_scheduled(id, mapping_wheel_links(tables)))
    tables.mapping_wheel.schedule(id, shard.now + timeout, mapping_wheel_links(tables));
}

void remove_mapping(Shard& shard, MappingId id) {
  Tables& tables = shard.lsn44;
  Mapping& mapping = tables.mappings[id];
  Subscriber& subscriber = tables.subscribers[mapping.subscriber];
  tables.mapping_wheel.cancel(id, mapping_wheel_links(tables));
  erase(tables.mapping_index, outbound_key(mapping));
  erase(tables.mapping_index, inbound_key(mapping));
  give_back_port(shard, subscriber, mapping.protocol, {mapping.nat_ip, mapping.nat_port});
  state::list_remove(subscriber.mappings, id, mapping_list_links(tables));
  shard.counters.of(mapping.protocol).mappings.subtract();
  mapping.in_use = 0;
  tables.mappings.release(id);
}

void expire_mappings(Shard& shard, std::size_t budget) {
  Tables& tables = shard.lsn44;
  tables.mapping_wheel.advance(
      shard.now, budget, mapping_wheel_links(tables),
      [&](std::uint32_t id) -> std::optional<state::Ticks> {
        const Mapping& mapping = tables.mappings[id];
        // In use again: armed anew when its last session ends.
        if (mapping.sessions != 0) return std::nullopt;
        const Group* group = shard.generation->group(tables.subscribers[mapping.subscriber].group);
        if (group != nullptr) {
          const state::Ticks deadline =
              mapping.idle_since +
              group->transport[static_cast<std::size_t>(mapping.protocol)].stun_timeout;
          if (deadline.later_than(shard.now)) return deadline;
        }
        const SubscriberId subscriber = mapping.subscriber;
        remove_mapping(shard, id);
        release_subscriber(shard, subscriber);
        return std::nullopt;
      },
      [&](std::span<const MappingId> ids) { foresee_mappings(shard, ids); });
}

}  // namespace lsn::datapath::lsn44
