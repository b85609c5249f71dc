#include "lsn/datapath/lsn44/pools.hpp"

#include <algorithm>

namespace lsn::datapath::lsn44 {

std::unique_ptr<ShardAddresses> AddressStore::prepare(const Generation& generation,
                                                      ShardId shard) {
  auto result = std::make_unique<ShardAddresses>();
  result->by_number.resize(generation.nat_addresses.count(), nullptr);
  std::vector<std::unique_ptr<NatAddress>> fresh;
  for (const auto& range : generation.nat_addresses.all()) {
    if (range.value.owner != shard) continue;
    const wire::Ipv4Address ip{range.first};
    const auto known = std::lower_bound(
        addresses_.begin(), addresses_.end(), ip,
        [](const std::unique_ptr<NatAddress>& a, wire::Ipv4Address b) { return a->ip < b; });
    // Also when it is in another pool now: its ports are taken until their sessions have ended.
    if (known != addresses_.end() && (*known)->ip == ip) {
      result->by_number[range.value.number] = known->get();
      continue;
    }
    auto made = std::make_unique<NatAddress>();
    made->ip = ip;
    made->serial = ++last_serial_;
    result->by_number[range.value.number] = made.get();
    fresh.push_back(std::move(made));
  }
  for (auto& made : fresh) addresses_.push_back(std::move(made));
  std::sort(addresses_.begin(), addresses_.end(),
            [](const auto& a, const auto& b) { return a->ip < b->ip; });

  result->realloc.resize(generation.pools.size(), nullptr);
  if (queues_.size() < generation.pools.size()) queues_.resize(generation.pools.size());
  for (std::size_t id = 0; id < generation.pools.size(); ++id) {
    const Pool& pool = generation.pools[id];
    // A queue once made stays, whatever a reload says: ports wait in it. maxPortReallocTmq bounds
    // what is put in.
    if (queues_[id] == nullptr && pool.present && pool.port_realloc_timeout.count() != 0)
      queues_[id] = std::make_unique<ReallocQueue>(ReallocQueue::kMaxCapacity);
    result->realloc[id] = queues_[id].get();
  }
  return result;
}

void AddressStore::discard(const ShardAddresses& in_use) {
  std::vector<const NatAddress*> keep(in_use.by_number.begin(), in_use.by_number.end());
  std::sort(keep.begin(), keep.end());
  std::erase_if(addresses_, [&](const std::unique_ptr<NatAddress>& address) {
    return !std::binary_search(keep.begin(), keep.end(), address.get());
  });
}

}  // namespace lsn::datapath::lsn44
