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
  std::map<InsideAddress, ShardId> owners;
  for (const StateRecord& record : records) {
    const InsideAddress client{wire::Ipv4Address{record.client}, record.td};
    const NatAddressPlace* place = generation.nat_addresses.find(wire::Ipv4Address{record.nat_ip});
    if (place != nullptr && generation.maps.front()->owner_of(client) != place->owner)
      owners[client] = place->owner;
  }
  if (owners.empty()) return nullptr;
  // As if each shard had a group of its own.
  std::map<DomainId, std::vector<IntervalMap<std::uint16_t>::Range>> clients;
  for (const auto& [client, owner] : owners)
    clients[client.td].push_back({client.address.value, client.address.value, owner});
  ClientNetworks networks;
  for (auto& [td, ranges] : clients)
    networks.make(td) = IntervalMap<std::uint16_t>(std::move(ranges));
  std::vector<ShardShares> shares(kMaxShards);
  for (unsigned shard = 0; shard < kMaxShards; ++shard) shares[shard][shard] = 1;
  return std::make_shared<const ShardMap>(std::move(networks), shares);
}

}  // namespace lsn::shared
