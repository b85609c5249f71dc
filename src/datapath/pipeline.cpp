#include "lsn/datapath/pipeline.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "lsn/datapath/capture_tap.hpp"
#include "lsn/datapath/ipsec_alg/clockwork.hpp"
#include "lsn/datapath/ipsec_alg/inspect.hpp"
#include "lsn/datapath/ipsec_alg/prefetch.hpp"
#include "lsn/datapath/l3/kernel_path.hpp"
#include "lsn/datapath/lsn44/blocks.hpp"
#include "lsn/datapath/lsn44/by_address.hpp"
#include "lsn/datapath/lsn44/follow_routes.hpp"
#include "lsn/datapath/lsn44/fragments.hpp"
#include "lsn/datapath/lsn44/icmp_error.hpp"
#include "lsn/datapath/lsn44/inbound.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/outbound.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/prefetch.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/steer.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/datapath/parse.hpp"

namespace lsn::datapath {

using lsn44::SessionId;

namespace {

/// How far the burst's headers are fetched ahead of the packet that is being read.
constexpr std::size_t kPrefetchAhead = 4;

/// Shows an ARP packet to all other shards: an answer comes to one queue only.
void copy_arp(Context& shard, rte_mbuf* mbuf, InterfaceId interface) {
  for (unsigned other = 0; other < shard.shards; ++other) {
    if (other == shard.id) continue;
    rte_mbuf* copy = rte_pktmbuf_copy(mbuf, shard.buffers, 0, UINT32_MAX);
    if (copy == nullptr) {
      shard.counters.drop(DropReason::kNoBuffer);
      continue;
    }
    shard.handoff(copy, static_cast<ShardId>(other), {interface, HandoffKind::kArp, 0});
  }
}

/// An ARP packet, for the neighbour tables and the kernel's; freed, or the kernel's.
void process_arp(L3& shard, Packet& packet, Neighbours::Answer answer) {
  rte_mbuf* const mbuf = packet.mbuf;
  const InterfaceId interface = packet.interface;
  const wire::ArpHeader* arp = wire::ArpHeader::parse({packet.l4, packet.l4_size});
  if (arp == nullptr) {
    shard.drop(mbuf, DropReason::kArpMalformed);
    return;
  }
  const Verdict verdict = shard.neighbours.arp_received(shard, interface, *arp, answer);
  if (verdict.is_drop()) {
    shard.drop(mbuf, verdict.reason());
    return;
  }
  const bool for_kernel =
      answer == Neighbours::Answer::kYes && concerns_kernel(shard, packet, *arp);
  if (answer == Neighbours::Answer::kYes && (shard.shards > 1 || for_kernel) &&
      shard.neighbours.concerns_all(shard, interface, *arp)) {
    copy_arp(shard, mbuf, interface);
    if (for_kernel) return apply(shard, packet, hear_arp(shard, packet));
  }
  shard.counters.consumed.add();
  rte_pktmbuf_free(mbuf);
}

/// Parses the headers behind a packet's link header, and computes the hash of its flow.
[[gnu::always_inline]] inline Verdict parse(IpsecAlg& shard, Packet& packet, std::uint64_t mark) {
  const Verdict verdict = parse_ip(packet, mark, shard.alg.watched_sequence);
  if (!verdict.is_next()) [[unlikely]]
    return verdict;
  // A fragment's flow is not known yet; an ICMP error's hash is not asked for.
  if (packet.kind != PacketKind::kFragment) [[likely]]
    packet.hash = shard.lsn44.outbound.hash(packet.key);
  return verdict;
}

/// A packet that parse() refuses. ICMP that is not translated, a redirect or a router solicitation,
/// is the kernel's if it is for its address.
[[gnu::cold]] void refuse(IpsecAlg& shard, Packet& packet, Verdict verdict) {
  const bool is_whole = verdict == Verdict::drop(DropReason::kIcmpTypeUntranslated);
  apply(shard, packet,
        is_whole && is_for_kernel(shard, packet) ? lsn44::deliver_checked(shard, packet) : verdict);
}

/// The slow path of one packet: by its side and kind.
Verdict dispatch(IpsecAlg& shard, Packet& packet) {
  const bool inside = packet.side == Side::kInside;
  switch (packet.kind) {
    case PacketKind::kFlow:
      return inside ? lsn44::outbound(shard, packet) : lsn44::inbound(shard, packet);
    case PacketKind::kIcmpError:
      return inside ? lsn44::icmp_error_outbound(shard, packet)
                    : lsn44::icmp_error_inbound(shard, packet);
    case PacketKind::kFragment:
      return lsn44::fragment(shard, packet);
    case PacketKind::kOther: {
      const Verdict verdict = lsn44::other_protocol(shard, packet);
      if (verdict == Verdict::drop(DropReason::kProtocolAh)) ipsec_alg::on_ah(shard, packet);
      return verdict;
    }
    case PacketKind::kArp:
    case PacketKind::kHeard:
    case PacketKind::kNone:
      break;
  }
  return Verdict::drop(DropReason::kProtocolOther);
}

/// The packets of one burst that may have a session, in one direction.
struct Lane {
  std::array<std::uint8_t, kBurst> packet;  ///< index into the burst
  std::array<state::FlowKey, kBurst> keys;
  std::array<std::uint32_t, kBurst> hashes;
  unsigned count = 0;

