#include "lsn/datapath/lsn44/subscriber.hpp"

#include <algorithm>

#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/blocks.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/static_mapping.hpp"

namespace lsn::datapath::lsn44 {
namespace {

state::FlowKey subscriber_key(const InsideAddress& inside) {
  return state::FlowKey::make(inside.address.be().raw(), 0, inside.td, 0, 1);
}

/// Its sessions count in that group from now on.
void move_to_group(const Generation& generation, Subscriber& subscriber, std::uint16_t group) {
  for (std::size_t p = 0; p < kPortProtocols; ++p)
    if ((subscriber.counted & (1u << p)) != 0)
      generation.groups[subscriber.group].usage->sessions[p].fetch_sub(subscriber.session_count[p],
                                                                       std::memory_order_relaxed);
  subscriber.counted = 0;
  subscriber.group = group;
  subscriber.has_moved = true;
}

/// In Subscriber::displaced: the present map has another owner for it; DisplacedSubscribers have
/// it.
constexpr std::uint8_t kDisplaced = 0x01, kListed = 0x02;

/// Counts those that stay here although the present map has another owner for them, and lists them.
/// One that the map gives to this shard again is found by the list for one generation more: others
/// may not have adopted this one yet.
void note_displaced(Context& shard, Subscriber& subscriber) {
  const wire::Ipv4Address address{subscriber.ip};
  const InsideAddress inside = subscriber.inside();
  const bool was_displaced = (subscriber.displaced & kDisplaced) != 0;
  const bool was_listed = (subscriber.displaced & kListed) != 0;
  const bool displaced_now = shard.generation->maps.front()->owner_of(inside) != shard.id;
  const bool listed = displaced_now || was_displaced;
  if (displaced_now != was_displaced) {
    if (displaced_now)
      shard.counters.displaced.add();
    else
      shard.counters.displaced.subtract();
  }
  DisplacedSubscribers* displaced = shard.generation->displaced.get();
  if (listed != was_listed && displaced != nullptr) {
    if (listed)
      displaced->add(address, shard.id);
    else
      displaced->remove(address, shard.id);
  }
  subscriber.displaced =
      static_cast<std::uint8_t>((displaced_now ? kDisplaced : 0) | (listed ? kListed : 0));
}

/// Whether a group still has the NAT address that a subscriber is paired with; one of a
/// deterministic group has no other than the configuration's.
bool keeps_pairing(const Lsn44& shard, const Subscriber& subscriber, const Group* group) {
  const NatAddressPlace* place =
      shard.generation->nat_addresses.find(wire::Ipv4Address{subscriber.paired_ip});
  if (group == nullptr || place == nullptr ||
      is_taken_whole(*shard.generation, subscriber.paired_ip) ||
      std::find(group->pools.begin(), group->pools.end(), place->pool) == group->pools.end())
    return false;
  if (group->deterministic == nullptr) return true;
  const auto block = group->deterministic->forward(subscriber.inside());
  return block && block->nat_ip.be() == subscriber.paired_ip;
}

/// Pairs a subscriber of a deterministic group with the NAT address that is its own, if that is
/// this shard's: no other serves the subscriber.
void pair_deterministic(Lsn44& shard, Subscriber& subscriber, const Group& group) {
  if (group.deterministic == nullptr || subscriber.paired_ip.raw() != 0) return;
  const auto block = group.deterministic->forward(subscriber.inside());
  if (block && find_nat_address(shard, block->nat_ip.be()) != nullptr)
    pair_with(shard, subscriber, block->nat_ip.be());
}

}  // namespace

SubscriberId find_subscriber(const Lsn44& shard, const InsideAddress& inside) {
  return find_subscriber(shard, inside, subscriber_hash(shard, inside));
}

std::uint32_t subscriber_hash(const Lsn44& shard, const InsideAddress& inside) {
  return shard.lsn44.subscriber_index.hash(subscriber_key(inside));
}

SubscriberId find_subscriber(const Lsn44& shard, const InsideAddress& inside, std::uint32_t hash) {
  return shard.lsn44.subscriber_index.find(subscriber_key(inside), hash);
}

std::expected<SubscriberId, DropReason> obtain_subscriber(Lsn44& shard, const InsideAddress& inside,
                                                          std::uint16_t group) {
  Tables& tables = shard.lsn44;
  const state::FlowKey key = subscriber_key(inside);
  const std::uint32_t hash = tables.subscriber_index.hash(key);
  if (const SubscriberId known = tables.subscriber_index.find(key, hash); known != state::kNone) {
    refresh_subscriber(shard, known);
    return known;
  }
  const SubscriberId id = tables.subscribers.allocate();
  if (id == state::kNone) return std::unexpected(DropReason::kSubscriberTableFull);
  if (!tables.subscriber_index.insert(key, hash, id)) {
    tables.subscribers.release(id);
    return std::unexpected(DropReason::kSubscriberTableFull);
  }
  Subscriber& subscriber = tables.subscribers[id];
  subscriber.ip = inside.address.be();
  subscriber.td = inside.td;
  subscriber.group = group;
  subscriber.in_use = 1;
  subscriber.is_client = true;
  subscriber.generation = static_cast<std::uint32_t>(shard.generation->number);
  shard.counters.subscribers.add();
  pair_by_static(shard, subscriber, shard.generation->groups[group]);
  pair_deterministic(shard, subscriber, shard.generation->groups[group]);
  if (shard.shards > 1) note_displaced(shard, subscriber);
  return id;
}

const Group* refresh_subscriber(Lsn44& shard, SubscriberId id) {
  Subscriber& subscriber = shard.lsn44.subscribers[id];
  const Generation& generation = *shard.generation;
  if (subscriber.generation == static_cast<std::uint32_t>(generation.number))
    return subscriber.is_client ? &generation.groups[subscriber.group] : nullptr;
  subscriber.generation = static_cast<std::uint32_t>(generation.number);
  const std::uint16_t* now = generation.maps.front()->group_of(subscriber.inside());
  const Group* group = now == nullptr ? nullptr : generation.group(*now);
  subscriber.is_client = group != nullptr;
  if (group != nullptr) {
    if (*now != subscriber.group) move_to_group(generation, subscriber, *now);
    count_in_limits(*group, subscriber);
  }
  if (subscriber.paired_ip.raw() != 0 && !keeps_pairing(shard, subscriber, group))
    unpair(shard, subscriber);
  if (group != nullptr) {
    pair_by_static(shard, subscriber, *group);
    pair_deterministic(shard, subscriber, *group);
  }
  refresh_blocks(shard, subscriber, group);
  if (shard.shards > 1) note_displaced(shard, subscriber);
  alg_hooks::on_subscriber_refreshed(shard, id);
  return group;
}

void release_subscriber(Lsn44& shard, SubscriberId id) {
  Tables& tables = shard.lsn44;
  Subscriber& subscriber = tables.subscribers[id];
  if (is_alive(subscriber)) return;
  unpair(shard, subscriber);
  const state::FlowKey key = subscriber_key(subscriber.inside());
  tables.subscriber_index.erase(key, tables.subscriber_index.hash(key));
  if ((subscriber.displaced & kDisplaced) != 0) shard.counters.displaced.subtract();
  if ((subscriber.displaced & kListed) != 0 && shard.generation->displaced != nullptr)
    shard.generation->displaced->remove(wire::Ipv4Address{subscriber.ip}, shard.id);
  subscriber.in_use = 0;
  tables.subscribers.release(id);
  shard.counters.subscribers.subtract();
}

}  // namespace lsn::datapath::lsn44
