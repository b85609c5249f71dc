#include "lsn/datapath/lsn44/lifecycle.hpp"

namespace lsn::datapath::lsn44 {
namespace {

state::FlowKey subscriber_key(wire::Be32 ip) { return state::FlowKey::make(ip.raw(), 0, 0, 0, 1); }

}  // namespace

SubscriberId find_subscriber(const Shard& shard, wire::Be32 ip) {
  return find_subscriber(shard, ip, subscriber_hash(shard, ip));
}

std::uint32_t subscriber_hash(const Shard& shard, wire::Be32 ip) {
  return shard.lsn44.subscriber_index.hash(subscriber_key(ip));
}

SubscriberId find_subscriber(const Shard& shard, wire::Be32 ip, std::uint32_t hash) {
  return shard.lsn44.subscriber_index.find(subscriber_key(ip), hash);
}

std::expected<SubscriberId, DropReason> obtain_subscriber(Shard& shard, wire::Be32 ip,
                                                          std::uint16_t group) {
  Tables& tables = shard.lsn44;
  const state::FlowKey key = subscriber_key(ip);
  const std::uint32_t hash = tables.subscriber_index.hash(key);
  if (const SubscriberId known = tables.subscriber_index.find(key, hash); known != state::kNone)
    return known;
  const SubscriberId id = tables.subscribers.allocate();
  if (id == state::kNone) return std::unexpected(DropReason::kSubscriberTableFull);
  if (!tables.subscriber_index.insert(key, hash, id)) {
    tables.subscribers.release(id);
    return std::unexpected(DropReason::kSubscriberTableFull);
  }
  Subscriber& subscriber = tables.subscribers[id];
  subscriber.ip = ip;
  subscriber.group = group;
  subscriber.in_use = 1;
  shard.counters.subscribers.add();
  return id;
}

void forget_subscriber(Shard& shard, SubscriberId id) {
  Tables& tables = shard.lsn44;
  Subscriber& subscriber = tables.subscribers[id];
  unpair(shard, subscriber);
  const state::FlowKey key = subscriber_key(subscriber.ip);
  tables.subscriber_index.erase(key, tables.subscriber_index.hash(key));
  if (subscriber.stranger != 0) shard.counters.strangers.subtract();
  subscriber.in_use = 0;
  tables.subscribers.release(id);
  shard.counters.subscribers.subtract();
}

}  // namespace lsn::datapath::lsn44