  void add(unsigned index, const Packet& p) {
    packet[count] = static_cast<std::uint8_t>(index);
    keys[count] = p.key;
    hashes[count] = p.hash;
    ++count;
  }
};

/// Whether packets that are another shard's by their class are handed off before they are looked
/// up.
enum class SteerFirst : bool { kNo, kYes };

struct Burst {
  std::array<Packet, kBurst> packets;
  Lane outbound, inbound;
  std::array<std::uint8_t, kBurst> slow;
  unsigned slow_count = 0;
};

/// A packet that has been parsed: into its lane, or to the slow path. Inlined, so that its key goes
/// on in registers: a load of a key that was stored a moment ago in two halves waits for them.
[[gnu::always_inline]] inline void sort_in(Burst& burst, unsigned index) {
  const Packet& packet = burst.packets[index];
  // TTL 1 ends here, unless the packet is for the NAT itself: the slow path decides. A hairpinned
  // packet has paid for its hop already.
  if (packet.kind != PacketKind::kFlow || (packet.ip->ttl <= 1 && !packet.hairpin)) [[unlikely]] {
    burst.slow[burst.slow_count++] = static_cast<std::uint8_t>(index);
    return;
  }
  if (packet.side == Side::kInside) {
    burst.outbound.add(index, packet);
  } else {
    burst.inbound.add(index, packet);
  }
}

/// By class, a packet of a flow is another shard's: whether it is so by all that may say otherwise,
/// a group's own shares, displaced subscribers, and so on, lsn44::steer() decides.
[[nodiscard]] bool seems_misplaced(const Context& shard, const Packet& packet) {
  const Generation& generation = *shard.generation;
  const AddressClasses& classes = generation.maps.front()->classes();
  const bool inside = packet.side == Side::kInside;
  const wire::Ipv4Address address{inside ? packet.ip->source : packet.ip->destination};
  return generation.owner_of_class(inside ? HashedAddress::kSource : HashedAddress::kDestination,
                                   classes.of(address)) != shard.id;
}

/// Takes a misplaced packet of a flow off the burst: looking it up here would fetch lines of tables
/// that do not have it.
[[nodiscard]] bool hand_off_first(Lsn44& shard, Packet& packet) {
  if (packet.kind != PacketKind::kFlow || !seems_misplaced(shard, packet)) return false;
  const Verdict verdict = lsn44::steer(shard, packet);
  if (verdict.is_next()) return false;
  apply(shard, packet, verdict);
  return true;
}

/// All in a row, not each as soon as its packet is read: a fetch whose address is not in the TLB
/// keeps the instructions behind it from retiring, so only those close to one another overlap (a
/// million sessions cost 100 clocks per packet instead of 150 to 230, 64 k 72 instead of 80).
void fetch_buckets(const state::FlowTable& table, const Lane& lane) {
  for (unsigned i = 0; i < lane.count; ++i) table.prefetch(lane.hashes[i]);
}

/// Looks up a lane's sessions together and forwards those that have one; the others are slow.
template <Direction direction>
void run_lane(Lsn44& shard, Burst& burst, const Lane& lane) {
  if (lane.count == 0) return;
  lsn44::Tables& tables = shard.lsn44;
  const state::FlowTable& table =
      direction == Direction::kOutbound ? tables.outbound : tables.inbound;
  std::array<SessionId, kBurst> sessions;
  const std::uint32_t ended = tables.ended;
  table.find_bulk(lane.keys.data(), lane.hashes.data(), lane.count, sessions.data());
  for (unsigned i = 0; i < lane.count; ++i)
    if (sessions[i] != state::kNone) [[likely]]
      tables.sessions.prefetch(sessions[i]);
  for (unsigned i = 0; i < lane.count; ++i) {
    Packet& packet = burst.packets[lane.packet[i]];
    // A packet in front of it may have ended a session (a reload's lazy check) and another may have
    // got its index: the result is then void, the slow path looks up again.
    if (sessions[i] == state::kNone || tables.ended != ended) [[unlikely]] {
      burst.slow[burst.slow_count++] = lane.packet[i];
      continue;
    }
    const Verdict verdict = lsn44::forward<direction>(shard, packet, sessions[i]);
    if (!verdict.is_next()) [[unlikely]]
      apply(shard, packet, verdict);
  }
}

/// Slow ones of another shard are handed off at once; the others are left.
void steer(Lsn44& shard, Burst& burst) {
  if (shard.shards == 1) return;
  unsigned left = 0;
  for (unsigned i = 0; i < burst.slow_count; ++i) {
    Packet& packet = burst.packets[burst.slow[i]];
    const Verdict verdict =
        packet.kind == PacketKind::kFlow ? lsn44::steer(shard, packet) : Verdict::next();
    if (verdict.is_next())
      burst.slow[left++] = burst.slow[i];
    else
      apply(shard, packet, verdict);
  }
  burst.slow_count = left;
}

/// Prefetches the lines that the slow ones will touch, of as many as are going to be served.
void prefetch(IpsecAlg& shard, const Burst& burst) {
  const unsigned count = shard.overload.admissible(burst.slow_count);
  if (count < 2) return;
  std::array<const Packet*, kBurst> slow;
  for (unsigned i = 0; i < count; ++i) slow[i] = &burst.packets[burst.slow[i]];
  lsn44::prefetch(shard, {slow.data(), count});
  ipsec_alg::prefetch(shard, {slow.data(), count});
}

/// The slow ones of an overloaded worker: those that overload control has admitted are charged the
/// time that they take.
void run_slow_by_the_clock(IpsecAlg& shard, Burst& burst) {
  Overload& overload = shard.overload;
  const std::uint32_t first = overload.admitted();
  std::uint64_t last = shard.clocks(), took = 0;
  const auto lap = [&] {
    const std::uint64_t before = std::exchange(last, shard.clocks());
    return last - before;
  };
  prefetch(shard, burst);
  took += lap();
  for (unsigned i = 0; i < burst.slow_count; ++i) {
    Packet& packet = burst.packets[burst.slow[i]];
    const std::uint32_t admitted = overload.admitted();
    apply(shard, packet, dispatch(shard, packet));
    const std::uint64_t clocks = lap();
    if (overload.admitted() != admitted) took += clocks;
  }
  overload.took(overload.admitted() - first, took);
}

void run(IpsecAlg& shard, Burst& burst) {
  const unsigned slow_before = burst.slow_count;
  fetch_buckets(shard.lsn44.outbound, burst.outbound);
  fetch_buckets(shard.lsn44.inbound, burst.inbound);
  run_lane<Direction::kOutbound>(shard, burst, burst.outbound);
  run_lane<Direction::kInbound>(shard, burst, burst.inbound);
  shard.overload.forwarded(burst.outbound.count + burst.inbound.count -
                           (burst.slow_count - slow_before));
  steer(shard, burst);
  if (shard.overload.is_on() && shard.clocks != nullptr) [[unlikely]] {
    run_slow_by_the_clock(shard, burst);
    return;
  }
  prefetch(shard, burst);
  for (unsigned i = 0; i < burst.slow_count; ++i) {
    Packet& packet = burst.packets[burst.slow[i]];
    apply(shard, packet, dispatch(shard, packet));
  }
}

void add_totals(Context& shard) {
  BurstTotals& totals = shard.totals;
  for (std::size_t p = 0; p < kProtocols; ++p) {
    for (std::size_t d = 0; d < kDirections; ++d) {
      BurstTotals::Sum& sum = totals.translated[p][d];
      if (sum.packets == 0) continue;
      shard.counters.protocols[p].translated[d].add(sum.packets, sum.bytes);
      sum = {};
    }
  }
  for (; totals.received_on_count != 0; --totals.received_on_count) {
    const InterfaceId i = totals.received_on[totals.received_on_count - 1];
    shard.counters.interfaces[i].rx.add(totals.received[i].packets, totals.received[i].bytes);
    totals.received[i] = {};
  }
}

/// A packet that another shard has handed off. Its link header was checked there.
Verdict parse_handoff(const Context& shard, rte_mbuf* mbuf, Packet& packet, std::uint64_t& mark) {
  const PacketOrigin origin = origin_of(mbuf);
  packet.mbuf = mbuf;
  packet.interface = origin.interface;
  packet.handoffs = origin.handoffs;
  wire::Ipv4Header* const network = ip_of_frame(mbuf);
  if (origin.kind == HandoffKind::kArp) {
    packet.kind = PacketKind::kArp;
    packet.l4 = reinterpret_cast<std::uint8_t*>(network);
    packet.l4_size = static_cast<std::uint32_t>(rte_pktmbuf_mtod(mbuf, std::uint8_t*) +
                                                mbuf->data_len - packet.l4);
    return Verdict::consumed();
  }
  packet.ip = network;
  packet.hairpin = origin.kind == HandoffKind::kHairpin;
  packet.side = packet.hairpin ? Side::kOutside : shard.links[origin.interface].side;
  mark = packet.hairpin ? 0 : shard.links[origin.interface].mark;
  return Verdict::next();
}

template <class ParseLink>
void process(IpsecAlg& shard, std::span<rte_mbuf* const> mbufs, Neighbours::Answer answer,
             SteerFirst steer_first, ParseLink&& parse_link) {
  Burst burst;
  for (std::size_t i = 0; i < std::min(kPrefetchAhead, mbufs.size()); ++i)
    rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void*));
  for (unsigned i = 0; i < mbufs.size(); ++i) {
    if (i + kPrefetchAhead < mbufs.size())
      rte_prefetch0(rte_pktmbuf_mtod(mbufs[i + kPrefetchAhead], void*));
    Packet& packet = burst.packets[i];
    std::uint64_t mark = 0;
    Verdict verdict = parse_link(mbufs[i], packet, mark);
    if (verdict.is_next()) [[likely]]
      verdict = parse(shard, packet, mark);
    if (verdict.is_next()) [[likely]] {
      if (steer_first == SteerFirst::kYes && hand_off_first(shard, packet)) continue;
      sort_in(burst, i);
    } else if (packet.kind == PacketKind::kArp) {
      process_arp(shard, packet, answer);
    } else if (packet.kind == PacketKind::kHeard) {
      apply(shard, packet, hear(shard, packet));
    } else {
      refuse(shard, packet, verdict);
    }
  }
  run(shard, burst);
  ipsec_alg::after_burst(shard);
  add_totals(shard);
}

