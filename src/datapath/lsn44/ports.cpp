#include "lsn/datapath/lsn44/ports.hpp"

#include <algorithm>
#include <optional>

#include "lsn/datapath/lsn44/blocks.hpp"
#include "lsn/datapath/lsn44/logging.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// Random numbers that taking a port draws at most: two addresses and a port.
constexpr std::uint32_t kDrawsPerPort = 3;

struct PortRange {
  std::uint16_t first;
  std::uint16_t last;
  state::Parity parity = state::Parity::kAny;

  [[nodiscard]] unsigned classes() const { return state::classes_of(first, last, parity); }
};

/// Which NAT ports will do for an inside port: the first range if it has a free one, or the next.
///
/// RFC 4787 REQ-3 a): the well-known ports for inside ports that are such, if so configured, and
/// never for others. Port 0 is none. REQ-4: the parity. All are recommended, no more: where no such
/// port is left, another one is better than none. RFC 5508 REQ-1: identifiers have no ranges and no
/// parity.
class WantedPorts {
 public:
  WantedPorts(Protocol protocol, const TransportPolicy& policy, std::uint16_t inside)
      : identifiers_(protocol == Protocol::kIcmp),
        parity_(policy.preserve_parity ? state::parity_of(inside) : state::Parity::kAny),
        low_(policy.preserve_range && inside < 1024) {}

  /// Nearly always the only one that is needed.
  [[nodiscard]] PortRange first() const { return *next(0); }
  /// nullopt: there are not so many.
  [[nodiscard]] std::optional<PortRange> next(unsigned number) const {
    if (identifiers_) return number == 0 ? std::optional{PortRange{0, 65535}} : std::nullopt;
    const bool with_parity = parity_ != state::Parity::kAny;
    const unsigned range = with_parity ? number / 2 : number;
    if (range > (low_ ? 1u : 0u)) return std::nullopt;
    const bool low = low_ && range == 0;
    return PortRange{static_cast<std::uint16_t>(low ? 1 : 1024),
                     static_cast<std::uint16_t>(low ? 1023 : 65535),
                     number % 2 == 0 ? parity_ : state::Parity::kAny};
  }

 private:
  bool identifiers_;
  state::Parity parity_;
  bool low_;
};

NatAddress& address_at(Lsn44& shard, wire::Ipv4Address ip) {
  const NatAddressPlace* place = shard.generation->nat_addresses.find(ip);
  return *shard.lsn44.addresses->by_number[place->number];
}

/// After a port has been taken.
void note_taken(Lsn44& shard, const NatAddress& address, std::size_t p, std::uint16_t port) {
  const unsigned of_class = state::class_of_port(port);
  if (address.ports[p].is_full(of_class)) [[unlikely]]
    shard.lsn44.addresses->full.set(p, of_class, address.slot);
}

void release_port(Lsn44& shard, NatAddress& address, std::size_t p, std::uint16_t port) {
  // It stays taken: a static mapping has waited for it.
  if (address.statics[p].wants(port)) [[unlikely]] {
    address.statics[p].held->add(port);
    return;
  }
  const unsigned of_class = state::class_of_port(port);
  if (address.ports[p].is_full(of_class)) [[unlikely]]
    shard.lsn44.addresses->full.clear(p, of_class, address.slot);
  address.ports[p].release(port);
}

/// A port that has been taken. In registers, where a wire::Endpoint would be put together in memory
/// at every step.
struct Taken {
  NatAddress* address = nullptr;  ///< nullptr: none
  std::uint16_t port = 0;

  explicit operator bool() const { return address != nullptr; }
  [[nodiscard]] wire::Endpoint endpoint() const { return {address->ip.be(), wire::Be16::of(port)}; }
};

Taken take_from(Lsn44& shard, NatAddress& address, std::size_t p, const PortRange& range,
                std::uint32_t random) {
  const auto port = address.ports[p].take(range.first, range.last, range.parity, random);
  if (!port) return {};
  note_taken(shard, address, p, *port);
  return {&address, *port};
}

