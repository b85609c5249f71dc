#include "lsn/datapath/l3/neighbours.hpp"

#include <cstring>

#include "lsn/datapath/l3/output.hpp"
#include "lsn/datapath/shard.hpp"

namespace lsn::datapath {
namespace {

state::FlowKey neighbour_key(std::uint8_t interface, wire::Be32 ip) {
  return state::FlowKey::make(ip.raw(), interface, 0, 0, 1);
}

/// Whether we answer for an address on an interface: our own there, or a NAT address that lies in
/// an outside interface's network. Others are routed to us.
bool is_ours_on(const Generation& generation, std::uint8_t interface, wire::Be32 address) {
  const Interface& on = generation.interfaces[interface];
  const wire::Ipv4Address wanted{address};
  if (on.address.address == wanted) return true;
  return on.side == Side::kOutside && on.address.contains(wanted) &&
         generation.nat_addresses.find(wanted) != nullptr;
}

bool is_station(const wire::MacAddress& mac) {
  return (mac[0] & 1) == 0 && mac != wire::MacAddress{};
}

/// Writes a link header; returns its size.
std::uint8_t make_link_header(std::uint8_t* bytes, const wire::MacAddress& to,
                              const wire::MacAddress& from, std::uint16_t vlan,
                              std::uint16_t type) {
  wire::EthernetHeader ethernet{to, from, wire::Be16::of(vlan != 0 ? wire::kEtherTypeVlan : type)};
  std::memcpy(bytes, &ethernet, sizeof ethernet);
  if (vlan == 0) return sizeof ethernet;
  const wire::VlanTag tag{wire::Be16::of(vlan), wire::Be16::of(type)};
  std::memcpy(bytes + sizeof ethernet, &tag, sizeof tag);
  return sizeof ethernet + sizeof tag;
}

/// Ethernet's smallest frame, without the check sequence.
constexpr std::uint16_t kSmallestFrame = 60;

void send_arp(Shard& shard, std::uint8_t interface, std::uint16_t operation,
              const wire::MacAddress& to, const wire::MacAddress& target_mac,
              wire::Be32 sender_ip, wire::Be32 target_ip) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(shard.buffers);
  if (mbuf == nullptr) {
    shard.counters.drop(DropReason::kNoBuffer);
    return;
  }
  const Interface& on = shard.generation->interfaces[interface];
  auto* bytes = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(mbuf, kSmallestFrame));
  std::memset(bytes, 0, kSmallestFrame);
  const wire::MacAddress& own = shard.links[interface].mac;
  const std::uint8_t link = make_link_header(bytes, to, own, on.vlan, wire::kEtherTypeArp);
  const wire::ArpHeader arp{wire::Be16::of(1), wire::Be16::of(wire::kEtherTypeIpv4), 6, 4,
                            wire::Be16::of(operation), own, sender_ip, target_mac, target_ip};
  std::memcpy(bytes + link, &arp, sizeof arp);
  (operation == wire::kArpRequest ? shard.counters.arp_requests_sent
                                  : shard.counters.arp_replies_sent)
      .add();
  transmit(shard, on.device, mbuf);
}

}  // namespace

Neighbours::Neighbours(state::Ticks now, const state::HashSecret& secret,
                       state::ZeroedMemory* memory)
    : table_(kCapacity, memory),
      index_(kCapacity, secret, memory),
      waiting_(kWaitingRoom, memory),
      wheel_(now, memory) {}

NeighbourId Neighbours::find_or_add(Shard& shard, std::uint8_t interface, wire::Be32 ip) {
  const state::FlowKey key = neighbour_key(interface, ip);
  const std::uint32_t hash = index_.hash(key);
  if (const std::uint32_t known = index_.find(key, hash); known != state::kNone)
    return static_cast<NeighbourId>(known);
  const std::uint32_t index = table_.allocate();
  if (index == state::kNone) return kNoNeighbour;
  if (!index_.insert(key, hash, index)) {
    table_.release(index);
    return kNoNeighbour;
  }
  const Interface& on = shard.generation->interfaces[interface];
  Neighbour& neighbour = table_[index];
  neighbour.state = NeighbourState::kIncomplete;
  neighbour.device = on.device;
  neighbour.mtu = on.mtu;
  neighbour.interface = interface;
  neighbour.ip = ip;
  neighbour.last_used = shard.now;
  neighbour.confirmed = shard.now;
  // Not asked for yet: the first packet that waits does that.
  wheel_.schedule(index, shard.now + kForgetAfter,
                  [this](std::uint32_t i) -> state::WheelLinks& { return table_[i].wheel; });
  return static_cast<NeighbourId>(index);
}

