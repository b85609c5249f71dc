#include "lsn/datapath/lsn44/mapping.hpp"

#include <algorithm>

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

std::uint32_t number_of(const Generation& generation) {
  return static_cast<std::uint32_t>(generation.number);
}

/// Lets a mapping follow a policy: its filtering, and whether it is one that the policy would make.
void follow_policy(Shard& shard, Mapping& mapping, const AppPolicy& policy) {
  // A query's remote side has no port to depend on.
  const bool is_alike =
      mapping.mapping == policy.mapping ||
      (mapping.protocol == Protocol::kIcmp && mapping.mapping != Dependence::kEndpointIndependent &&
       policy.mapping != Dependence::kEndpointIndependent);
  mapping.is_retired = mapping.is_detached || !is_alike || !has_mapping(policy);
  const Dependence filtering = mapping.is_retired ? Dependence::kAddressPort : policy.filtering;
  if (filtering > mapping.filtering) mapping.tightened = number_of(*shard.generation);
  mapping.filtering = filtering;
}

/// How long it waits without sessions.
state::TickDuration stun_timeout(const Shard& shard, const Mapping& mapping) {
  const Group* group = shard.generation->group(shard.lsn44.subscribers[mapping.subscriber].group);
  if (group == nullptr || mapping.is_void || mapping.is_retired) return state::TickDuration{0};
  return group->transport[static_cast<std::size_t>(mapping.protocol)].stun_timeout;
}

/// Clears an outbound key of a mapping that is void, for the next one with that key. What sessions
/// it has the sweep ends.
void detach(Shard& shard, MappingId id) {
  Mapping& mapping = shard.lsn44.mappings[id];
  if (mapping.sessions == 0) {
    remove_mapping(shard, id);
  } else {
    erase(shard.lsn44.mapping_index, outbound_key(mapping));
    mapping.is_detached = true;
  }
}

}  // namespace

bool revalidate_mapping(Shard& shard, MappingId id) {
  Mapping& mapping = shard.lsn44.mappings[id];
  const Generation& generation = *shard.generation;
  if (mapping.generation == number_of(generation)) return !mapping.is_void;
  const Group* group = refresh_subscriber(shard, mapping.subscriber);
  const NatAddressPlace* place = generation.nat_addresses.find(wire::Ipv4Address{mapping.nat_ip});
  mapping.generation = number_of(generation);
  mapping.is_void =
      group == nullptr || place == nullptr || place->owner != shard.id ||
      std::find(group->pools.begin(), group->pools.end(), place->pool) == group->pools.end();
  if (!mapping.is_void)
    follow_policy(shard, mapping, group->app(mapping.protocol, mapping.policy_port.host()));
  return !mapping.is_void;
}

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
    if (revalidate_mapping(shard, known)) {
      Mapping& mapping = tables.mappings[known];
      // Without a session, or where a reload has changed the policy of the port that it was made
      // for, it is this port's now.
      if (mapping.sessions == 0 || mapping.is_retired) {
        mapping.mapping = policy.mapping;
        mapping.policy_port = remote_port;
        follow_policy(shard, mapping, policy);
      }
      return known;
    }
    detach(shard, known);
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
  mapping.policy_port = remote_port;
  mapping.generation = number_of(*shard.generation);
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
  const state::TickDuration timeout = stun_timeout(shard, mapping);
  // Still armed if it was idle before: the wheel re-arms by idle_since.
  if (timeout.count() == 0)
    tables.mapping_wheel.cancel(id, mapping_wheel_links(tables));
  else if (tables.mapping_wheel.is_scheduled(id, mapping_wheel_links(tables)))
    return;
  tables.mapping_wheel.schedule(id, shard.now + timeout, mapping_wheel_links(tables));
}

void rearm_mapping(Shard& shard, MappingId id) {
  Tables& tables = shard.lsn44;
  const Mapping& mapping = tables.mappings[id];
  tables.mapping_wheel.cancel(id, mapping_wheel_links(tables));
  // In use it is armed when its last session ends.
  if (mapping.sessions == 0)
    tables.mapping_wheel.schedule(id, mapping.idle_since + stun_timeout(shard, mapping),
                                  mapping_wheel_links(tables));
}

void remove_mapping(Shard& shard, MappingId id) {
  Tables& tables = shard.lsn44;
  Mapping& mapping = tables.mappings[id];
  Subscriber& subscriber = tables.subscribers[mapping.subscriber];
  tables.mapping_wheel.cancel(id, mapping_wheel_links(tables));
  if (!mapping.is_detached) erase(tables.mapping_index, outbound_key(mapping));
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
        const bool lives = revalidate_mapping(shard, id);
        const state::Ticks deadline = mapping.idle_since + stun_timeout(shard, mapping);
        if (lives && deadline.later_than(shard.now)) return deadline;
        const SubscriberId subscriber = mapping.subscriber;
        remove_mapping(shard, id);
        release_subscriber(shard, subscriber);
        return std::nullopt;
      },
      [&](std::span<const MappingId> ids) { foresee_mappings(shard, ids); });
}

}  // namespace lsn::datapath::lsn44