/// Of any of the group's addresses that has such a port.
Taken take_where_there_is_room(Lsn44& shard, const AddressSet& set, std::size_t p,
                               const PortRange& range, std::uint32_t random) {
  ShardAddresses& addresses = *shard.lsn44.addresses;
  for (;;) {
    const std::uint32_t slot =
        addresses.full.find_with_room(set, p, range.classes(), shard.random.next());
    if (slot == state::kNone) return {};
    NatAddress& address = *addresses.by_slot[slot];
    if (const Taken taken = take_from(shard, address, p, range, random)) return taken;
    // It has become full without a note: never again.
    for (unsigned c = 0; c < state::kPortClasses; ++c)
      if ((range.classes() >> c & 1) != 0) addresses.full.set(p, c, slot);
  }
}

/// The better of two addresses chosen at random keeps all of them evenly loaded; if it has no port
/// of a range that is wanted, any that has one is taken.
template <class Load>
Taken take_anywhere(Lsn44& shard, const Group& group, std::size_t p, const WantedPorts& wanted,
                    Load&& load) {
  const std::vector<wire::Ipv4Address>& all = group.usable_of(shard.id);
  if (all.empty()) return {};
  const auto count = static_cast<std::uint32_t>(all.size());
  NatAddress* best = &address_at(shard, all[shard.random.below(count)]);
  if (count > 1) {
    NatAddress* other = &address_at(shard, all[shard.random.below(count)]);
    if (load(*other) < load(*best)) best = other;
  }
  const std::uint32_t random = shard.random.next();
  const AddressSet& set = addresses_of(shard, group);
  for (unsigned n = 0; const auto range = wanted.next(n); ++n) {
    if (const Taken taken = take_from(shard, *best, p, *range, random)) return taken;
    if (count == 1) continue;
    if (const Taken taken = take_where_there_is_room(shard, set, p, *range, random)) return taken;
  }
  return {};
}

/// Whether a subscriber may get a port of an address that is chosen for it. Where all of them drain
/// only one that lives here may, until its last session ends; one that is paired has its address.
bool may_choose_address(const Lsn44& shard, const Subscriber& subscriber, const Group& group,
                        Pooling pooling) {
  if (!group.is_drained(shard.id)) [[likely]]
    return true;
  return is_alive(subscriber) || (pooling == Pooling::kPaired && subscriber.paired_ip.raw() != 0);
}

/// The part of a range that lies in a block.
std::optional<PortRange> within(const PortRange& range, state::PortSpan block) {
  const PortRange part{std::max(range.first, block.first), std::min(range.last, block.last),
                       range.parity};
  return part.first <= part.last ? std::optional{part} : std::nullopt;
}

Taken take_within(Lsn44& shard, NatAddress& address, std::size_t p, const WantedPorts& wanted,
                  state::PortSpan block, std::uint32_t random) {
  for (unsigned n = 0; const auto range = wanted.next(n); ++n)
    if (const auto part = within(*range, block))
      if (const Taken taken = take_from(shard, address, p, *part, random)) return taken;
  return {};
}

/// This very port.
Taken take_exact(Lsn44& shard, NatAddress& address, std::size_t p, std::uint16_t port) {
  if (!address.ports[p].take_exact(port)) return {};
  note_taken(shard, address, p, port);
  return {&address, port};
}

/// Whether nothing new is to begin on an address.
bool is_draining(const Lsn44& shard, wire::Ipv4Address ip) {
  const NatAddressPlace* const place = shard.generation->nat_addresses.find(ip);
  return place != nullptr && shard.generation->pools[place->pool].drains(ip);
}

/// A port as it is found, or why there is none.
using Found = std::expected<Taken, DropReason>;

Found found_or(const Taken& taken, DropReason reason) {
  if (taken) return taken;
  return std::unexpected(reason);
}

