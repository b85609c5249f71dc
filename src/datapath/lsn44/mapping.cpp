#include "lsn/datapath/lsn44/mapping.hpp"

#include <algorithm>

#include "lsn/datapath/lsn44/blocks.hpp"
#include "lsn/datapath/lsn44/logging.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/prefetch.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"

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

/// Whether the configuration gives its inside endpoint, or its NAT endpoint, to a static mapping:
/// new sessions are that one's, and the port is as soon as this mapping's sessions have ended.
bool is_superseded(const Lsn44& shard, const Mapping& mapping) {
  const Generation& generation = *shard.generation;
  if (generation.statics == nullptr) return false;
  const StaticScope scope = scope_of(mapping.protocol);
  const wire::Ipv4Address nat{mapping.nat_ip}, remote{mapping.remote_ip};
  // A static mapping for one destination leaves the others to this one.
  return generation.statics->find_inside(scope,
                                         shard.lsn44.subscribers[mapping.subscriber].inside(),
                                         mapping.inside_port.host(), remote) != nullptr ||
         generation.statics->has_nat_endpoint(scope, nat, mapping.nat_port.host());
}

/// Lets a mapping follow a policy: its filtering, and whether it is one that the policy would
/// create.
void follow_policy(Lsn44& shard, Mapping& mapping, const AppPolicy& policy) {
  // A query's remote side has no port to depend on.
  const bool is_alike =
      mapping.mapping == policy.mapping ||
      (mapping.protocol == Protocol::kIcmp && mapping.mapping != Dependence::kEndpointIndependent &&
       policy.mapping != Dependence::kEndpointIndependent);
  mapping.is_retired =
      mapping.is_detached || !is_alike || !has_mapping(policy) || is_superseded(shard, mapping);
  const Dependence filtering = mapping.is_retired ? Dependence::kAddressPort : policy.filtering;
  if (filtering > mapping.filtering) mapping.tightened = number_of(*shard.generation);
  mapping.filtering = filtering;
}

/// How long it waits without sessions.
state::TickDuration stun_timeout(const Lsn44& shard, const Mapping& mapping) {
  const Group* group = shard.generation->group(shard.lsn44.subscribers[mapping.subscriber].group);
  if (group == nullptr || mapping.is_void || mapping.is_retired) return state::TickDuration{0};
  return group->transport[mapping.protocol].stun_timeout;
}

/// Clears an outbound key of a mapping that is void, for the next one with that key. The sweep ends
/// its sessions.
void detach(Lsn44& shard, MappingId id) {
  Mapping& mapping = shard.lsn44.mappings[id];
  if (mapping.sessions == 0) {
    remove_mapping(shard, id);
  } else {
    erase(shard.lsn44.mapping_index, outbound_key(shard, mapping));
    mapping.is_detached = true;
  }
}

}  // namespace

state::FlowKey outbound_key(const Lsn44& shard, const Mapping& m) {
  return marked(
      outbound_mapping_key(m.protocol, m.inside_ip, m.inside_port, m.remote_ip, m.remote_port),
      shard.mark_of(shard.lsn44.subscribers[m.subscriber].td));
}

bool revalidate_mapping(Lsn44& shard, MappingId id) {
  Mapping& mapping = shard.lsn44.mappings[id];
  const Generation& generation = *shard.generation;
  if (mapping.generation == number_of(generation)) return !mapping.is_void;
  const Group* group = refresh_subscriber(shard, mapping.subscriber);
  const NatAddressPlace* place = generation.nat_addresses.find(wire::Ipv4Address{mapping.nat_ip});
  mapping.generation = number_of(generation);
  mapping.is_void =
      group == nullptr || place == nullptr || place->owner != shard.id ||
      std::find(group->pools.begin(), group->pools.end(), place->pool) == group->pools.end() ||
      !holds_port(shard, shard.lsn44.subscribers[mapping.subscriber], *group,
                  {mapping.nat_ip, mapping.nat_port});
  if (!mapping.is_void)
    follow_policy(shard, mapping, group->app(mapping.protocol, mapping.policy_port.host()));
  return !mapping.is_void;
}

std::expected<MappingId, DropReason> obtain_mapping(Lsn44& shard, const Group& group,
                                                    const AppPolicy& policy,
                                                    const MappingRequest& request) {
  Tables& tables = shard.lsn44;
  const Protocol protocol = request.protocol;
  Subscriber& subscriber = tables.subscribers[request.subscriber];
  const state::FlowKey name =
      outbound_mapping_key(policy, protocol, subscriber.ip, request.inside_port,
                           request.remote.address, request.remote.port);
  const state::FlowKey key = marked(name, shard.mark_of(subscriber.td));
  if (const MappingId known = find(tables.mapping_index, key); known != state::kNone) {
    // Another domain's, of the same name: there is no second place for it.
    if (tables.mappings[known].subscriber != request.subscriber)
      return std::unexpected(DropReason::kMappingTableFull);
    if (revalidate_mapping(shard, known)) {
      Mapping& mapping = tables.mappings[known];
      // Without a session, or where a reload has changed the policy of the port that it was created
      // for, it is this port's now.
      if (mapping.sessions == 0 || mapping.is_retired) {
        mapping.mapping = policy.mapping;
        mapping.policy_port = request.remote.port;
        follow_policy(shard, mapping, policy);
      }
      return known;
    }
    detach(shard, known);
  }

  const MappingId id = tables.mappings.allocate();
  if (id == state::kNone) return std::unexpected(DropReason::kMappingTableFull);
  const auto endpoint = take_port(
      shard, subscriber, group,
      {protocol, policy.pooling, request.inside_port, request.remote.port, request.nat_port});
  if (!endpoint) {
    tables.mappings.release(id);
    return std::unexpected(endpoint.error());
  }
  Mapping& mapping = tables.mappings[id];
  mapping.inside_ip = subscriber.ip;
  mapping.nat_ip = endpoint->address;
  mapping.remote_ip = wire::Be32::raw(name.remote);
  mapping.inside_port = request.inside_port;
  mapping.nat_port = endpoint->port;
  mapping.remote_port = wire::Be16::raw(name.remote_port);
  mapping.protocol = protocol;
  mapping.mapping = policy.mapping;
  mapping.filtering = policy.filtering;
  mapping.policy_port = request.remote.port;
  mapping.generation = number_of(*shard.generation);
  mapping.subscriber = request.subscriber;
  const bool first = insert(tables.mapping_index, key, id);
  if (!first || !insert(tables.mapping_index, inbound_key(mapping), id)) {
    if (first) erase(tables.mapping_index, key);
    give_back_port(shard, subscriber, protocol, *endpoint);
    tables.mappings.release(id);
    return std::unexpected(DropReason::kMappingTableFull);
  }
  mapping.in_use = 1;
  state::list_push(subscriber.mappings, id, tables.mapping_list_links());
  shard.counters.of(protocol).mappings.add();
  if (group.logging != 0) [[unlikely]]
    log_mapping(shard, group.logging, mapping, LogEvent::kCreated);
  return id;
}

