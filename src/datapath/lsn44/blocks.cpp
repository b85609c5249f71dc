#include "lsn/datapath/lsn44/blocks.hpp"

#include <algorithm>

#include "lsn/datapath/lsn44/logging.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// How long a block whose group takes blocks no more, or whose address is gone, waits until it is
/// looked at again: it goes with the last session on it.
constexpr state::TickDuration kLeaving = std::chrono::seconds{1};

/// Ports of a block that static mappings have: they are nobody's who has the block.
std::uint32_t count_static(const StaticPorts& of, state::PortSpan ports) {
  if (of.held == nullptr) return 0;
  std::uint32_t count = 0;
  for (std::uint32_t port = ports.first; port <= ports.last; ++port)
    count += of.has(static_cast<std::uint16_t>(port)) ? 1 : 0;
  return count;
}

/// Whether none of a block's ports is taken, but by static mappings.
bool is_idle(const NatAddress& address, state::PortSpan ports) {
  for (std::size_t p = 0; p < kPortProtocols; ++p)
    if (address.ports[p].is_any_taken(ports.first, ports.last) &&
        address.ports[p].count_taken(ports.first, ports.last) !=
            count_static(address.statics[p], ports))
      return false;
  return true;
}

/// Whether no port of a block is taken, by whomever.
bool is_untouched(const NatAddress& address, state::PortSpan ports) {
  return std::none_of(address.ports.begin(), address.ports.end(),
                      [ports](const auto& of) { return of.is_any_taken(ports.first, ports.last); });
}

/// The address of a block, nullptr: a reload has taken it away, or put another in its place.
NatAddress* address_of(Lsn44& shard, const Block& block) {
  NatAddress* const address = find_nat_address(shard, block.nat_ip);
  return address != nullptr && address->serial == block.serial ? address : nullptr;
}

/// How long a block is kept without ports in use.
state::TickDuration block_timeout(const Lsn44& shard, const Block& block) {
  const Group* const group =
      shard.generation->group(shard.lsn44.subscribers[block.subscriber].group);
  if (group == nullptr || block.is_retired) return state::TickDuration{0};
  return group->blocks.timeout;
}

/// Gives a block back to its address. Its subscriber may have nothing left.
void free_block(Lsn44& shard, BlockId id) {
  Tables& tables = shard.lsn44;
  Block& block = tables.blocks[id];
  if (NatAddress* const address = address_of(shard, block)) {
    address->blocks->release(block.ports);
    tables.addresses->full.clear_no_block(address->slot);
  }
  log_block(shard, block, LogEvent::kDeleted);
  tables.block_wheel.cancel(id, tables.block_wheel_links());
  state::list_remove(tables.subscribers[block.subscriber].blocks, id, tables.block_list_links());
  shard.counters.port_blocks.subtract();
  block.in_use = 0;
  tables.blocks.release(id);
}

/// Makes `ports` of an address, which are taken from its BlockMap, a block of the subscriber.
std::expected<BlockId, DropReason> create_block(Lsn44& shard, Subscriber& subscriber,
                                                NatAddress& address, state::PortSpan ports) {
  Tables& tables = shard.lsn44;
  const BlockId id = tables.blocks.allocate();
  if (id == state::kNone) {
    address.blocks->release(ports);
    return std::unexpected(DropReason::kNoFreeBlock);
  }
  if (address.blocks->free() == 0) tables.addresses->full.set_no_block(address.slot);
  Block& block = tables.blocks[id];
  block.nat_ip = address.ip.be();
  block.serial = address.serial;
  block.ports = ports;
  block.subscriber = tables.subscribers.index_of(subscriber);
  block.given_back = shard.now;
  block.in_use = 1;
  state::list_push(subscriber.blocks, id, tables.block_list_links());
  tables.block_wheel.schedule(id, shard.now + std::max(block_timeout(shard, block), kLeaving),
                              tables.block_wheel_links());
  shard.counters.port_blocks.add();
  log_block(shard, block, LogEvent::kCreated);
  return id;
}

/// Whether a subscriber may have one more.
bool may_have_another(const Lsn44& shard, const Subscriber& subscriber, const Group& group) {
  std::uint32_t count = 0;
  for (BlockId id = subscriber.blocks.first; id != state::kNone;
       id = shard.lsn44.blocks[id].of_subscriber.next)
    if (!shard.lsn44.blocks[id].is_retired && ++count >= group.blocks.most) return false;
  return true;
}

}  // namespace

bool has_free_block(NatAddress& address, const Group& group) {
  if (address.blocks == nullptr) return false;
  address.blocks->cut(group.blocks.size);
  return address.blocks->free() != 0;
}

std::expected<BlockId, DropReason> allocate_block(Lsn44& shard, Subscriber& subscriber,
                                                  const Group& group, NatAddress& address) {
  if (!may_have_another(shard, subscriber, group))
    return std::unexpected(DropReason::kPortBlockFull);
  if (!has_free_block(address, group)) return std::unexpected(DropReason::kNoFreeBlock);
  // Ports of a block that wait, or that a session from before the blocks has, are avoided.
  const auto ports = address.blocks->take(
      shard.random.next(), [&](state::PortSpan span) { return is_untouched(address, span); });
  return create_block(shard, subscriber, address, *ports);
}

std::expected<BlockId, DropReason> allocate_block_at(Lsn44& shard, Subscriber& subscriber,
                                                     const Group& group, NatAddress& address,
                                                     std::uint16_t port) {
  if (!may_have_another(shard, subscriber, group))
    return std::unexpected(DropReason::kPortBlockFull);
  if (!has_free_block(address, group)) return std::unexpected(DropReason::kNoFreeBlock);
  const auto ports = address.blocks->take_at(port);
  if (!ports) return std::unexpected(DropReason::kNoFreeBlock);
  return create_block(shard, subscriber, address, *ports);
}