/// Of the block that the configuration gives the subscriber.
Found take_deterministic(Lsn44& shard, const Subscriber& subscriber, const Group& group,
                         const PortRequest& request, const WantedPorts& wanted) {
  const auto p = static_cast<std::size_t>(request.protocol);
  const auto block = group.deterministic->forward(subscriber.inside());
  NatAddress* const address = block ? find_nat_address(shard, block->nat_ip.be()) : nullptr;
  // One that drains goes on for subscribers that live there.
  if (address == nullptr || (is_draining(shard, address->ip) && !is_alive(subscriber)))
    return std::unexpected(DropReason::kPoolExhausted);
  const state::PortSpan ports{block->first, block->last};
  if (!request.wanted)
    return found_or(take_within(shard, *address, p, wanted, ports, shard.random.next()),
                    DropReason::kPortBlockFull);
  const std::uint16_t port = request.wanted->host();
  return found_or(ports.contains(port) ? take_exact(shard, *address, p, port) : Taken{},
                  DropReason::kPortsExhausted);
}

/// Whether a subscriber takes ports of a block, as its pooling and the block's present state are:
/// of one on an address that drains only if that is its own, or all of the shard's drain.
bool is_eligible(const Lsn44& shard, const Subscriber& subscriber, const Group& group,
                 const Block& block, const PortRequest& request) {
  const bool is_own = request.pooling == Pooling::kPaired && block.nat_ip == subscriber.paired_ip;
  return !block.is_retired && (!block.drains || is_own || group.is_drained(shard.id)) &&
         (request.pooling == Pooling::kRandom || subscriber.paired_ip.raw() == 0 ||
          block.nat_ip == subscriber.paired_ip) &&
         (block.full >> static_cast<unsigned>(request.protocol) & 1) == 0;
}

/// Whether ports of an address' pool wait: when their time is over they are free without a word to
/// the blocks that they lie in.
bool has_waiting_ports(const Lsn44& shard, wire::Ipv4Address ip) {
  const NatAddressPlace* const place = shard.generation->nat_addresses.find(ip);
  const ReallocQueue* const queue =
      place == nullptr ? nullptr : shard.lsn44.addresses->realloc[place->pool];
  return queue != nullptr && !queue->empty();
}

/// Of one of the blocks that the subscriber has.
Taken take_of_own_blocks(Lsn44& shard, Subscriber& subscriber, const Group& group,
                         const PortRequest& request, const WantedPorts& wanted) {
  Tables& tables = shard.lsn44;
  const auto p = static_cast<std::size_t>(request.protocol);
  const std::uint32_t random = shard.random.next();
  for (BlockId id = subscriber.blocks.first; id != state::kNone;
       id = tables.blocks[id].of_subscriber.next) {
    Block& block = tables.blocks[id];
    if (!is_eligible(shard, subscriber, group, block, request)) continue;
    NatAddress* const address = find_nat_address(shard, block.nat_ip);
    if (address == nullptr || address->serial != block.serial) continue;
    if (const Taken taken = take_within(shard, *address, p, wanted, block.ports, random))
      return taken;
    if (!has_waiting_ports(shard, address->ip))
      block.full = static_cast<std::uint8_t>(block.full | 1u << p);
  }
  return {};
}

/// This very port of the paired address, of a block that the subscriber has or gets.
Found take_wanted_of_block(Lsn44& shard, Subscriber& subscriber, const Group& group,
                           const PortRequest& request) {
  NatAddress* const address = find_nat_address(shard, subscriber.paired_ip);
  if (address == nullptr) return std::unexpected(DropReason::kPortsExhausted);
  const std::uint16_t port = request.wanted->host();
  if (find_block(shard, subscriber, subscriber.paired_ip, port) == state::kNone)
    if (const auto block = allocate_block_at(shard, subscriber, group, *address, port); !block)
      return std::unexpected(block.error());
  return found_or(take_exact(shard, *address, static_cast<std::size_t>(request.protocol), port),
                  DropReason::kPortsExhausted);
}