/// Sessions that a walk after changed routes comes to at each poll: of a worker that polls full
/// bursts it takes less than a twentieth of the time.
constexpr std::size_t kSessionsToFollow = 4;

/// Does the work that is due by now, as far as the budget goes. Whether that was all.
bool keep_up(IpsecAlg& shard, std::size_t budget) {
  lsn44::expire_sessions(shard, budget);
  lsn44::expire_mappings(shard, budget);
  lsn44::expire_blocks(shard, budget);
  ipsec_alg::housekeep(shard, budget);
  const bool ports_are_free = lsn44::free_waiting_ports(shard, budget);
  shard.reassembly.advance(shard, budget);
  shard.neighbours.advance(shard, budget);
  const state::Ticks now = shard.now;
  const std::uint32_t lag =
      std::max({shard.lsn44.session_wheel.lag(now), shard.lsn44.mapping_wheel.lag(now),
                shard.lsn44.block_wheel.lag(now), shard.alg.gate_wheel.lag(now),
                shard.alg.ike_wheel.lag(now), shard.alg.waiter_wheel.lag(now),
                shard.reassembly.lag(now), shard.neighbours.lag(now)});
  shard.counters.timer_lag.set(lag);
  return lag == 0 && ports_are_free;
}

}  // namespace

void process_received(IpsecAlg& shard, std::uint16_t device, std::span<rte_mbuf* const> packets) {
  if (shard.capture != nullptr) [[unlikely]]
    shard.capture->received(shard, device, packets);
  const auto link = [&](rte_mbuf* mbuf, Packet& packet, std::uint64_t& mark) {
    return parse_frame(shard, device, mbuf, packet, mark);
  };
  // Where the device brings them home, to ask would only cost.
  constexpr std::uint64_t kMany = 8;
  const std::uint64_t misplaced = shard.misplaced;
  process(shard, packets, Neighbours::Answer::kYes,
          shard.brings_others[device] ? SteerFirst::kYes : SteerFirst::kNo, link);
  shard.brings_others[device] = (shard.misplaced - misplaced) * kMany >= packets.size();
}