NatAddress* find_address_with_block(Lsn44& shard, const Group& group) {
  const std::vector<wire::Ipv4Address>& all = group.usable_of(shard.id);
  if (all.empty()) return nullptr;
  const auto any = [&] {
    const wire::Ipv4Address ip = all[shard.random.below(static_cast<std::uint32_t>(all.size()))];
    return find_nat_address(shard, ip.be());
  };
  NatAddress* const one = any();
  NatAddress* const other = any();
  const bool other_has = has_free_block(*other, group);
  if (has_free_block(*one, group) && !(other_has && other->blocks->taken() < one->blocks->taken()))
    return one;
  if (other_has) return other;
  ShardAddresses& addresses = *shard.lsn44.addresses;
  for (;;) {
    const std::uint32_t slot =
        addresses.full.find_with_block(addresses_of(shard, group), shard.random.next());
    if (slot == state::kNone) return nullptr;
    if (has_free_block(*addresses.by_slot[slot], group)) return addresses.by_slot[slot];
    addresses.full.set_no_block(slot);
  }
}

BlockId find_block(const Lsn44& shard, const Subscriber& subscriber, wire::Be32 nat_ip,
                   std::uint16_t port) {
  for (BlockId id = subscriber.blocks.first; id != state::kNone;
       id = shard.lsn44.blocks[id].of_subscriber.next) {
    const Block& block = shard.lsn44.blocks[id];
    if (block.nat_ip == nat_ip && block.ports.contains(port)) return id;
  }
  return state::kNone;
}

void note_port_given_back(Lsn44& shard, const Subscriber& subscriber, Protocol protocol,
                          wire::Endpoint endpoint) {
  const BlockId id = find_block(shard, subscriber, endpoint.address, endpoint.port.host());
  if (id == state::kNone) return;
  Tables& tables = shard.lsn44;
  Block& block = tables.blocks[id];
  block.given_back = shard.now;
  block.full = static_cast<std::uint8_t>(block.full & ~(1u << static_cast<unsigned>(protocol)));
  if (block_timeout(shard, block).count() != 0) return;
  // The wheel frees it: the caller is not done with its subscriber.
  tables.block_wheel.cancel(id, tables.block_wheel_links());
  tables.block_wheel.schedule(id, shard.now, tables.block_wheel_links());
}

void refresh_blocks(Lsn44& shard, const Subscriber& subscriber, const Group* group) {
  for (BlockId id = subscriber.blocks.first; id != state::kNone;
       id = shard.lsn44.blocks[id].of_subscriber.next) {
    Block& block = shard.lsn44.blocks[id];
    const NatAddressPlace* const place =
        shard.generation->nat_addresses.find(wire::Ipv4Address{block.nat_ip});
    block.drains = place != nullptr &&
                   shard.generation->pools[place->pool].drains(wire::Ipv4Address{block.nat_ip});
    block.is_retired =
        group == nullptr || group->blocks.size == 0 || place == nullptr ||
        shard.generation->is_static_whole(wire::Ipv4Address{block.nat_ip}) ||
        std::find(group->pools.begin(), group->pools.end(), place->pool) == group->pools.end();
    block.full = 0;  // static mappings may have given ports back
  }
}

bool holds_port(Lsn44& shard, Subscriber& subscriber, const Group& group, wire::Endpoint endpoint) {
  const std::uint16_t port = endpoint.port.host();
  if (group.deterministic != nullptr) {
    const auto block = group.deterministic->forward(subscriber.inside());
    return block && block->contains(wire::Ipv4Address{endpoint.address}, port);
  }
  if (group.blocks.size == 0 ||
      find_block(shard, subscriber, endpoint.address, port) != state::kNone)
    return true;
  NatAddress* const address = find_nat_address(shard, endpoint.address);
  return address != nullptr && allocate_block_at(shard, subscriber, group, *address, port);
}

void expire_blocks(Lsn44& shard, std::size_t budget) {
  Tables& tables = shard.lsn44;
  tables.block_wheel.advance(
      shard.now, budget, tables.block_wheel_links(),
      [&](std::uint32_t id) -> std::optional<state::Ticks> {
        const Block& block = tables.blocks[id];
        const SubscriberId subscriber = block.subscriber;
        refresh_subscriber(shard, subscriber);
        const state::TickDuration timeout = block_timeout(shard, block);
        const NatAddress* const address = address_of(shard, block);
        if (address != nullptr && !is_idle(*address, block.ports))
          return shard.now + std::max(timeout, kLeaving);
        const state::Ticks deadline = block.given_back + timeout;
        if (address != nullptr && deadline.later_than(shard.now)) return deadline;
        free_block(shard, id);
        release_subscriber(shard, subscriber);
        return std::nullopt;
      },
      [](std::span<const BlockId>) {});
}

void rearm_blocks(Lsn44& shard, const Subscriber& subscriber) {
  Tables& tables = shard.lsn44;
  for (BlockId id = subscriber.blocks.first; id != state::kNone;
       id = tables.blocks[id].of_subscriber.next) {
    tables.block_wheel.cancel(id, tables.block_wheel_links());
    tables.block_wheel.schedule(
        id, tables.blocks[id].given_back + block_timeout(shard, tables.blocks[id]),
        tables.block_wheel_links());
  }
}

}  // namespace lsn::datapath::lsn44