/// Of the subscriber's blocks, of a new one if these have nothing left.
Found take_of_blocks(Lsn44& shard, Subscriber& subscriber, const Group& group,
                     const PortRequest& request, const WantedPorts& wanted) {
  if (request.wanted) return take_wanted_of_block(shard, subscriber, group, request);
  const bool is_paired = request.pooling == Pooling::kPaired;
  Taken taken = take_of_own_blocks(shard, subscriber, group, request, wanted);
  if (!taken && !may_choose_address(shard, subscriber, group, request.pooling))
    return std::unexpected(DropReason::kPoolExhausted);
  if (!taken) {
    NatAddress* const address = is_paired && subscriber.paired_ip.raw() != 0
                                    ? find_nat_address(shard, subscriber.paired_ip)
                                    : find_address_with_block(shard, group);
    if (address == nullptr) return std::unexpected(DropReason::kNoFreeBlock);
    const auto block = allocate_block(shard, subscriber, group, *address);
    if (!block) return std::unexpected(block.error());
    taken = take_within(shard, *address, static_cast<std::size_t>(request.protocol), wanted,
                        shard.lsn44.blocks[*block].ports, shard.random.next());
    if (!taken) return std::unexpected(DropReason::kPortBlockFull);
  }
  if (is_paired && subscriber.paired_ip.raw() == 0)
    pair_with(shard, subscriber, taken.address->ip.be());
  return taken;
}

}  // namespace

const AddressSet& addresses_of(const Lsn44& shard, const Group& group) {
  const ShardAddresses& addresses = *shard.lsn44.addresses;
  const auto id = static_cast<std::size_t>(&group - shard.generation->groups.data());
  return addresses.sets[addresses.set_of_group[id]];
}

bool has_room_for_subscriber(NatAddress& address, const Group& group) {
  if (group.deterministic != nullptr) return true;
  return group.blocks.size != 0 ? has_free_block(address, group) : address.has_room(Protocol::kUdp);
}

NatAddress* find_nat_address(Lsn44& shard, wire::Be32 ip) {
  const NatAddressPlace* place = shard.generation->nat_addresses.find(wire::Ipv4Address{ip});
  return place == nullptr ? nullptr : shard.lsn44.addresses->by_number[place->number];
}

std::expected<wire::Endpoint, DropReason> take_port(Lsn44& shard, Subscriber& subscriber,
                                                    const Group& group,
                                                    const PortRequest& request) {
  const auto p = static_cast<std::size_t>(request.protocol);
  const Pooling pooling = request.pooling;
  const std::optional<wire::Be16>& wanted = request.wanted;
  const TransportPolicy& policy = group.transport[p];
  if (policy.port_quota != 0 &&
      subscriber.port_count[p] >= policy.port_quota_for(request.remote_port.host()))
    return std::unexpected(DropReason::kPortQuota);
  const WantedPorts ports(request.protocol, policy, request.inside_port.host());

  Taken taken;
  if (has_blocks(group)) {
    const Found found = group.deterministic != nullptr
                            ? take_deterministic(shard, subscriber, group, request, ports)
                            : take_of_blocks(shard, subscriber, group, request, ports);
    if (!found) return std::unexpected(found.error());
    taken = *found;
  } else if (wanted) {
    NatAddress* address = find_nat_address(shard, subscriber.paired_ip);
    if (address != nullptr) taken = take_exact(shard, *address, p, wanted->host());
    if (!taken) return std::unexpected(DropReason::kPortsExhausted);
  } else if (!may_choose_address(shard, subscriber, group, pooling)) {
    return std::unexpected(DropReason::kPoolExhausted);
  } else if (pooling == Pooling::kRandom) {
    taken = take_anywhere(shard, group, p, ports,
                          [p](const NatAddress& a) { return a.ports[p].taken(); });
    if (!taken) return std::unexpected(DropReason::kPoolExhausted);
  } else if (subscriber.paired_ip.raw() != 0) {
    // RFC 6888 REQ-2, RFC 4787 REQ-2: always the same address, also when it has nothing left.
    if (NatAddress* address = find_nat_address(shard, subscriber.paired_ip)) {
      const std::uint32_t random = shard.random.next();
      for (unsigned n = 0; const auto range = ports.next(n); ++n)
        if ((taken = take_from(shard, *address, p, *range, random))) break;
    }
    if (!taken) return std::unexpected(DropReason::kPortsExhausted);
  } else {
    taken =
        take_anywhere(shard, group, p, ports, [](const NatAddress& a) { return a.subscribers; });
    if (!taken) return std::unexpected(DropReason::kPoolExhausted);
    pair_with(shard, subscriber, taken.address->ip.be());
  }
  ++subscriber.port_count[p];
  return taken.endpoint();
}

