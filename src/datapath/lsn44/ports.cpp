#include <algorithm>

#include "lsn/datapath/lsn44/lifecycle.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// NAT addresses that one packet looks at when those chosen at random have nothing left.
constexpr std::size_t kSearchLimit = 256;

/// Random numbers that taking a port draws at most: two addresses and a port.
constexpr std::uint32_t kDrawsPerPort = 3;

struct PortRange {
  std::uint16_t first;
  std::uint16_t last;
  state::Parity parity;
};

/// Which NAT ports will do for an inside port.
PortRange wanted_ports(Protocol protocol, const TransportPolicy& policy, std::uint16_t inside) {
  // RFC 5508 REQ-1: identifiers have no ranges and no parity.
  if (protocol == Protocol::kIcmp) return {0, 65535, state::Parity::kAny};
  // RFC 4787 REQ-4
  const state::Parity parity =
      policy.preserve_parity ? state::parity_of(inside) : state::Parity::kAny;
  // RFC 4787 REQ-3 a) and b): the well-known ports for those who had one, if so configured, and
  // never for others. Port 0 is none.
  if (policy.preserve_range && inside < 1024) return {1, 1023, parity};
  return {1024, 65535, parity};
}

NatAddress& address_at(Shard& shard, wire::Ipv4Address ip) {
  const NatAddressPlace* place = shard.generation->nat_addresses.find(ip);
  return *shard.lsn44.addresses->by_number[place->number];
}

std::optional<wire::Be16> take_from(Shard& shard, NatAddress& address, Protocol protocol,
                                    const PortRange& range) {
  const auto port = address.ports[static_cast<std::size_t>(protocol)].take(
      range.first, range.last, range.parity, shard.random.next());
  if (!port) return std::nullopt;
  return wire::Be16::of(*port);
}

/// The better of two addresses chosen at random keeps all of them evenly loaded; only when it has
/// nothing left the others are asked in turn.
template <class Load>
std::optional<NatEndpoint> take_anywhere(Shard& shard, const Group& group, Protocol protocol,
                                         const PortRange& range, Load&& load) {
  const std::vector<wire::Ipv4Address>& all = group.addresses_of[shard.id];
  if (all.empty()) return std::nullopt;
  const auto count = static_cast<std::uint32_t>(all.size());
  const std::uint32_t start = shard.random.below(count);
  NatAddress* best = &address_at(shard, all[start]);
  if (count > 1) {
    NatAddress* other = &address_at(shard, all[shard.random.below(count)]);
    if (load(*other) < load(*best)) best = other;
  }
  if (const auto port = take_from(shard, *best, protocol, range))
    return NatEndpoint{best->ip.be(), *port};
  for (std::size_t i = 0; i < std::min<std::size_t>(count, kSearchLimit); ++i) {
    NatAddress& address = address_at(shard, all[(start + i) % count]);
    if (const auto port = take_from(shard, address, protocol, range))
      return NatEndpoint{address.ip.be(), *port};
  }
  return std::nullopt;
}

}  // namespace

NatAddress* find_nat_address(Shard& shard, wire::Be32 ip) {
  const NatAddressPlace* place = shard.generation->nat_addresses.find(wire::Ipv4Address{ip});
  return place == nullptr ? nullptr : shard.lsn44.addresses->by_number[place->number];
}

std::expected<NatEndpoint, DropReason> take_port(Shard& shard, Subscriber& subscriber,
                                                 const Group& group, Protocol protocol,
                                                 Pooling pooling, wire::Be16 inside_port,
                                                 std::optional<wire::Be16> wanted) {
  const auto p = static_cast<std::size_t>(protocol);
  const TransportPolicy& policy = group.transport[p];
  if (policy.port_quota != 0 && subscriber.port_count[p] >= policy.port_quota)
    return std::unexpected(DropReason::kPortQuota);
  const PortRange range = wanted_ports(protocol, policy, inside_port.host());

  std::optional<NatEndpoint> endpoint;
  if (wanted) {
    NatAddress* address = find_nat_address(shard, subscriber.paired_ip);
    if (address == nullptr || !address->ports[p].take_exact(wanted->host()))
      return std::unexpected(DropReason::kPortsExhausted);
    endpoint = NatEndpoint{subscriber.paired_ip, *wanted};
  } else if (pooling == Pooling::kRandom) {
    endpoint = take_anywhere(shard, group, protocol, range,
                             [p](const NatAddress& a) { return a.ports[p].taken(); });
    if (!endpoint) return std::unexpected(DropReason::kPoolExhausted);
  } else if (subscriber.paired_ip.raw() != 0) {
    // RFC 6888 REQ-2, RFC 4787 REQ-2: always the same address, also when it has nothing left.
    NatAddress* address = find_nat_address(shard, subscriber.paired_ip);
    const auto port =
        address == nullptr ? std::nullopt : take_from(shard, *address, protocol, range);
    if (!port) return std::unexpected(DropReason::kPortsExhausted);
    endpoint = NatEndpoint{subscriber.paired_ip, *port};
  } else {
    endpoint = take_anywhere(shard, group, protocol, range,
                             [](const NatAddress& a) { return a.subscribers; });
    if (!endpoint) return std::unexpected(DropReason::kPoolExhausted);
    pair_with(shard, subscriber, endpoint->ip);
  }
  ++subscriber.port_count[p];
  return *endpoint;
}