MappingId find_mapping(const Lsn44& shard, Protocol protocol, wire::Be32 nat_ip,
                       wire::Be16 nat_port) {
  // Where no policy shares mappings a spray of unsolicited packets pays for no miss here.
  if (shard.lsn44.mappings.size() == 0) return state::kNone;
  return find(shard.lsn44.mapping_index, inbound_mapping_key(protocol, nat_ip, nat_port));
}

bool admits(const Lsn44& shard, const Mapping& mapping, wire::Be32 remote_ip) {
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

bool add_permission(Lsn44& shard, const Mapping& mapping, wire::Be32 remote_ip) {
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

void remove_permission(Lsn44& shard, const Mapping& mapping, wire::Be32 remote_ip) {
  Tables& tables = shard.lsn44;
  const state::FlowKey key =
      permission_key(mapping.protocol, mapping.nat_ip, mapping.nat_port, remote_ip);
  const std::uint32_t id = find(tables.permission_index, key);
  if (id == state::kNone || --tables.permissions[id] != 0) return;
  erase(tables.permission_index, key);
  tables.permissions.release(id);
}

void mapping_became_idle(Lsn44& shard, MappingId id) {
  Tables& tables = shard.lsn44;
  Mapping& mapping = tables.mappings[id];
  mapping.idle_since = shard.now;
  const state::TickDuration timeout = stun_timeout(shard, mapping);
  // Still armed if it was idle before: the wheel re-arms by idle_since.
  if (timeout.count() == 0)
    tables.mapping_wheel.cancel(id, tables.mapping_wheel_links());
  else if (tables.mapping_wheel.is_scheduled(id, tables.mapping_wheel_links()))
    return;
  tables.mapping_wheel.schedule(id, shard.now + timeout, tables.mapping_wheel_links());
}

void rearm_mapping(Lsn44& shard, MappingId id) {
  Tables& tables = shard.lsn44;
  const Mapping& mapping = tables.mappings[id];
  tables.mapping_wheel.cancel(id, tables.mapping_wheel_links());
  // In use it is armed when its last session ends.
  if (mapping.sessions == 0)
    tables.mapping_wheel.schedule(id, mapping.idle_since + stun_timeout(shard, mapping),
                                  tables.mapping_wheel_links());
}

void remove_mapping(Lsn44& shard, MappingId id) {
  Tables& tables = shard.lsn44;
  Mapping& mapping = tables.mappings[id];
  Subscriber& subscriber = tables.subscribers[mapping.subscriber];
  if (const std::uint8_t logging = logging_of(shard, subscriber); logging != 0) [[unlikely]]
    log_mapping(shard, logging, mapping, LogEvent::kDeleted);
  tables.mapping_wheel.cancel(id, tables.mapping_wheel_links());
  if (!mapping.is_detached) erase(tables.mapping_index, outbound_key(shard, mapping));
  erase(tables.mapping_index, inbound_key(mapping));
  give_back_port(shard, subscriber, mapping.protocol, {mapping.nat_ip, mapping.nat_port});
  state::list_remove(subscriber.mappings, id, tables.mapping_list_links());
  shard.counters.of(mapping.protocol).mappings.subtract();
  mapping.in_use = 0;
  tables.mappings.release(id);
}

void expire_mappings(Lsn44& shard, std::size_t budget) {
  Tables& tables = shard.lsn44;
  tables.mapping_wheel.advance(
      shard.now, budget, tables.mapping_wheel_links(),
      [&](std::uint32_t id) -> std::optional<state::Ticks> {
        const Mapping& mapping = tables.mappings[id];
        // In use again: armed again when its last session ends.
        if (mapping.sessions != 0) return std::nullopt;
        const bool lives = revalidate_mapping(shard, id);
        const state::Ticks deadline = mapping.idle_since + stun_timeout(shard, mapping);
        if (lives && deadline.later_than(shard.now)) return deadline;
        const SubscriberId subscriber = mapping.subscriber;
        remove_mapping(shard, id);
        release_subscriber(shard, subscriber);
        return std::nullopt;
      },
      [&](std::span<const MappingId> ids) { prefetch_mappings(shard, ids); });
}

}  // namespace lsn::datapath::lsn44
