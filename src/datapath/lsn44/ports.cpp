#include "lsn/datapath/lsn44/ports.hpp"

#include <optional>

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

const AddressSet& addresses_of(const Lsn44& shard, const Group& group) {
  const ShardAddresses& addresses = *shard.lsn44.addresses;
  const auto id = static_cast<std::size_t>(&group - shard.generation->groups.data());
  return addresses.sets[addresses.set_of_group[id]];
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

}  // namespace

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
  if (wanted) {
    NatAddress* address = find_nat_address(shard, subscriber.paired_ip);
    if (address == nullptr || !address->ports[p].take_exact(wanted->host()))
      return std::unexpected(DropReason::kPortsExhausted);
    note_taken(shard, *address, p, wanted->host());
    taken = {address, wanted->host()};
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

bool is_port_left(Lsn44& shard, const Subscriber* subscriber, const Group& group, Protocol protocol,
                  Pooling pooling) {
  const auto p = static_cast<std::size_t>(protocol);
  const PortRange range =
      protocol == Protocol::kIcmp ? PortRange{0, 65535} : PortRange{1024, 65535};
  const auto has_one = [&](const NatAddress& address) {
    for (unsigned c = 0; c < state::kPortClasses; ++c)
      if ((range.classes() >> c & 1) != 0 && !address.ports[p].is_full(c)) return true;
    return false;
  };
  if (pooling == Pooling::kPaired && subscriber != nullptr && subscriber->paired_ip.raw() != 0) {
    const NatAddress* const address = find_nat_address(shard, subscriber->paired_ip);
    return address != nullptr && has_one(*address);
  }
  if (group.is_drained(shard.id) && (subscriber == nullptr || !is_alive(*subscriber))) return false;
  const ShardAddresses& addresses = *shard.lsn44.addresses;
  const std::uint32_t slot =
      addresses.full.find_with_room(addresses_of(shard, group), p, range.classes(), 0);
  return slot != state::kNone && has_one(*addresses.by_slot[slot]);
}

PortPrediction predict_port(Lsn44& shard, const Subscriber* subscriber, const Group& group,
                            Protocol protocol, Pooling pooling, std::uint32_t& draw,
                            PrefetchBatch& batch) {
  PortPrediction prediction;
  if (draw + kDrawsPerPort > state::Random::kPeek) return prediction;
  if (pooling == Pooling::kPaired && subscriber != nullptr && subscriber->paired_ip.raw() != 0) {
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
  const PortRange range = WantedPorts(protocol, group.transport[p], inside_port.host()).first();
  const state::PortBitmap& ports = prediction.address->ports[p];
  const auto port =
      state::PortBitmap::first_try(range.first, range.last, range.parity, prediction.random);
  if (!port) return;
  batch.add_line(ports.line_of(*port));
  batch.add_line(ports.line_of_load());
}

std::optional<wire::Endpoint> likely_endpoint(const PortPrediction& prediction, const Group& group,
                                              Protocol protocol, wire::Be16 inside_port) {
  if (prediction.address == nullptr) return std::nullopt;
  const auto p = static_cast<std::size_t>(protocol);
  const PortRange range = WantedPorts(protocol, group.transport[p], inside_port.host()).first();
  const auto port =
      prediction.address->ports[p].find(range.first, range.last, range.parity, prediction.random);
  if (!port) return std::nullopt;
  return wire::Endpoint{prediction.address->ip.be(), wire::Be16::of(*port)};
}

void give_back_port(Lsn44& shard, Subscriber& subscriber, Protocol protocol,
                    wire::Endpoint endpoint) {
  const auto p = static_cast<std::size_t>(protocol);
  --subscriber.port_count[p];
  const NatAddressPlace* place =
      shard.generation->nat_addresses.find(wire::Ipv4Address{endpoint.address});
  if (place == nullptr || place->owner != shard.id) return;  // a reload has taken it away
  NatAddress* address = shard.lsn44.addresses->by_number[place->number];
  const Pool& pool = shard.generation->pools[place->pool];
  ReallocQueue* queue = shard.lsn44.addresses->realloc[place->pool];
  if (queue != nullptr && pool.port_realloc_timeout.count() != 0 && !queue->full() &&
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
  if (all.empty() || (group.is_drained(shard.id) && !is_alive(subscriber))) return false;
  const auto count = static_cast<std::uint32_t>(all.size());
  const NatAddress& one = address_at(shard, all[shard.random.below(count)]);
  const NatAddress& other = address_at(shard, all[shard.random.below(count)]);
  const NatAddress* best = other.subscribers < one.subscribers ? &other : &one;
  // The subscriber will need ports, too.
  if (!best->has_room(Protocol::kUdp)) {
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