PortOutlook look_ahead(Shard& shard, const Subscriber* subscriber, const Group& group,
                       Protocol protocol, Pooling pooling, std::uint32_t& draw, Fetches& fetches) {
  PortOutlook outlook;
  if (draw + kDrawsPerPort > state::Random::kPeek) return outlook;
  if (pooling == Pooling::kPaired && subscriber != nullptr && subscriber->paired_ip.raw() != 0) {
    outlook.address = find_nat_address(shard, subscriber->paired_ip);
  } else {
    const std::vector<wire::Ipv4Address>& all = group.addresses_of[shard.id];
    if (all.empty()) return outlook;
    const auto any = [&] {
      const std::uint32_t random = shard.random.peek(draw++);
      return &address_at(shard, all[state::Random::scale(random, all.size())]);
    };
    outlook.address = any();
    outlook.by_ports = pooling == Pooling::kRandom;
    if (all.size() > 1) {
      outlook.other = any();
      for (const NatAddress* address : {outlook.address, outlook.other}) {
        fetches.add_line(outlook.by_ports
                             ? address->ports[static_cast<std::size_t>(protocol)].line_of_load()
                             : &address->subscribers);
      }
    }
  }
  outlook.random = shard.random.peek(draw++);
  return outlook;
}

void narrow(PortOutlook& outlook, const Group& group, Protocol protocol, wire::Be16 inside_port,
            Fetches& fetches) {
  if (outlook.address == nullptr) return;
  const auto p = static_cast<std::size_t>(protocol);
  if (outlook.other != nullptr) {
    const auto load = [&](const NatAddress& address) {
      return outlook.by_ports ? address.ports[p].taken() : address.subscribers;
    };
    if (load(*outlook.other) < load(*outlook.address)) outlook.address = outlook.other;
    outlook.other = nullptr;
  }
  const PortRange range = wanted_ports(protocol, group.transport[p], inside_port.host());
  const state::PortBitmap& ports = outlook.address->ports[p];
  const auto port =
      state::PortBitmap::first_try(range.first, range.last, range.parity, outlook.random);
  if (!port) return;
  fetches.add_line(ports.line_of(*port));
  fetches.add_line(ports.line_of_load());
}

std::optional<NatEndpoint> likely_endpoint(const PortOutlook& outlook, const Group& group,
                                           Protocol protocol, wire::Be16 inside_port) {
  if (outlook.address == nullptr) return std::nullopt;
  const auto p = static_cast<std::size_t>(protocol);
  const PortRange range = wanted_ports(protocol, group.transport[p], inside_port.host());
  const auto port = outlook.address->ports[p].foretell(range.first, range.last, range.parity,
                                                     outlook.random);
  if (!port) return std::nullopt;
  return NatEndpoint{outlook.address->ip.be(), wire::Be16::of(*port)};
}

void give_back_port(Shard& shard, Subscriber& subscriber, Protocol protocol,
                    NatEndpoint endpoint) {
  const auto p = static_cast<std::size_t>(protocol);
  --subscriber.port_count[p];
  const NatAddressPlace* place =
      shard.generation->nat_addresses.find(wire::Ipv4Address{endpoint.ip});
  if (place == nullptr || place->owner != shard.id) return;  // a reload has taken it away
  NatAddress* address = shard.lsn44.addresses->by_number[place->number];
  const Pool& pool = shard.generation->pools[place->pool];
  ReallocQueue* queue = shard.lsn44.addresses->realloc[place->pool];
  if (queue != nullptr && pool.port_realloc_timeout.count() != 0 && !queue->full() &&
      queue->size() < pool.max_realloc_queue) {
    queue->push({address->ip, address->serial, endpoint.port.host(), protocol, shard.now});
    return;
  }
  address->ports[p].release(endpoint.port.host());
}

void free_waiting_ports(Shard& shard, std::size_t budget) {
  const std::vector<ReallocQueue*>& queues = shard.lsn44.addresses->realloc;
  for (std::size_t id = 0; id < queues.size(); ++id) {
    ReallocQueue* queue = queues[id];
    if (queue == nullptr) continue;
    // As the pool is now: what waits in one that is gone waits no longer.
    const Pool& pool = shard.generation->pools[id];
    const auto timeout = pool.present ? pool.port_realloc_timeout : state::TickDuration{0};
    for (; budget != 0 && !queue->empty(); --budget) {
      const ReallocQueue::Entry& entry = queue->front();
      if (queue->size() <= pool.max_realloc_queue &&
          (entry.given_back + timeout).later_than(shard.now))
        break;
      NatAddress* address = find_nat_address(shard, entry.ip.be());
      if (address != nullptr && address->serial == entry.serial)
        address->ports[static_cast<std::size_t>(entry.protocol)].release(entry.port);
      queue->pop();
    }
  }
}

void pair_with(Shard& shard, Subscriber& subscriber, wire::Be32 nat_ip) {
  subscriber.paired_ip = nat_ip;
  ++find_nat_address(shard, nat_ip)->subscribers;
}

bool pair_anywhere(Shard& shard, Subscriber& subscriber, const Group& group) {
  const std::vector<wire::Ipv4Address>& all = group.addresses_of[shard.id];
  if (all.empty()) return false;
  const auto count = static_cast<std::uint32_t>(all.size());
  const NatAddress& one = address_at(shard, all[shard.random.below(count)]);
  const NatAddress& other = address_at(shard, all[shard.random.below(count)]);
  pair_with(shard, subscriber, (other.subscribers < one.subscribers ? other : one).ip.be());
  return true;
}

void unpair(Shard& shard, Subscriber& subscriber) {
  if (subscriber.paired_ip.raw() == 0) return;
  // The count only balances the load; a reload may have exchanged the object.
  NatAddress* address = find_nat_address(shard, subscriber.paired_ip);
  if (address != nullptr && address->subscribers != 0) --address->subscribers;
  subscriber.paired_ip = wire::Be32{};
}

}  // namespace lsn::datapath::lsn44
