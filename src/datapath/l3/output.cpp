#include "lsn/datapath/l3/output.hpp"

#include <algorithm>
#include <utility>

namespace lsn::datapath {
namespace {

/// Copies `size` bytes from `offset` of a buffer's data, over its segments.
void copy_out(const rte_mbuf* packet, std::uint32_t offset, std::uint32_t size,
              std::uint8_t* to) {
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
/// that is a fragment itself is cut further at its own offset.
void send_fragments(Shard& shard, rte_mbuf* packet, const wire::Ipv4Header* ip,
                    Neighbour& neighbour) {
  const auto start = static_cast<std::uint32_t>(reinterpret_cast<const std::uint8_t*>(ip) -
                                                rte_pktmbuf_mtod(packet, const std::uint8_t*));
  const std::uint32_t first_header = static_cast<std::uint32_t>(ip->header_size());
  const auto payload = static_cast<std::uint32_t>(ip->payload_size());
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
  if (done < payload) {  // without the rest nobody can use the pieces that went
    shard.drop(packet, DropReason::kNoBuffer);
    return;
  }
  shard.counters.fragmented.add();
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

std::optional<NextHop> resolve(Shard& shard, wire::Be32 destination) {
  const Generation& generation = *shard.generation;
  const Route* route = generation.routes.find(wire::Ipv4Address{destination}.value);
  if (route == nullptr) return std::nullopt;
  wire::Be32 next = route->via.be();
  if (route->via.value == 0) {
    const wire::Ipv4Prefix& network = generation.interfaces[route->interface].address;
    if (is_link_broadcast(network, wire::Ipv4Address{destination}) ||
        is_ours_on(generation, route->interface, destination))
      return std::nullopt;
    next = destination;
  }
  return NextHop{shard.neighbours.find_or_add(shard, route->interface, next), route->interface};
}

void send(Shard& shard, rte_mbuf* packet, wire::Ipv4Header* ip, NeighbourId id) {
  Neighbour& neighbour = shard.neighbours[id];
  const auto size = static_cast<std::uint16_t>(ip->total_size());
  if (neighbour.state != NeighbourState::kReachable) {
    set_data(packet, reinterpret_cast<std::uint8_t*>(ip), size);
    shard.neighbours.wait(shard, id, packet);
    return;
  }
  if (size > neighbour.mtu) {
    send_fragments(shard, packet, ip, neighbour);
    return;
  }
  send_fast(shard, packet, ip, size, neighbour);
}

}  // namespace lsn::datapath