namespace {

/// Whether a port of a block is free.
bool is_port_left_in(Lsn44& shard, const shared::PortBlock& block, std::size_t p) {
  const NatAddress* const address = find_nat_address(shard, block.nat_ip.be());
  return address != nullptr &&
         address->ports[p].find(block.first, block.last, state::Parity::kAny, 0).has_value();
}

PortOutlook outlook_in_blocks(Lsn44& shard, const Subscriber* subscriber, const Group& group,
                              Protocol protocol, Pooling pooling) {
  const bool is_paired =
      pooling == Pooling::kPaired && subscriber != nullptr && subscriber->paired_ip.raw() != 0;
  std::uint32_t blocks = 0;
  const PortRequest request{protocol, pooling, {}};
  for (BlockId id = subscriber == nullptr ? state::kNone : subscriber->blocks.first;
       id != state::kNone; id = shard.lsn44.blocks[id].of_subscriber.next) {
    const Block& block = shard.lsn44.blocks[id];
    if (!block.is_retired) ++blocks;
    const shared::PortBlock ports{wire::Ipv4Address{block.nat_ip}, block.ports.first,
                                  block.ports.last};
    if (is_eligible(shard, *subscriber, group, block, request) &&
        is_port_left_in(shard, ports, static_cast<std::size_t>(protocol)))
      return {std::nullopt, ports};
  }
  if (blocks >= group.blocks.most) return {DropReason::kPortBlockFull, std::nullopt};
  NatAddress* const address = is_paired ? find_nat_address(shard, subscriber->paired_ip)
                                        : find_address_with_block(shard, group);
  const bool has_one = address != nullptr && has_free_block(*address, group);
  return {has_one ? std::nullopt : std::optional{DropReason::kNoFreeBlock}, std::nullopt};
}

}  // namespace

PortOutlook port_outlook(Lsn44& shard, const Subscriber* subscriber, const InsideAddress& inside,
                         const Group& group, Protocol protocol, Pooling pooling) {
  const auto p = static_cast<std::size_t>(protocol);
  if (group.deterministic != nullptr) {
    const auto block = group.deterministic->forward(inside);
    const bool has_one = block && is_port_left_in(shard, *block, p);
    return {has_one ? std::nullopt : std::optional{DropReason::kPortBlockFull}, block};
  }
  if (group.blocks.size != 0) return outlook_in_blocks(shard, subscriber, group, protocol, pooling);
  const PortRange range =
      protocol == Protocol::kIcmp ? PortRange{0, 65535} : PortRange{1024, 65535};
  const auto has_one = [&](const NatAddress& address) {
    for (unsigned c = 0; c < state::kPortClasses; ++c)
      if ((range.classes() >> c & 1) != 0 && !address.ports[p].is_full(c)) return true;
    return false;
  };
  if (pooling == Pooling::kPaired && subscriber != nullptr && subscriber->paired_ip.raw() != 0) {
    const NatAddress* const address = find_nat_address(shard, subscriber->paired_ip);
    if (address != nullptr && has_one(*address)) return {};
    return {DropReason::kPortsExhausted, std::nullopt};
  }
  if (group.is_drained(shard.id) && (subscriber == nullptr || !is_alive(*subscriber)))
    return {DropReason::kPoolExhausted, std::nullopt};
  const ShardAddresses& addresses = *shard.lsn44.addresses;
  const std::uint32_t slot =
      addresses.full.find_with_room(addresses_of(shard, group), p, range.classes(), 0);
  if (slot != state::kNone && has_one(*addresses.by_slot[slot])) return {};
  return {DropReason::kPoolExhausted, std::nullopt};
}

