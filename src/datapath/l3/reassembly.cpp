#include "lsn/datapath/l3/reassembly.hpp"

#include <algorithm>

#include "lsn/datapath/context.hpp"
#include "lsn/datapath/parse.hpp"
#include "lsn/wire/tcp.hpp"

namespace lsn::datapath {
namespace {

constexpr std::uint32_t kWaitingPerSlot = 4;  ///< of all, for each datagram that may wait
constexpr std::uint32_t kUnit = 8;            ///< bytes that an offset counts in (RFC 791)

/// RFC 791 section 2.3: source, destination, protocol and identification name a datagram, in its
/// traffic domain. The protocol is one of those that are translated.
constexpr unsigned kDomainBits = 12;
static_assert(kLastDomain < 1U << kDomainBits && kProtocols <= 16);
state::FlowKey name_of(const Context& shard, const Packet& packet) {
  const wire::Ipv4Header& ip = *packet.ip;
  const auto protocol = static_cast<unsigned>(protocol_of(ip).value_or(Protocol::kIcmp));
  const unsigned td = domain_of(*shard.generation, packet);
  return state::FlowKey::make(ip.source.raw(), ip.destination.raw(), ip.identification.raw(),
                              static_cast<std::uint16_t>(protocol << kDomainBits | td), 1);
}

}  // namespace

Reassembly::Reassembly(std::uint32_t max_datagrams, state::Ticks now,
                       const state::HashSecret& secret, state::ZeroedMemory* memory)
    : datagrams_(max_datagrams, memory),
      index_(max_datagrams, secret, memory),
      waiting_(max_datagrams * kWaitingPerSlot, memory),
      wheel_(max_datagrams, now, memory),
      groups_(std::max(max_datagrams / 4, kLeastGroups)),
      shares_(kStandings + kStandings * kRoles * std::size_t{groups_}, memory) {}

// ── shares ──────────────────────────────────────────────────────────────────────────────────────

/// That of an address, as local one (role 0) or as source (role 1).
std::uint32_t Reassembly::share_of(Standing standing, std::uint32_t role, std::uint32_t address,
                                   std::uint16_t domain) const {
  const state::FlowKey key = state::FlowKey::make(address, role, domain, 0, 2);
  return kStandings + (static_cast<std::uint32_t>(standing) * kRoles + role) * groups_ +
         state::Random::scale(index_.hash(key), groups_);
}

std::array<std::uint32_t, Reassembly::kSharesOf> Reassembly::shares_of(
    Standing standing, bool inside, const state::FlowKey& name) const {
  const auto td = static_cast<std::uint16_t>(name.remote_port & ((1U << kDomainBits) - 1));
  return {static_cast<std::uint32_t>(standing),
          share_of(standing, 0, inside ? name.local : name.remote, td),
          share_of(standing, 1, name.local, td)};
}

std::uint32_t Reassembly::limit_of(Standing standing, std::size_t which) const {
  const std::uint32_t all = std::max(datagrams_.capacity(), 1U);
  switch (which) {
    case 0:
      return standing == Standing::kOpenOutside ? std::max(all / 2, 1U) : all;
    case 1:
      return std::max(all / kAddressShare, kLeastAddressShare);
    default:
      return std::max(all / kSourceShare, kLeastSourceShare);
  }
}

void Reassembly::join(std::uint32_t id) {
  Datagram& datagram = datagrams_[id];
  for (std::size_t i = 0; i < kSharesOf; ++i) {
    Share& share = shares_[datagram.shares[i]];
    if (share.count++ == 0) share = Share{.queue = {}, .count = 1, .waiting = 0};
    state::queue_push(share.queue, id, [this, i](std::uint32_t other) -> state::ListLinks& {
      return datagrams_[other].links[i];
    });
  }
  add_waiting(datagram, static_cast<int>(datagram.waiting));
}

void Reassembly::leave(std::uint32_t id) {
  Datagram& datagram = datagrams_[id];
  add_waiting(datagram, -static_cast<int>(datagram.waiting));
  for (std::size_t i = 0; i < kSharesOf; ++i) {
    Share& share = shares_[datagram.shares[i]];
    --share.count;
    state::queue_remove(share.queue, id, [this, i](std::uint32_t other) -> state::ListLinks& {
      return datagrams_[other].links[i];
    });
  }
}

void Reassembly::add_waiting(const Datagram& datagram, int difference) {
  for (const std::uint32_t share : datagram.shares)
    shares_[share].waiting += static_cast<std::uint32_t>(difference);
}

std::uint32_t Reassembly::oldest() const {
  for (std::size_t standing = 0; standing < kStandings; ++standing)
    if (shares_[standing].count != 0) return shares_[standing].queue.first;
  return state::kNone;
}

void Reassembly::displace(Context& shard, std::uint32_t id) {
  drop_waiting(shard, datagrams_[id], DropReason::kFragmentDisplaced);
  forget(shard, id);
}

/// For one more datagram in these shares, and in all.
void Reassembly::make_room(Context& shard, Standing standing,
                           const std::array<std::uint32_t, kSharesOf>& shares) {
  for (std::size_t i = kSharesOf; i-- > 0;) {
    const Share& share = shares_[shares[i]];
    if (share.count >= limit_of(standing, i)) displace(shard, share.queue.first);
  }
  if (datagrams_.size() == datagrams_.capacity() && datagrams_.size() != 0)
    displace(shard, oldest());
}

/// A place for a fragment of that datagram to wait in, or kNone. Others are displaced for it, it
/// itself is not.
std::uint32_t Reassembly::place_for(Context& shard, std::uint32_t id) {
  const Datagram& datagram = datagrams_[id];
  if (datagram.waiting >= kWaitingPerDatagram) return state::kNone;
  unsigned left = kDisplacedAtOnce;
  for (std::size_t i = kSharesOf; i-- > 0;) {
    const Share& share = shares_[datagram.shares[i]];
    while (share.waiting >= kWaitingPerSlot * limit_of(datagram.standing, i)) {
      if (share.queue.first == id || left-- == 0) return state::kNone;
      displace(shard, share.queue.first);
    }
  }
  for (;;) {
    const std::uint32_t place = waiting_.allocate();
    if (place != state::kNone) return place;
    const std::uint32_t other = oldest();
    if (other == id || other == state::kNone || left-- == 0) return state::kNone;
    displace(shard, other);
  }
}

// ── datagrams ───────────────────────────────────────────────────────────────────────────────────

std::uint32_t Reassembly::find(const Context& shard, const Packet& packet) const {
  const state::FlowKey name = name_of(shard, packet);
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
  add_waiting(datagram, 1);
  if (datagram.waiting++ == 0) {
    datagram.first_waiting = place;
  } else {
    waiting_[datagram.last_waiting].next = place;
  }
  datagram.last_waiting = place;
}

void Reassembly::drop_waiting(Context& shard, Datagram& datagram, DropReason reason) {
  add_waiting(datagram, -static_cast<int>(datagram.waiting));
  for (; datagram.waiting != 0; --datagram.waiting) {
    const std::uint32_t place = datagram.first_waiting;
    datagram.first_waiting = waiting_[place].next;
    shard.drop(waiting_[place].packet, reason);
    waiting_.release(place);
  }
}

void Reassembly::forget(Context& shard, std::uint32_t id) {
  Datagram& datagram = datagrams_[id];
  wheel_.cancel(id, wheel_links());
  leave(id);
  index_.erase(datagram.name, index_.hash(datagram.name));
  datagram.in_use = false;
  datagrams_.release(id);
  shard.counters.fragments_waiting.set(datagrams_.size());
}

/// A piece in the middle ends on a unit; none reaches beyond the largest datagram (RFC 791 section
/// 3.1); TCP's header is in the first one, whole (RFC 1858 section 3, RFC 3128).
bool Reassembly::is_malformed(const Packet& packet) {
  const wire::Ipv4Header& ip = *packet.ip;
  const std::uint32_t offset = ip.fragment_offset();
  const bool tcp = ip.protocol == wire::kProtocolTcp;
  return packet.l4_size == 0 || (ip.more_fragments() && packet.l4_size % kUnit != 0) ||
         offset + packet.l4_size + ip.header_size() > 65535 ||
         (tcp && (offset == kUnit || (offset == 0 && packet.l4_size < sizeof(wire::TcpHeader))));
}

/// A datagram of that name, of which nothing was seen before; kNone: there is no room.
std::uint32_t Reassembly::add(Context& shard, const state::FlowKey& name, std::uint32_t hash,
                              bool inside) {
  const Standing standing = inside ? Standing::kOpenInside : Standing::kOpenOutside;
  const auto shares = shares_of(standing, inside, name);
  make_room(shard, standing, shares);
  const std::uint32_t id = datagrams_.allocate();
  if (id == state::kNone) return id;
  if (!index_.insert(name, hash, id)) {
    datagrams_.release(id);
    return state::kNone;
  }
  Datagram& made = datagrams_[id];
  made.name = name;
  made.in_use = true;
  made.over = shard.now + shard.generation->fragment_timeout;
  made.shares = shares;
  made.standing = standing;
  made.inside = inside;
  join(id);
  wheel_.schedule(id, made.over, wheel_links());
  shard.counters.fragments_waiting.set(datagrams_.size());
  return id;
}

/// Notes a fragment's range. The end is the end: nothing behind it, and no other end.
Reassembly::Noted Reassembly::note_range(Datagram& datagram, Piece piece, bool is_last) {
  Noted noted = note(datagram, piece);
  if (is_last) {
    if (datagram.has_end && datagram.end != piece.end) noted = Noted::kOverlap;
    datagram.has_end = true;
    datagram.end = piece.end;
  }
  if (noted == Noted::kYes && datagram.has_end &&
      datagram.piece[datagram.pieces - 1].end > datagram.end)
    noted = Noted::kOverlap;
  return noted;
}

Verdict Reassembly::accept(Context& shard, const Packet& packet, FragmentPorts& ports) {
  const wire::Ipv4Header& ip = *packet.ip;
  const std::uint32_t offset = ip.fragment_offset();
  if (is_malformed(packet)) return Verdict::drop(DropReason::kFragmentMalformed);
  const state::FlowKey name = name_of(shard, packet);
  const std::uint32_t hash = index_.hash(name);
  std::uint32_t id = index_.find(name, hash);
  if (id == state::kNone) id = add(shard, name, hash, packet.side == Side::kInside);
  if (id == state::kNone) return Verdict::drop(DropReason::kFragmentTableFull);
  Datagram& datagram = datagrams_[id];
  if (datagram.poisoned) return Verdict::drop(DropReason::kFragmentOverlap);

  const bool first = offset == 0;
  std::uint32_t place = state::kNone;
  if (!first && !datagram.known) {
    place = place_for(shard, id);
    if (place == state::kNone) {
      if (datagram.pieces == 0) forget(shard, id);  // created for this one
      return Verdict::drop(DropReason::kFragmentTooMany);
    }
  }
  const Piece piece{static_cast<std::uint16_t>(offset / kUnit),
                    static_cast<std::uint16_t>((offset + packet.l4_size + kUnit - 1) / kUnit)};
  if (const Noted noted = note_range(datagram, piece, !ip.more_fragments()); noted != Noted::kYes) {
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
                            packet.handoffs};
  keep(datagram, place, packet.mbuf);
  return Verdict::consumed();
}

void Reassembly::passed(Context& shard, const Packet& first, wire::Be16 identification) {
  const std::uint32_t id = find(shard, first);
  if (id == state::kNone) return;
  Datagram& datagram = datagrams_[id];
  datagram.ports.identification = identification;
  if (datagram.standing == Standing::kSettled) return;
  leave(id);
  const auto shares = shares_of(Standing::kSettled, datagram.inside, datagram.name);
  for (std::size_t i = kSharesOf; i-- > 0;) {
    const Share& share = shares_[shares[i]];
    if (share.count >= limit_of(Standing::kSettled, i)) displace(shard, share.queue.first);
  }
  datagram.standing = Standing::kSettled;
  datagram.shares = shares;
  join(id);
}

rte_mbuf* Reassembly::take_waiting(Context& shard, const Packet& first) {
  const std::uint32_t id = find(shard, first);
  if (id == state::kNone) return nullptr;
  Datagram& datagram = datagrams_[id];
  if (datagram.waiting == 0) {
    if (is_complete(datagram)) forget(shard, id);
    return nullptr;
  }
  const std::uint32_t place = datagram.first_waiting;
  datagram.first_waiting = waiting_[place].next;
  add_waiting(datagram, -1);
  --datagram.waiting;
  rte_mbuf* packet = waiting_[place].packet;
  waiting_.release(place);
  return packet;
}

void Reassembly::advance(Context& shard, std::size_t budget) {
  wheel_.advance(shard.now, budget, wheel_links(),
                 [&](std::uint32_t id) -> std::optional<state::Ticks> {
                   Datagram& datagram = datagrams_[id];
                   if (datagram.over.later_than(shard.now)) return datagram.over;
                   drop_waiting(shard, datagram, DropReason::kFragmentTimeout);
                   forget(shard, id);
                   return std::nullopt;
                 });
}

void Reassembly::clear(Context& shard) {
  for (std::uint32_t id = 0; id < datagrams_.high_water(); ++id) {
    if (!datagrams_[id].in_use) continue;
    drop_waiting(shard, datagrams_[id], DropReason::kFragmentTimeout);
    forget(shard, id);
  }
}

}  // namespace lsn::datapath