void Neighbours::probe(Shard& shard, NeighbourId id) {
  Neighbour& neighbour = table_[id];
  ++neighbour.probes;
  const Interface& on = shard.generation->interfaces[neighbour.interface];
  // Who answered before is asked directly (RFC 1122 section 2.3.2.1), but the last time.
  wire::MacAddress to = wire::kBroadcastMac;
  if (neighbour.state == NeighbourState::kReachable && neighbour.probes < kMaxProbes)
    std::memcpy(to.data(), neighbour.link_header.data(), to.size());
  send_arp(shard, neighbour.interface, wire::kArpRequest, to, wire::MacAddress{},
           on.address.address.be(), neighbour.ip);
}

void Neighbours::wait(Shard& shard, NeighbourId id, rte_mbuf* packet) {
  Neighbour& neighbour = table_[id];
  neighbour.last_used = shard.now;
  const std::uint32_t place = neighbour.waiting_count < kWaitingPerNeighbour ? waiting_.allocate()
                                                                             : state::kNone;
  if (place == state::kNone) {
    shard.drop(packet, DropReason::kNeighbourQueueFull);
    return;
  }
  const auto links = [this](std::uint32_t i) -> state::ListLinks& { return waiting_[i].links; };
  waiting_[place].packet = packet;
  state::list_push(neighbour.waiting, place, links);
  ++neighbour.waiting_count;
  if (neighbour.probes != 0) return;  // asked already
  probe(shard, id);
  const auto wheel = [this](std::uint32_t i) -> state::WheelLinks& { return table_[i].wheel; };
  wheel_.cancel(id, wheel);
  wheel_.schedule(id, shard.now + kProbeInterval, wheel);
}

void Neighbours::learned(Shard& shard, NeighbourId id, const wire::MacAddress& mac) {
  Neighbour& neighbour = table_[id];
  const Interface& on = shard.generation->interfaces[neighbour.interface];
  neighbour.link_header_size =
      make_link_header(neighbour.link_header.data(), mac, shard.links[neighbour.interface].mac,
                       on.vlan, wire::kEtherTypeIpv4);
  if (neighbour.state != NeighbourState::kReachable) {
    neighbour.state = NeighbourState::kReachable;
    ++reachable_;
    shard.counters.neighbours.set(reachable_);
  }
  neighbour.probes = 0;
  neighbour.confirmed = shard.now;

  // Those that waited, in the order in which they came: the list has the last one in front.
  std::array<rte_mbuf*, kWaitingPerNeighbour> packets;
  std::uint32_t count = 0;
  const auto links = [this](std::uint32_t i) -> state::ListLinks& { return waiting_[i].links; };
  while (!neighbour.waiting.empty()) {
    const std::uint32_t place = neighbour.waiting.first;
    packets[count++] = waiting_[place].packet;
    state::list_remove(neighbour.waiting, place, links);
    waiting_.release(place);
  }
  neighbour.waiting_count = 0;
  while (count != 0) {
    rte_mbuf* packet = packets[--count];
    send(shard, packet, rte_pktmbuf_mtod(packet, wire::Ipv4Header*), id);
  }
}

void Neighbours::drop_waiting(Shard& shard, NeighbourId id) {
  Neighbour& neighbour = table_[id];
  const auto links = [this](std::uint32_t i) -> state::ListLinks& { return waiting_[i].links; };
  while (!neighbour.waiting.empty()) {
    const std::uint32_t place = neighbour.waiting.first;
    shard.drop(waiting_[place].packet, DropReason::kNeighbourUnresolved);
    state::list_remove(neighbour.waiting, place, links);
    waiting_.release(place);
  }
  neighbour.waiting_count = 0;
}

void Neighbours::forget(Shard& shard, NeighbourId id) {
  Neighbour& neighbour = table_[id];
  drop_waiting(shard, id);
  const state::FlowKey key = neighbour_key(neighbour.interface, neighbour.ip);
  index_.erase(key, index_.hash(key));
  if (neighbour.state == NeighbourState::kReachable) {
    --reachable_;
    shard.counters.neighbours.set(reachable_);
  }
  neighbour.state = NeighbourState::kFree;
  table_.release(id);
  // Its index may soon be another neighbour's: sessions must not use it any more.
  ++shard.stamp;
}