namespace {

/// The block that a port will be taken of, if it is one that the subscriber has.
std::optional<shared::PortBlock> likely_block(const Lsn44& shard, const Subscriber& subscriber,
                                              const Group& group, Protocol protocol,
                                              Pooling pooling) {
  if (group.deterministic != nullptr) return group.deterministic->forward(subscriber.inside());
  const PortRequest request{protocol, pooling, {}};
  for (BlockId id = subscriber.blocks.first; id != state::kNone;
       id = shard.lsn44.blocks[id].of_subscriber.next) {
    const Block& block = shard.lsn44.blocks[id];
    if (is_eligible(shard, subscriber, group, block, request))
      return shared::PortBlock{wire::Ipv4Address{block.nat_ip}, block.ports.first,
                               block.ports.last};
  }
  return std::nullopt;
}

std::optional<PortRange> likely_range(const PortPrediction& prediction,
                                      const TransportPolicy& policy, Protocol protocol,
                                      wire::Be16 inside_port) {
  return within(WantedPorts(protocol, policy, inside_port.host()).first(), prediction.ports);
}

}  // namespace

PortPrediction predict_port(Lsn44& shard, const Subscriber* subscriber, const Group& group,
                            Protocol protocol, Pooling pooling, std::uint32_t& draw,
                            PrefetchBatch& batch) {
  PortPrediction prediction;
  if (draw + kDrawsPerPort > state::Random::kPeek) return prediction;
  if (has_blocks(group)) {
    const auto block = subscriber == nullptr
                           ? std::nullopt
                           : likely_block(shard, *subscriber, group, protocol, pooling);
    if (!block) return prediction;
    prediction.address = find_nat_address(shard, block->nat_ip.be());
    prediction.ports = {block->first, block->last};
  } else if (pooling == Pooling::kPaired && subscriber != nullptr &&
             subscriber->paired_ip.raw() != 0) {
    prediction.address = find_nat_address(shard, subscriber->paired_ip);
  } else {
    const std::vector<wire::Ipv4Address>& all = group.usable_of(shard.id);
    if (all.empty()) return prediction;
    const auto any = [&] {
      const std::uint32_t random = shard.random.peek(draw++);
      return &address_at(shard, all[state::Random::scale(random, all.size())]);
    };
    prediction.address = any();
    prediction.by_ports = pooling == Pooling::kRandom;
    if (all.size() > 1) {
      prediction.other = any();
      for (const NatAddress* address : {prediction.address, prediction.other}) {
        batch.add_line(prediction.by_ports ? address->ports[protocol].line_of_load()
                                           : &address->subscribers);
      }
    }
  }
  prediction.random = shard.random.peek(draw++);
  return prediction;
}

void narrow(PortPrediction& prediction, const Group& group, Protocol protocol,
            wire::Be16 inside_port, PrefetchBatch& batch) {
  if (prediction.address == nullptr) return;
  const auto p = static_cast<std::size_t>(protocol);
  if (prediction.other != nullptr) {
    const auto load = [&](const NatAddress& address) {
      return prediction.by_ports ? address.ports[p].taken() : address.subscribers;
    };
    if (load(*prediction.other) < load(*prediction.address)) prediction.address = prediction.other;
    prediction.other = nullptr;
  }
  const auto range = likely_range(prediction, group.transport[p], protocol, inside_port);
  if (!range) return;
  const state::PortBitmap& ports = prediction.address->ports[p];
  const auto port =
      state::PortBitmap::first_try(range->first, range->last, range->parity, prediction.random);
  if (!port) return;
  batch.add_line(ports.line_of(*port));
  batch.add_line(ports.line_of_load());
}

std::optional<wire::Endpoint> likely_endpoint(const PortPrediction& prediction, const Group& group,
                                              Protocol protocol, wire::Be16 inside_port) {
  if (prediction.address == nullptr) return std::nullopt;
  const auto p = static_cast<std::size_t>(protocol);
  const auto range = likely_range(prediction, group.transport[p], protocol, inside_port);
  if (!range) return std::nullopt;
  const auto port = prediction.address->ports[p].find(range->first, range->last, range->parity,
                                                      prediction.random);
  if (!port) return std::nullopt;
  return wire::Endpoint{prediction.address->ip.be(), wire::Be16::of(*port)};
}