void process_handoff(IpsecAlg& shard, std::span<rte_mbuf* const> packets) {
  shard.counters.handoff_received.add(packets.size());
  if (shard.capture != nullptr) [[unlikely]]
    shard.capture->taken_over(packets);
  // Another core wrote them last: their lines come from its cache, all at a time. The data begin
  // where a buffer's room does, nearly always; to look would be to wait.
  for (rte_mbuf* mbuf : packets) {
    rte_prefetch0(mbuf);
    rte_prefetch0(reinterpret_cast<std::uint8_t*>(mbuf) + sizeof(rte_mbuf) + kBufferPrivateSize +
                  RTE_PKTMBUF_HEADROOM);
  }
  process(shard, packets, Neighbours::Answer::kNo, SteerFirst::kNo,
          [&](rte_mbuf* mbuf, Packet& packet, std::uint64_t& mark) {
            return parse_handoff(shard, mbuf, packet, mark);
          });
}

void housekeep(Shard& shard, std::size_t budget) {
  // Nothing more becomes due until the next tick: this is all that most polls do.
  if (shard.kept_up_to != shard.now) {
    if (keep_up(shard, budget)) shard.kept_up_to = shard.now;
  } else if (shard.neighbours.has_more(shard)) {
    shard.neighbours.advance(shard, budget);
  }
  if (lsn44::has_routes_to_follow(shard)) [[unlikely]]
    lsn44::follow_routes(shard, kSessionsToFollow);
  ipsec_alg::after_burst(shard);
}

}  // namespace lsn::datapath