std::optional<state::Ticks> Neighbours::due(Shard& shard, NeighbourId id) {
  Neighbour& neighbour = table_[id];
  const state::Ticks now = shard.now;
  const state::Ticks forget_at = neighbour.last_used + kForgetAfter;
  if (!forget_at.later_than(now)) {
    forget(shard, id);
    return std::nullopt;
  }
  if (neighbour.state == NeighbourState::kIncomplete) {
    if (neighbour.probes == 0) return forget_at;
    if (neighbour.probes < kMaxProbes) {
      probe(shard, id);
      return now + kProbeInterval;
    }
    // Given up; the next packet that wants to go there begins anew.
    drop_waiting(shard, id);
    neighbour.probes = 0;
    return forget_at;
  }
  // In use and without a sign of life for long: asked again, while packets go on.
  const state::Ticks confirm_at = neighbour.confirmed + kConfirmAfter;
  if (confirm_at.later_than(now)) return confirm_at;
  if (neighbour.probes == 0 && !(neighbour.last_used + kConfirmAfter).later_than(now))
    return forget_at;  // nobody asks for it
  if (neighbour.probes < kMaxProbes) {
    probe(shard, id);
    return now + kProbeInterval;
  }
  neighbour.state = NeighbourState::kIncomplete;
  neighbour.probes = 0;
  --reachable_;
  shard.counters.neighbours.set(reachable_);
  return forget_at;
}

void Neighbours::arp_received(Shard& shard, std::uint8_t interface, const wire::ArpHeader& arp,
                              Answer answer) {
  const Generation& generation = *shard.generation;
  const Interface& on = generation.interfaces[interface];
  const bool request = arp.operation == wire::Be16::of(wire::kArpRequest);
  const bool reply = arp.operation == wire::Be16::of(wire::kArpReply);
  if (answer == Answer::kYes) {
    if (request) shard.counters.arp_requests_received.add();
    if (reply) shard.counters.arp_replies_received.add();
  }
  if (!request && !reply) return;
  if (!is_station(arp.sender_mac) || is_ours_on(generation, interface, arp.sender_ip)) {
    // Nobody else has our addresses, and no station has a group's hardware address.
    if (answer == Answer::kYes && arp.sender_mac != shard.links[interface].mac)
      shard.counters.drop(DropReason::kArpMalformed);
    return;
  }
  const bool for_us = is_ours_on(generation, interface, arp.target_ip);
  // RFC 826: merge what is known; learn who speaks to us.
  if (on.address.contains(wire::Ipv4Address{arp.sender_ip})) {
    const state::FlowKey key = neighbour_key(interface, arp.sender_ip);
    std::uint32_t id = index_.find(key, index_.hash(key));
    if (id == state::kNone && for_us) {
      const NeighbourId added = find_or_add(shard, interface, arp.sender_ip);
      if (added != kNoNeighbour) id = added;
    }
    if (id != state::kNone) {
      learned(shard, static_cast<NeighbourId>(id), arp.sender_mac);
      const auto wheel = [this](std::uint32_t i) -> state::WheelLinks& { return table_[i].wheel; };
      wheel_.cancel(id, wheel);
      wheel_.schedule(id, shard.now + kConfirmAfter, wheel);
    }
  }
  if (request && for_us && answer == Answer::kYes)
    send_arp(shard, interface, wire::kArpReply, arp.sender_mac, arp.sender_mac, arp.target_ip,
             arp.sender_ip);
}

void Neighbours::announce(Shard& shard, std::uint8_t interface) {
  const Generation& generation = *shard.generation;
  const Interface& on = generation.interfaces[interface];
  // RFC 5227 section 3: a request for our own address, from it.
  const auto announce_one = [&](wire::Ipv4Address address) {
    send_arp(shard, interface, wire::kArpRequest, wire::kBroadcastMac, wire::MacAddress{},
             address.be(), address.be());
  };
  announce_one(on.address.address);
  if (on.side != Side::kOutside) return;
  for (const auto& range : generation.nat_addresses.all()) {
    const wire::Ipv4Address address{range.first};
    // Each shard announces what it owns: the work and the buffers are shared out.
    if (range.value.owner == shard.id && on.address.contains(address)) announce_one(address);
  }
}

void Neighbours::advance(Shard& shard, std::size_t budget) {
  wheel_.advance(
      shard.now, budget,
      [this](std::uint32_t i) -> state::WheelLinks& { return table_[i].wheel; },
      [&](std::uint32_t id) { return due(shard, static_cast<NeighbourId>(id)); });
}

void Neighbours::clear(Shard& shard) {
  for (std::uint32_t id = 0; id < table_.high_water(); ++id)
    if (table_[id].state != NeighbourState::kFree)
      drop_waiting(shard, static_cast<NeighbourId>(id));
}

}  // namespace lsn::datapath
