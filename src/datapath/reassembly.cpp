#include "lsn/datapath/reassembly.hpp"

#include <algorithm>

#include "lsn/datapath/shard.hpp"
#include "lsn/wire/tcp.hpp"

namespace lsn::datapath {
namespace {

constexpr std::uint32_t kWaitingPerSlot = 4;  ///< of all, for each datagram that may wait
constexpr std::uint32_t kUnit = 8;            ///< bytes that an offset counts in (RFC 791)

/// RFC 791 section 2.3: source, destination, protocol and identification name a datagram.
state::FlowKey name_of(const wire::Ipv4Header& ip) {
  return state::FlowKey::make(ip.source.raw(), ip.destination.raw(), ip.identification.raw(),
                              ip.protocol, 1);
}

}  // namespace

Reassembly::Reassembly(std::uint32_t max_datagrams, state::Ticks now,
                       const state::HashSecret& secret, state::ZeroedMemory* memory)
    : datagrams_(max_datagrams, memory),
      index_(max_datagrams, secret, memory),
      waiting_(max_datagrams * kWaitingPerSlot, memory),
      wheel_(max_datagrams, now, memory) {}

std::uint32_t Reassembly::find(const Packet& packet) const {
  const state::FlowKey name = name_of(*packet.ip);
  return index_.find(name, index_.hash(name));
}

Reassembly::Noted Reassembly::note(Datagram& datagram, Piece piece) {
  auto* const begin = datagram.piece.data();
  auto* const end = begin + datagram.pieces;
  auto* after = std::find_if(begin, end, [&](const Piece& p) { return p.begin >= piece.begin; });
  const bool joins_next = after != end && after->begin == piece.end;
  if (after != end && after->begin < piece.end) return Noted::kOverlap;
  bool joins_previous = false;
  if (after != begin) {
    if (after[-1].end > piece.begin) return Noted::kOverlap;
    joins_previous = after[-1].end == piece.begin;
  }
  if (joins_previous && joins_next) {
    after[-1].end = after->end;
    std::move(after + 1, end, after);
    --datagram.pieces;
  } else if (joins_previous) {
    after[-1].end = piece.end;
  } else if (joins_next) {
    after->begin = piece.begin;
  } else {
    if (datagram.pieces == kPieces) return Noted::kTooMany;
    std::move_backward(after, end, end + 1);
    *after = piece;
    ++datagram.pieces;
  }
  return Noted::kYes;
}

bool Reassembly::is_complete(const Datagram& datagram) {
  return datagram.has_end && datagram.pieces == 1 && datagram.piece[0].begin == 0 &&
         datagram.piece[0].end == datagram.end;
}

void Reassembly::keep(Datagram& datagram, std::uint32_t place, rte_mbuf* packet) {
  waiting_[place] = {packet, state::kNone};
  if (datagram.waiting++ == 0) {
    datagram.first_waiting = place;
  } else {
    waiting_[datagram.last_waiting].next = place;
  }
  datagram.last_waiting = place;
}

void Reassembly::drop_waiting(Shard& shard, Datagram& datagram, DropReason reason) {
  for (; datagram.waiting != 0; --datagram.waiting) {
    const std::uint32_t place = datagram.first_waiting;
    datagram.first_waiting = waiting_[place].next;
    shard.drop(waiting_[place].packet, reason);
    waiting_.release(place);
  }
}

void Reassembly::forget(Shard& shard, std::uint32_t id) {
  Datagram& datagram = datagrams_[id];
  wheel_.cancel(id, wheel_links());
  index_.erase(datagram.name, index_.hash(datagram.name));
  datagram.in_use = false;
  datagrams_.release(id);
  shard.counters.fragments_waiting.set(datagrams_.size());
}

Verdict Reassembly::accept(Shard& shard, const Packet& packet, FragmentPorts& ports) {
  const wire::Ipv4Header& ip = *packet.ip;
  const std::uint32_t offset = ip.fragment_offset();
  const bool more = ip.more_fragments();
  // A piece in the middle ends on a unit; none reaches beyond the largest datagram (RFC 791 section
  // 3.1); TCP's header is in the first one, whole (RFC 1858 section 3, RFC 3128).
  const bool tcp = ip.protocol == wire::kProtocolTcp;
  if (packet.l4_size == 0 || (more && packet.l4_size % kUnit != 0) ||
      offset + packet.l4_size + ip.header_size() > 65535 ||
      (tcp && (offset == kUnit || (offset == 0 && packet.l4_size < sizeof(wire::TcpHeader)))))
    return Verdict::drop(DropReason::kFragmentMalformed);

  const state::FlowKey name = name_of(ip);
  const std::uint32_t hash = index_.hash(name);
  std::uint32_t id = index_.find(name, hash);
  if (id == state::kNone) {
    id = datagrams_.allocate();
    if (id == state::kNone) return Verdict::drop(DropReason::kFragmentTableFull);
    if (!index_.insert(name, hash, id)) {
      datagrams_.release(id);
      return Verdict::drop(DropReason::kFragmentTableFull);
    }
    datagrams_[id].name = name;
    datagrams_[id].in_use = true;
    datagrams_[id].over = shard.now + shard.generation->fragment_timeout;
    wheel_.schedule(id, datagrams_[id].over, wheel_links());
    shard.counters.fragments_waiting.set(datagrams_.size());
  }
  Datagram& datagram = datagrams_[id];
  if (datagram.poisoned) return Verdict::drop(DropReason::kFragmentOverlap);

  const bool first = offset == 0;
  std::uint32_t place = state::kNone;
  if (!first && !datagram.known) {
    place = datagram.waiting < kWaitingPerDatagram ? waiting_.allocate() : state::kNone;
    if (place == state::kNone) {
      if (datagram.pieces == 0) forget(shard, id);  // made for this one
      return Verdict::drop(DropReason::kFragmentTooMany);
    }
  }
  const Piece piece{static_cast<std::uint16_t>(offset / kUnit),
                    static_cast<std::uint16_t>((offset + packet.l4_size + kUnit - 1) / kUnit)};
  Noted noted = note(datagram, piece);
  // The end is the end: nothing behind it, and no other end.
  if (!more) {
    if (datagram.has_end && datagram.end != piece.end) noted = Noted::kOverlap;
    datagram.has_end = true;
    datagram.end = piece.end;
  }
  if (noted == Noted::kYes && datagram.has_end &&
      datagram.piece[datagram.pieces - 1].end > datagram.end)
    noted = Noted::kOverlap;
  if (noted != Noted::kYes) {
    if (place != state::kNone) waiting_.release(place);
    if (noted == Noted::kTooMany) return Verdict::drop(DropReason::kFragmentTooMany);
    datagram.poisoned = true;
    drop_waiting(shard, datagram, DropReason::kFragmentOverlap);
    return Verdict::drop(DropReason::kFragmentOverlap);
  }

  if (first) {
    datagram.known = true;
    datagram.ports = ports;
    return Verdict::next();
  }
  if (datagram.known) {
    ports = datagram.ports;
    if (is_complete(datagram)) forget(shard, id);
    return Verdict::next();
  }
  origin_of(packet.mbuf) = {packet.interface,
                            packet.hairpin ? HandoffKind::kHairpin : HandoffKind::kSteer,
                            packet.asked};
  keep(datagram, place, packet.mbuf);
  return Verdict::consumed();
}

rte_mbuf* Reassembly::take_waiting(Shard& shard, const Packet& first) {
  const std::uint32_t id = find(first);
  if (id == state::kNone) return nullptr;
  Datagram& datagram = datagrams_[id];
  if (datagram.waiting == 0) {
    if (is_complete(datagram)) forget(shard, id);
    return nullptr;
  }
  const std::uint32_t place = datagram.first_waiting;
  datagram.first_waiting = waiting_[place].next;
  --datagram.waiting;
  rte_mbuf* packet = waiting_[place].packet;
  waiting_.release(place);
  return packet;
}

void Reassembly::advance(Shard& shard, std::size_t budget) {
  wheel_.advance(shard.now, budget, wheel_links(),
                 [&](std::uint32_t id) -> std::optional<state::Ticks> {
                   Datagram& datagram = datagrams_[id];
                   if (datagram.over.later_than(shard.now)) return datagram.over;
                   drop_waiting(shard, datagram, DropReason::kFragmentTimeout);
                   forget(shard, id);
                   return std::nullopt;
                 });
}

void Reassembly::clear(Shard& shard) {
  for (std::uint32_t id = 0; id < datagrams_.high_water(); ++id) {
    if (!datagrams_[id].in_use) continue;
    drop_waiting(shard, datagrams_[id], DropReason::kFragmentTimeout);
    forget(shard, id);
  }
}

}  // namespace lsn::datapath