void give_back_port(Lsn44& shard, Subscriber& subscriber, Protocol protocol,
                    wire::Endpoint endpoint) {
  const auto p = static_cast<std::size_t>(protocol);
  --subscriber.port_count[p];
  if (!subscriber.blocks.empty()) note_port_given_back(shard, subscriber, protocol, endpoint);
  const NatAddressPlace* place =
      shard.generation->nat_addresses.find(wire::Ipv4Address{endpoint.address});
  if (place == nullptr || place->owner != shard.id) return;  // a reload has taken it away
  NatAddress* address = shard.lsn44.addresses->by_number[place->number];
  const Pool& pool = shard.generation->pools[place->pool];
  ReallocQueue* queue = shard.lsn44.addresses->realloc[place->pool];
  const bool is_awaited = address->statics[p].wants(endpoint.port.host());
  if (queue != nullptr && !is_awaited && pool.port_realloc_timeout.count() != 0 && !queue->full() &&
      queue->size() < pool.max_realloc_queue) {
    queue->push({address->ip, address->serial, endpoint.port.host(), protocol, shard.now});
    return;
  }
  release_port(shard, *address, p, endpoint.port.host());
}

bool free_waiting_ports(Lsn44& shard, std::size_t budget) {
  const std::vector<ReallocQueue*>& queues = shard.lsn44.addresses->realloc;
  for (std::size_t id = 0; id < queues.size(); ++id) {
    ReallocQueue* queue = queues[id];
    if (queue == nullptr) continue;
    // As the pool is now: the ports of one that is gone wait no longer.
    const Pool& pool = shard.generation->pools[id];
    const auto timeout = pool.present ? pool.port_realloc_timeout : state::TickDuration{0};
    for (; budget != 0 && !queue->empty(); --budget) {
      const ReallocQueue::Entry& entry = queue->front();
      if (queue->size() <= pool.max_realloc_queue &&
          (entry.given_back + timeout).later_than(shard.now))
        break;
      NatAddress* address = find_nat_address(shard, entry.ip.be());
      if (address != nullptr && address->serial == entry.serial)
        release_port(shard, *address, static_cast<std::size_t>(entry.protocol), entry.port);
      queue->pop();
    }
  }
  return budget != 0;
}

void pair_with(Lsn44& shard, Subscriber& subscriber, wire::Be32 nat_ip) {
  subscriber.paired_ip = nat_ip;
  ++find_nat_address(shard, nat_ip)->subscribers;
  log_binding(shard, subscriber, LogEvent::kCreated);
}

bool pair_anywhere(Lsn44& shard, Subscriber& subscriber, const Group& group) {
  const std::vector<wire::Ipv4Address>& all = group.usable_of(shard.id);
  if (all.empty() || group.deterministic != nullptr ||
      (group.is_drained(shard.id) && !is_alive(subscriber)))
    return false;
  const auto count = static_cast<std::uint32_t>(all.size());
  const NatAddress& one = address_at(shard, all[shard.random.below(count)]);
  const NatAddress& other = address_at(shard, all[shard.random.below(count)]);
  const NatAddress* best = other.subscribers < one.subscribers ? &other : &one;
  // The subscriber will need ports, too.
  if (group.blocks.size != 0) {
    if (const NatAddress* const address = find_address_with_block(shard, group)) best = address;
  } else if (!best->has_room(Protocol::kUdp)) {
    const PortRange range{1024, 65535};
    const std::uint32_t slot = shard.lsn44.addresses->full.find_with_room(
        addresses_of(shard, group), static_cast<std::size_t>(Protocol::kUdp), range.classes(),
        shard.random.next());
    if (slot != state::kNone) best = shard.lsn44.addresses->by_slot[slot];
  }
  pair_with(shard, subscriber, best->ip.be());
  return true;
}

void unpair(Lsn44& shard, Subscriber& subscriber) {
  if (subscriber.paired_ip.raw() == 0) return;
  log_binding(shard, subscriber, LogEvent::kDeleted);
  // The count only balances the load; a reload may have exchanged the object.
  NatAddress* address = find_nat_address(shard, subscriber.paired_ip);
  if (address != nullptr && address->subscribers != 0) --address->subscribers;
  subscriber.paired_ip = wire::Be32{};
}

}  // namespace lsn::datapath::lsn44
