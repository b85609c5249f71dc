#include "lsn/control/config/port_blocks.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lsn::control {

std::uint32_t port_block_size(const Model& model, const GroupConfig& group) {
  const std::uint32_t size = group.portblocksize == 0 ? kDefaultBlockSize : group.portblocksize;
  if (group.nattype == NatType::kDeterministic) return size;
  const bool has_blocks =
      std::any_of(group.poolname.begin(), group.poolname.end(), [&model](const std::string& name) {
        const PoolConfig* const pool = find_by_name(model.lsn.pool, name);
        return pool != nullptr && pool->portblockallocation == Switch::kEnabled;
      });
  return has_blocks ? size : 0;
}

shared::BlockOrder block_order(AllocPolicy policy) {
  return policy == AllocPolicy::kPorts ? shared::BlockOrder::kPorts
                                       : shared::BlockOrder::kAddresses;
}

shared::DeterministicMap deterministic_map(const Model& model, const GroupConfig& group) {
  std::vector<shared::InsideRange> subscribers;
  if (const ClientConfig* const client = find_by_name(model.lsn.client, group.clientname))
    subscribers = subscriber_ranges(ByName(model.lsn.acl), *client);
  std::vector<wire::Ipv4Range> addresses;
  for (const std::string& name : group.poolname)
    if (const PoolConfig* const pool = find_by_name(model.lsn.pool, name)) {
      const std::vector<wire::Ipv4Range> ranges = nat_ranges(model, *pool);
      addresses.insert(addresses.end(), ranges.begin(), ranges.end());
    }
  return {subscribers, addresses, port_block_size(model, group), block_order(group.alloc_policy)};
}

std::vector<shared::InsideAddress> subscribers_at(const shared::DeterministicMap& map,
                                                  wire::Ipv4Address nat_ip) {
  std::vector<shared::InsideAddress> all;
  for (std::uint32_t block = 0; block < shared::blocks_of_address(map.block_size()); ++block)
    if (const auto subscriber = map.subscriber_of(nat_ip, block)) all.push_back(*subscriber);
  return all;
}

std::string to_text(const shared::DeterministicMap& map) {
  const std::uint64_t subscribers = map.subscribers().count();
  const std::uint64_t addresses = map.nat_addresses().count();
  return fmt::format(
      "{} subscriber{} on {} address{}, blocks of {} ports, {} of an address: {} "
      "blocks, {} free",
      subscribers, subscribers == 1 ? "" : "s", addresses, addresses == 1 ? "" : "es",
      map.block_size(), shared::blocks_of_address(map.block_size()), map.blocks(),
      map.blocks() > subscribers ? map.blocks() - subscribers : 0);
}

}  // namespace lsn::control
