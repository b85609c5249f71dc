#include "lsn/datapath/l3/output.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "lsn/datapath/capture_tap.hpp"

namespace lsn::datapath {
namespace {

/// Copies `size` bytes from `offset` of a buffer's data, over its segments.
void copy_out(const rte_mbuf* packet, std::uint32_t offset, std::uint32_t size, std::uint8_t* to) {
  const void* from = rte_pktmbuf_read(packet, offset, size, to);
  if (from != to) std::memcpy(to, from, size);
}

/// The options that a fragment other than the first carries (RFC 791 section 3.1): those with the
/// copied bit. Returns the size of the header that was written, a multiple of 4.
std::size_t write_later_header(const wire::Ipv4Header& ip, std::uint8_t* to) {
  constexpr std::uint8_t kEnd = 0, kNoOperation = 1, kCopied = 0x80;
  std::memcpy(to, &ip, sizeof ip);
  const auto* options = reinterpret_cast<const std::uint8_t*>(&ip) + sizeof ip;
  const std::size_t options_size = ip.header_size() - sizeof ip;
  std::size_t written = sizeof ip;
  for (std::size_t i = 0; i < options_size && options[i] != kEnd;) {
    if (options[i] == kNoOperation) {
      ++i;
      continue;
    }
    if (i + 1 >= options_size || options[i + 1] < 2 || i + options[i + 1] > options_size) break;
    const std::size_t size = options[i + 1];
    if ((options[i] & kCopied) != 0) {
      std::memcpy(to + written, options + i, size);
      written += size;
    }
    i += size;
  }
  while (written % 4 != 0) to[written++] = kEnd;
  reinterpret_cast<wire::Ipv4Header*>(to)->version_and_size =
      static_cast<std::uint8_t>(0x40 | written / 4);
  return written;
}

/// RFC 791 section 3.2: pieces of the neighbour's MTU, each a copy in a buffer of its own. A packet
/// that is a fragment itself is cut further at its own offset; one that was whole becomes a
/// datagram in fragments here and gets an identification as such (l3/identification.hpp).
void send_fragments(L3& shard, rte_mbuf* packet, const wire::Ipv4Header* ip, Neighbour& neighbour) {
  const auto start = static_cast<std::uint32_t>(reinterpret_cast<const std::uint8_t*>(ip) -
                                                rte_pktmbuf_mtod(packet, const std::uint8_t*));
  const std::uint32_t first_header = static_cast<std::uint32_t>(ip->header_size());
  const auto payload = static_cast<std::uint32_t>(ip->payload_size());
  wire::Be16 identification = ip->identification;
  if (!ip->is_fragment()) {
    const bool out = shard.generation->interfaces[neighbour.interface].side == Side::kOutside;
    identification = shard.identifications.next(out ? ip->destination : ip->source, ip->protocol);
  }
  std::uint32_t done = 0;
  while (done < payload) {
    rte_mbuf* piece = rte_pktmbuf_alloc(shard.buffers);
    if (piece == nullptr) break;
    std::uint8_t header[60];
    std::size_t header_size = first_header;
    if (done == 0) {
      std::memcpy(header, ip, first_header);
    } else {
      header_size = write_later_header(*ip, header);
    }
    // Whole units of 8 bytes but for the last piece.
    const auto room = static_cast<std::uint32_t>((neighbour.mtu - header_size) / 8 * 8);
    const std::uint32_t size = std::min(payload - done, room);
    auto& piece_ip = *reinterpret_cast<wire::Ipv4Header*>(header);
    piece_ip.total_length = wire::Be16::of(static_cast<std::uint16_t>(header_size + size));
    const bool more = ip->more_fragments() || done + size < payload;
    piece_ip.flags_and_offset = wire::Be16::of(static_cast<std::uint16_t>(
        (ip->fragment_offset() + done) / 8 | (more ? wire::Ipv4Header::kMoreFragments : 0)));
    if (piece_ip.identification != identification) {
      piece_ip.identification = identification;
      shard.identifications.remember(piece_ip, ip->identification);
    }
    piece_ip.update_checksum();
    auto* bytes = reinterpret_cast<std::uint8_t*>(
        rte_pktmbuf_append(piece, static_cast<std::uint16_t>(header_size + size)));
    if (bytes == nullptr) {  // an MTU beyond the buffers: the runtime makes them fit
      rte_pktmbuf_free(piece);
      break;
    }
    std::memcpy(bytes, header, header_size);
    copy_out(packet, start + first_header + done, size, bytes + header_size);
    shard.counters.fragments_sent.add();
    send_fast(shard, piece, reinterpret_cast<wire::Ipv4Header*>(bytes),
              static_cast<std::uint16_t>(header_size + size), neighbour);
    done += size;
  }
  if (done < payload) {  // without the rest the pieces that went are useless
    shard.drop(packet, DropReason::kNoBuffer);
    return;
  }
  shard.counters.fragmented.add();
  if (shard.capture != nullptr) [[unlikely]]
    shard.capture->cut(shard, packet);
  rte_pktmbuf_free(packet);
}

}  // namespace

void cut_segments(rte_mbuf* packet, std::uint32_t size) {
  packet->pkt_len = size;
  rte_mbuf* last = packet;
  for (; size > last->data_len; last = last->next) size -= last->data_len;
  last->data_len = static_cast<std::uint16_t>(size);
  rte_mbuf* rest = std::exchange(last->next, nullptr);
  for (; rest != nullptr; --packet->nb_segs) {
    rte_mbuf* const next = rest->next;
    rte_pktmbuf_free_seg(rest);
    rest = next;
  }
}

namespace {

struct Way {
  InterfaceId interface;
  wire::Be32 next;
  bool may_change = false;  ///< Neighbours::want()
};

/// The bits of a number, mixed (the last step of MurmurHash3).
constexpr std::uint32_t mixed(std::uint32_t bits) {
  bits = (bits ^ bits >> 16) * 0x85EBCA6BU;
  bits = (bits ^ bits >> 13) * 0xC2B2AE35U;
  return bits ^ bits >> 16;
}

/// The least of all ways' is the subscriber's, in proportion to their weights: -ln(u) / weight, u
/// evenly spread over (0, 1).
float distance(wire::Be32 subscriber, const RouteHop& hop) {
  const std::uint32_t way = mixed(hop.via.value ^ std::uint32_t{hop.interface} << 16);
  const auto spread = static_cast<float>(mixed(subscriber.host() ^ way) >> 8);
  return -std::log((spread + 0.5F) / 0x1p24F) / static_cast<float>(hop.weight);
}

/// The nearest of the ways that `usable` names by bits, and that are backups or not.
std::optional<std::size_t> nearest(const RouteGroup& group, wire::Be32 subscriber,
                                   std::uint32_t usable, bool is_backup) {
  std::optional<std::size_t> best;
  float least = 0;
  for (std::size_t i = 0; i < group.count; ++i) {
    const RouteHop& hop = group.hops[i];
    if ((usable >> i & 1) == 0 || hop.is_backup != is_backup) continue;
    const float here = distance(subscriber, hop);
    if (best && here >= least) continue;
    best = i;
    least = here;
  }
  return best;
}

/// The subscriber's way: its nearest one that is not known to fail, backups last; if all do, it is
/// the nearest. `answers`: whether a tracked one does.
[[gnu::noinline]] const RouteHop& way_of(const RouteGroup& group, wire::Be32 subscriber,
                                         auto&& answers) {
  if (group.count == 1) return group.hops[0];
  std::uint32_t usable = (1U << group.count) - 1;
  for (const bool is_backup : {false, true}) {
    while (const auto best = nearest(group, subscriber, usable, is_backup)) {
      const RouteHop& hop = group.hops[*best];
      if (!hop.is_tracked || answers(hop)) return hop;
      usable &= ~(1U << *best);
    }
  }
  usable = (1U << group.count) - 1;
  const auto first = nearest(group, subscriber, usable, false);
  return group.hops[first ? *first : *nearest(group, subscriber, usable, true)];
}

/// The way by the kernel's routes, if they have a longer prefix than the configured one.
[[gnu::noinline]] const RouteHop* find_kernels_way(const L3& shard,
                                                   const InsideAddress& destination,
                                                   const Route* configured, wire::Be32 subscriber,
                                                   auto&& answers) {
  const shared::Fib::Match match = shard.fib->find(destination.td, destination.address);
  if (match.group == nullptr || (configured != nullptr && match.length <= configured->length))
    return nullptr;
  return &way_of(*match.group, subscriber, answers);
}

/// The next address on the way to a destination, and its interface.
std::optional<Way> find_way(const L3& shard, const InsideAddress& destination,
                            wire::Be32 subscriber, auto&& answers) {
  const Generation& generation = *shard.generation;
  const Route* route = generation.routes[destination.td].find(destination.address.value);
  if (shard.fib != nullptr) [[unlikely]]
    if (const RouteHop* hop = find_kernels_way(shard, destination, route, subscriber, answers))
      return Way{hop->interface, hop->via.be(), true};
  if (route == nullptr) return std::nullopt;
  if (route->group != Route::kOneWay) [[unlikely]] {
    const RouteHop& hop = way_of(generation.route_groups[route->group], subscriber, answers);
    return Way{hop.interface, hop.via.be(), true};
  }
  if (route->via.value != 0) return Way{route->interface, route->via.be()};
  const wire::Ipv4Prefix& network = generation.interfaces[route->interface].address;
  const wire::Be32 address = destination.address.be();
  if (is_link_broadcast(network, destination.address) ||
      is_ours_on(generation, route->interface, address))
    return std::nullopt;
  return Way{route->interface, address};
}

/// One that fails is asked for again.
std::optional<Way> find_way(L3& shard, const InsideAddress& destination, wire::Be32 subscriber) {
  return find_way(shard, destination, subscriber, [&shard](const RouteHop& hop) {
    const NeighbourId id = shard.neighbours.want(shard, hop.interface, hop.via.be());
    return id != kNoNeighbour && shard.neighbours[id].state == NeighbourState::kReachable;
  });
}

}  // namespace

std::optional<Route> way_to(const L3& shard, const InsideAddress& destination,
                            wire::Be32 subscriber) {
  const auto way = find_way(shard, destination, subscriber, [&shard](const RouteHop& hop) {
    const NeighbourId id = shard.neighbours.find(hop.interface, hop.via.be());
    return id != kNoNeighbour && shard.neighbours[id].state == NeighbourState::kReachable;
  });
  if (!way) return std::nullopt;
  return Route{.interface = way->interface, .via = wire::Ipv4Address{way->next}};
}

std::optional<NextHop> resolve(L3& shard, const InsideAddress& destination, wire::Be32 subscriber) {
  const auto way = find_way(shard, destination, subscriber);
  if (!way) return std::nullopt;
  Neighbours& neighbours = shard.neighbours;
  return NextHop{way->may_change ? neighbours.want(shard, way->interface, way->next)
                                 : neighbours.find_or_add(shard, way->interface, way->next),
                 way->interface};
}

void send(L3& shard, rte_mbuf* packet, wire::Ipv4Header* ip, NeighbourId id) {
  Neighbour& neighbour = shard.neighbours[id];
  if (neighbour.state == NeighbourState::kReachable) {
    send_to(shard, packet, ip, neighbour);
    return;
  }
  set_data(packet, reinterpret_cast<std::uint8_t*>(ip),
           static_cast<std::uint32_t>(ip->total_size()));
  shard.neighbours.wait(shard, id, packet);
}

void send_to(L3& shard, rte_mbuf* packet, wire::Ipv4Header* ip, Neighbour& neighbour) {
  const auto size = static_cast<std::uint16_t>(ip->total_size());
  if (size > neighbour.mtu)
    send_fragments(shard, packet, ip, neighbour);
  else
    send_fast(shard, packet, ip, size, neighbour);
}

std::expected<AnswerHop, DropReason> resolve_answer(L3& shard, const Packet& packet,
                                                    wire::Be32 sender) {
  const auto way = find_way(shard, in_domain_of(*shard.generation, packet, sender), sender);
  // By the side where it came in: a forged source gets nothing from the other one.
  if (!way || shard.generation->interfaces[way->interface].side != packet.side)
    return std::unexpected(DropReason::kNoRoute);
  Neighbours& neighbours = shard.neighbours;
  NeighbourId known = neighbours.find(way->interface, way->next);
  if (known == kNoNeighbour || neighbours[known].state != NeighbourState::kReachable) {
    const wire::MacAddress& from =
        rte_pktmbuf_mtod(packet.mbuf, const wire::EthernetHeader*)->source;
    if (way->interface == packet.interface && way->next == sender && is_station(from))
      return AnswerHop{kNoNeighbour, neighbours.station(shard, way->interface, from)};
    if (known == kNoNeighbour && (way->next != sender || neighbours.has_room_for_answers()))
      known = neighbours.find_or_add(shard, way->interface, way->next);
    if (known == kNoNeighbour) return std::unexpected(DropReason::kNeighbourTableFull);
  }
  return AnswerHop{known, {}};
}

void send_answer(L3& shard, rte_mbuf* packet, wire::Ipv4Header* ip, AnswerHop& hop) {
  if (hop.neighbour == kNoNeighbour)
    send_to(shard, packet, ip, hop.station);
  else
    send(shard, packet, ip, hop.neighbour);
}

}  // namespace lsn::datapath
