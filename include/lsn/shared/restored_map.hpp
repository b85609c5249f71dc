// The owner of a client after a restart (design 6.4, warm restart).
//
// A client's state is restored on the shard that owns its NAT address now. That may be another
// worker than the present map gives the client to: the number of workers has changed, or reloads
// had dealt out the addresses in another order.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "lsn/shared/generation.hpp"
#include "lsn/shared/records.hpp"

namespace lsn::shared {

/// The map of such clients, to stand behind the present one as if it were of an earlier generation:
/// they are looked up there first. nullptr: there are none.
[[nodiscard]] inline std::shared_ptr<const ShardMap> map_of_restored(
    const Generation& generation, std::span<const StateRecord> records) {
  std::map<std::uint32_t, ShardId> owners;
  for (const StateRecord& record : records) {
    const wire::Ipv4Address client{record.client};
    const NatAddressPlace* place = generation.nat_addresses.find(wire::Ipv4Address{record.nat_ip});
    if (place != nullptr && generation.maps.front()->owner_of(client) != place->owner)
      owners[client.value] = place->owner;
  }
  if (owners.empty()) return nullptr;
  // As if each shard had a group of its own.
  std::vector<IntervalMap<std::uint16_t>::Range> clients;
  for (const auto& [client, owner] : owners) clients.push_back({client, client, owner});
  std::vector<ShardShares> shares(kMaxShards);
  for (unsigned shard = 0; shard < kMaxShards; ++shard) shares[shard][shard] = 1;
  return std::make_shared<const ShardMap>(IntervalMap<std::uint16_t>(std::move(clients)), shares);
}

}  // namespace lsn::shared
