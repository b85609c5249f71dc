#include "lsn/datapath/l3/neighbours.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "lsn/datapath/context.hpp"
#include "lsn/datapath/l3/l3.hpp"
#include "lsn/datapath/l3/output.hpp"

namespace lsn::datapath {
namespace {

state::FlowKey neighbour_key(InterfaceId interface, wire::Be32 ip) {
  return state::FlowKey::make(ip.raw(), interface, 0, 0, 1);
}

/// An address that some other station of the interface's network may have.
bool is_neighbours(const Interface& on, wire::Ipv4Address address) {
  return on.address.contains(address) && !is_link_broadcast(on.address, address);
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

void send_arp(Context& shard, InterfaceId interface, std::uint16_t operation,
              const wire::MacAddress& to, const wire::MacAddress& target_mac, wire::Be32 sender_ip,
              wire::Be32 target_ip) {
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
  const wire::ArpHeader arp{wire::Be16::of(1),
                            wire::Be16::of(wire::kEtherTypeIpv4),
                            6,
                            4,
                            wire::Be16::of(operation),
                            own,
                            sender_ip,
                            target_mac,
                            target_ip};
  std::memcpy(bytes + link, &arp, sizeof arp);
  (operation == wire::kArpRequest ? shard.counters.arp_requests_sent
                                  : shard.counters.arp_replies_sent)
      .add();
  transmit(shard, on.device, mbuf);
}

}  // namespace

bool is_gateway(const Generation& generation, const Neighbour& neighbour) {
  return std::binary_search(generation.gateways.begin(), generation.gateways.end(),
                            Route{neighbour.interface, wire::Ipv4Address{neighbour.ip}},
                            by_interface_and_address);
}

bool is_ours_on(const Generation& generation, InterfaceId interface, wire::Be32 address) {
  const Interface& on = generation.interfaces[interface];
  const wire::Ipv4Address wanted{address};
  if (on.address.address == wanted) return true;
  return on.side == Side::kOutside && on.address.contains(wanted) &&
         generation.nat_addresses.find(wanted) != nullptr;
}

Neighbours::Neighbours(state::Ticks now, const state::HashSecret& secret,
                       state::ZeroedMemory* memory)
    : table_(kCapacity, memory),
      index_(kCapacity, secret, memory),
      waiting_(kWaitingRoom, memory),
      wheel_(kCapacity, now, memory) {}

NeighbourId Neighbours::find(InterfaceId interface, wire::Be32 ip) const {
  const state::FlowKey key = neighbour_key(interface, ip);
  const std::uint32_t known = index_.find(key, index_.hash(key));
  return known == state::kNone ? kNoNeighbour : static_cast<NeighbourId>(known);
}

Neighbour Neighbours::station(const Context& shard, InterfaceId interface,
                              const wire::MacAddress& mac) const {
  const Interface& on = shard.generation->interfaces[interface];
  Neighbour station{};
  station.link_header_size = make_link_header(
      station.link_header.data(), mac, shard.links[interface].mac, on.vlan, wire::kEtherTypeIpv4);
  station.state = NeighbourState::kReachable;
  station.device = on.device;
  station.mtu = on.mtu;
  station.interface = interface;
  return station;
}

NeighbourId Neighbours::find_or_add(Context& shard, InterfaceId interface, wire::Be32 ip) {
  Found& found = found_[ip.raw() * 0x9E3779B1u >> (32 - kFoundBits)];
  if (found.ip != ip || found.interface != interface || found.id == kNoNeighbour)
    found = {find_or_make(shard, interface, ip), interface, ip};
  return found.id;
}

NeighbourId Neighbours::want(Context& shard, InterfaceId interface, wire::Be32 ip) {
  const NeighbourId id = find_or_add(shard, interface, ip);
  if (id == kNoNeighbour) return id;
  Neighbour& neighbour = table_[id];
  recall(id);
  const bool is_new = !neighbour.is_next_hop;
  neighbour.is_next_hop = true;
  neighbour.last_used = shard.now;
  if (neighbour.state == NeighbourState::kReachable || neighbour.probes != 0) return id;
  if (is_new || !(neighbour.asked + kRetryGatewayAfter).later_than(shard.now)) {
    probe(shard, id);
    rearm(id, shard.now + kProbeInterval);
  }
  return id;
}

NeighbourId Neighbours::find_or_make(Context& shard, InterfaceId interface, wire::Be32 ip) {
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
  wheel_.schedule(index, shard.now + kForgetUnresolvedAfter, wheel_links());
  return static_cast<NeighbourId>(index);
}

void Neighbours::probe(Context& shard, NeighbourId id) {
  Neighbour& neighbour = table_[id];
  ++neighbour.probes;
  neighbour.asked = shard.now;
  const Interface& on = shard.generation->interfaces[neighbour.interface];
  // A neighbour that answered before is asked directly (RFC 1122 section 2.3.2.1), but the last
  // time.
  wire::MacAddress to = wire::kBroadcastMac;
  if (neighbour.state == NeighbourState::kReachable && neighbour.probes < kMaxProbes)
    std::memcpy(to.data(), neighbour.link_header.data(), to.size());
  send_arp(shard, neighbour.interface, wire::kArpRequest, to, wire::MacAddress{},
           on.address.address.be(), neighbour.ip);
}

void Neighbours::rearm(NeighbourId id, state::Ticks deadline) {
  wheel_.cancel(id, wheel_links());
  wheel_.schedule(id, deadline, wheel_links());
}

namespace {

/// Whether a packet that was translated before a reload may go on after it: the NAT address may be
/// another subscriber's by now, the client may be none any more.
bool may_still_leave(const Generation& generation, const Interface& by,
                     const wire::Ipv4Header& ip) {
  if (generation.is_own_address(in_domain(by.td, ip.source))) return true;
  if (by.side == Side::kOutside)
    return generation.nat_addresses.find(wire::Ipv4Address{ip.source}) != nullptr;
  return generation.maps.front()->group_of(in_domain(by.td, ip.destination)) != nullptr;
}

}  // namespace

void Neighbours::wait(Context& shard, NeighbourId id, rte_mbuf* packet) {
  Neighbour& neighbour = table_[id];
  neighbour.last_used = shard.now;
  recall(id);
  // Asked for even if the packet cannot wait: the next one may find the way.
  if (neighbour.probes == 0) {
    probe(shard, id);
    rearm(id, shard.now + kProbeInterval);
  }
  const std::uint32_t place =
      neighbour.waiting_count < kWaitingPerNeighbour ? waiting_.allocate() : state::kNone;
  if (place == state::kNone) {
    shard.drop(packet, DropReason::kNeighbourQueueFull);
    return;
  }
  waiting_[place].packet = packet;
  waiting_[place].adopted = shard.adopted;
  state::list_push(neighbour.waiting, place, waiting_links());
  ++neighbour.waiting_count;
}

void Neighbours::learned(L3& shard, NeighbourId id, const wire::MacAddress& mac) {
  Neighbour& neighbour = table_[id];
  recall(id);
  const Interface& on = shard.generation->interfaces[neighbour.interface];
  neighbour.link_header_size =
      make_link_header(neighbour.link_header.data(), mac, shard.links[neighbour.interface].mac,
                       on.vlan, wire::kEtherTypeIpv4);
  if (neighbour.state != NeighbourState::kReachable) {
    neighbour.state = NeighbourState::kReachable;
    ++reachable_;
    if (neighbour.is_next_hop) ++next_hop_changes_;
    shard.counters.neighbours.set(reachable_);
  }
  neighbour.probes = 0;
  neighbour.confirmed = shard.now;
  rearm(id, shard.now + kConfirmAfter);

  // Those that waited, in the order in which they came: the list has the last one in front.
  std::array<WaitingPacket, kWaitingPerNeighbour> packets;
  std::uint32_t count = 0;
  while (!neighbour.waiting.empty()) {
    const std::uint32_t place = neighbour.waiting.first;
    packets[count++] = waiting_[place];
    state::list_remove(neighbour.waiting, place, waiting_links());
    waiting_.release(place);
  }
  neighbour.waiting_count = 0;
  while (count != 0) {
    const auto& [packet, adopted, links] = packets[--count];
    auto* const ip = rte_pktmbuf_mtod(packet, wire::Ipv4Header*);
    if (adopted != shard.adopted && !may_still_leave(*shard.generation, on, *ip)) {
      shard.drop(packet,
                 on.side == Side::kOutside ? DropReason::kNoSession : DropReason::kNoMapping);
      continue;
    }
    send(shard, packet, ip, id);
  }
}

void Neighbours::drop_waiting(Context& shard, NeighbourId id) {
  Neighbour& neighbour = table_[id];
  while (!neighbour.waiting.empty()) {
    const std::uint32_t place = neighbour.waiting.first;
    shard.drop(waiting_[place].packet, DropReason::kNeighbourUnresolved);
    state::list_remove(neighbour.waiting, place, waiting_links());
    waiting_.release(place);
  }
  neighbour.waiting_count = 0;
}

/// Not reachable any more.
void Neighbours::lose(Context& shard, Neighbour& neighbour) {
  neighbour.state = NeighbourState::kIncomplete;
  neighbour.probes = 0;
  --reachable_;
  if (neighbour.is_next_hop) ++next_hop_changes_;
  shard.counters.neighbours.set(reachable_);
}

void Neighbours::forget(Context& shard, NeighbourId id) {
  Neighbour& neighbour = table_[id];
  if (neighbour.state == NeighbourState::kReachable) lose(shard, neighbour);
  drop_waiting(shard, id);
  neighbour.probes = 0;
  neighbour.is_next_hop = false;
  neighbour.state = NeighbourState::kForgotten;
  state::list_push(forgotten_, id, forgotten_links());
  ++forgotten_count_;
}

/// A packet or a session uses it again.
void Neighbours::recall(NeighbourId id) {
  if (table_[id].state != NeighbourState::kForgotten) return;
  state::list_remove(forgotten_, id, forgotten_links());
  --forgotten_count_;
  table_[id].state = NeighbourState::kIncomplete;
}

void Neighbours::free_forgotten(Context& shard, std::size_t budget) {
  // Together, so that sessions have to look up their next hops but once.
  if (table_.size() > kFreeBeyond) freeing_ = true;
  if (!freeing_) return;
  if (!forgotten_.empty()) {
    ++shard.epoch;
    found_ = {};
  }
  for (; !forgotten_.empty() && budget != 0; --budget) {
    const std::uint32_t id = forgotten_.first;
    recall(static_cast<NeighbourId>(id));
    const state::FlowKey key = neighbour_key(table_[id].interface, table_[id].ip);
    index_.erase(key, index_.hash(key));
    table_[id].state = NeighbourState::kFree;
    table_.release(id);
  }
  freeing_ = !forgotten_.empty();
}

std::optional<state::Ticks> Neighbours::due(L3& shard, NeighbourId id) {
  Neighbour& neighbour = table_[id];
  const state::Ticks now = shard.now;
  const bool reachable = neighbour.state == NeighbourState::kReachable;
  const state::Ticks forget_at =
      neighbour.last_used + (reachable ? kForgetAfter : kForgetUnresolvedAfter);
  const bool stays = is_gateway(*shard.generation, neighbour);
  if (!stays && !forget_at.later_than(now)) {
    forget(shard, id);
    return std::nullopt;
  }
  const bool gateway = stays || neighbour.is_next_hop;
  if (neighbour.probes != 0) {
    const state::Ticks answer_by = neighbour.asked + kProbeInterval;
    if (answer_by.later_than(now)) return answer_by;
    if (neighbour.probes < kMaxProbes) {
      probe(shard, id);
      return now + kProbeInterval;
    }
    // Given up; the next packet that wants to go there begins again.
    if (reachable) lose(shard, neighbour);
    drop_waiting(shard, id);
    neighbour.probes = 0;
    return gateway ? now + kRetryGatewayAfter : neighbour.last_used + kForgetUnresolvedAfter;
  }
  if (!reachable) {
    if (!gateway) return forget_at;
    probe(shard, id);
    return now + kProbeInterval;
  }
  const state::Ticks confirm_at = neighbour.confirmed + kConfirmAfter;
  if (confirm_at.later_than(now)) return confirm_at;
  // In use, or to be had at any time, and without a sign of life for long: asked again, while
  // packets go on.
  if (gateway || (neighbour.last_used + kConfirmAfter).later_than(now)) {
    probe(shard, id);
    return now + kProbeInterval;
  }
  // Not in use; it may be when it is looked at again.
  return earlier_of(now + kConfirmAfter, forget_at);
}

Verdict Neighbours::arp_received(L3& shard, InterfaceId interface, const wire::ArpHeader& arp,
                                 Answer answer) {
  const Generation& generation = *shard.generation;
  const Interface& on = generation.interfaces[interface];
  const bool request = arp.operation == wire::Be16::of(wire::kArpRequest);
  if (!request && arp.operation != wire::Be16::of(wire::kArpReply))
    return Verdict::drop(DropReason::kArpMalformed);
  if (answer == Answer::kYes)
    (request ? shard.counters.arp_requests_received : shard.counters.arp_replies_received).add();

  const bool our_address = is_ours_on(generation, interface, arp.sender_ip);
  if (arp.sender_mac == shard.links[interface].mac)  // the NAT's own announcement, sent back?
    return our_address ? Verdict::consumed() : Verdict::drop(DropReason::kArpMalformed);
  if (!is_station(arp.sender_mac) || our_address) return Verdict::drop(DropReason::kArpMalformed);
  const bool for_us = is_ours_on(generation, interface, arp.target_ip);
  // RFC 826: a known sender is merged; one that speaks to the NAT is learned. A sender without an
  // address (RFC 5227 section 1.1: it asks whether one is free) or of another network is neither.
  if (is_neighbours(on, wire::Ipv4Address{arp.sender_ip})) {
    const state::FlowKey key = neighbour_key(interface, arp.sender_ip);
    std::uint32_t id = index_.find(key, index_.hash(key));
    if (id == state::kNone && for_us && table_.size() - forgotten_count_ < kUnaskedLimit) {
      const NeighbourId added = find_or_add(shard, interface, arp.sender_ip);
      if (added != kNoNeighbour) id = added;
    }
    if (id != state::kNone) learned(shard, static_cast<NeighbourId>(id), arp.sender_mac);
  }
  if (request && for_us && answer == Answer::kYes)
    send_arp(shard, interface, wire::kArpReply, arp.sender_mac, arp.sender_mac, arp.target_ip,
             arp.sender_ip);
  return Verdict::consumed();
}

bool Neighbours::concerns_all(Context& shard, InterfaceId interface, const wire::ArpHeader& arp) {
  const Generation& generation = *shard.generation;
  if (!is_neighbours(generation.interfaces[interface], wire::Ipv4Address{arp.sender_ip}) ||
      (arp.target_ip != arp.sender_ip && !is_ours_on(generation, interface, arp.target_ip)))
    return false;
  Copies& copies = copies_[index_.hash(neighbour_key(interface, arp.sender_ip)) % kCopyGroups];
  constexpr state::TickDuration kSecond = std::chrono::seconds{1};
  const std::int32_t age = shard.now - copies.since;
  if (age < 0 || age >= static_cast<std::int32_t>(kSecond.count())) copies = {shard.now, 0, 0};
  const bool reply = arp.operation == wire::Be16::of(wire::kArpReply);
  std::uint16_t& count = reply ? copies.replies : copies.requests;
  if (count == (reply ? kRepliesPerSecond : kCopiesPerSecond)) {
    shard.counters.arp_not_copied.add();
    return false;
  }
  ++count;
  return true;
}

void Neighbours::ask_for_gateways(Context& shard, std::size_t budget) {
  const std::vector<Route>& gateways = shard.generation->gateways;
  for (; next_gateway_ < gateways.size() && budget != 0; ++next_gateway_, --budget) {
    const Route& gateway = gateways[next_gateway_];
    const NeighbourId id = find_or_add(shard, gateway.interface, gateway.via.be());
    if (id == kNoNeighbour) continue;
    recall(id);
    table_[id].probes = 0;
    probe(shard, id);
    rearm(id, shard.now + kProbeInterval);
  }
}

namespace {

/// RFC 5227 section 3: a request for an address of the NAT's own, from it, to all.
void send_announcement(Context& shard, InterfaceId interface, wire::Ipv4Address address) {
  send_arp(shard, interface, wire::kArpRequest, wire::kBroadcastMac, wire::MacAddress{},
           address.be(), address.be());
}

}  // namespace

void Neighbours::announce(Context& shard, InterfaceId interface) {
  const Interface& on = shard.generation->interfaces[interface];
  send_announcement(shard, interface, on.address.address);
  if (on.side != Side::kOutside) return;
  // An interface that is in the middle of it begins again: twice is no harm.
  std::uint64_t& word = announcing_[interface / 64];
  const std::uint64_t bit = std::uint64_t{1} << interface % 64;
  if ((word & bit) == 0) ++announcing_count_;
  word |= bit;
  announce_next_ = 0;
  announce_more(shard, kAnnouncedAtOnce);
}

void Neighbours::announce_more(Context& shard, std::size_t budget) {
  const Generation& generation = *shard.generation;
  const auto& all = generation.nat_addresses.all();
  for (; announcing_count_ != 0 && budget != 0; --budget) {
    const auto word = static_cast<std::size_t>(
        std::find_if(announcing_.begin(), announcing_.end(), [](auto w) { return w != 0; }) -
        announcing_.begin());
    const auto interface =
        static_cast<InterfaceId>(word * 64 + std::countr_zero(announcing_[word]));
    const wire::Ipv4Prefix& network = generation.interfaces[interface].address;
    // By address, not by place: another generation may have come since.
    const std::uint32_t from = std::max(announce_next_, network.first().value);
    const auto next = std::lower_bound(
        all.begin(), all.end(), from,
        [](const auto& range, std::uint32_t address) { return range.first < address; });
    if (next == all.end() || next->first > network.last().value) {
      announcing_[word] &= announcing_[word] - 1;
      --announcing_count_;
      announce_next_ = 0;
      continue;
    }
    send_announcement(shard, interface, wire::Ipv4Address{next->first});
    announce_next_ = next->first + 1;
  }
}

void Neighbours::advance(L3& shard, std::size_t budget) {
  wheel_.advance(shard.now, budget, wheel_links(),
                 [&](std::uint32_t id) { return due(shard, static_cast<NeighbourId>(id)); });
  free_forgotten(shard, budget);
  if (announcing_count_ != 0) announce_more(shard, std::min(budget, kAnnouncedAtOnce));
  if (next_gateway_ < shard.generation->gateways.size())
    ask_for_gateways(shard, std::min(budget, kAnnouncedAtOnce));
}

bool Neighbours::has_more(const Context& shard) const {
  return announcing_count_ != 0 || next_gateway_ < shard.generation->gateways.size() || freeing_ ||
         table_.size() > kFreeBeyond;
}

void Neighbours::clear(Context& shard) {
  for (std::uint32_t id = 0; id < table_.high_water(); ++id)
    if (table_[id].state != NeighbourState::kFree)
      drop_waiting(shard, static_cast<NeighbourId>(id));
}

void list_neighbours(L3& shard, NeighbourPage& page, std::size_t budget) {
  Neighbours& neighbours = shard.neighbours;
  page.finished = walk_page(page, neighbours.high_water(), budget, [&](std::uint32_t slot) {
    const auto id = static_cast<NeighbourId>(slot);
    const Neighbour& neighbour = neighbours[id];
    if (neighbour.state == NeighbourState::kFree || neighbour.state == NeighbourState::kForgotten)
      return;
    NeighbourRow row;
    row.interface = neighbour.interface;
    row.ip = wire::Ipv4Address{neighbour.ip};
    row.reachable = neighbour.state == NeighbourState::kReachable;
    if (row.reachable) std::copy_n(neighbour.link_header.begin(), row.mac.size(), row.mac.begin());
    row.gateway = is_gateway(*shard.generation, neighbour);
    row.waiting = neighbour.waiting_count;
    row.used_seconds = seconds_since(shard.now, neighbour.last_used);
    row.confirmed_seconds = seconds_since(shard.now, neighbour.confirmed);
    page.rows.push_back(row);
  });
}

}  // namespace lsn::datapath
