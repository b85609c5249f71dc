#include "lsn/datapath/capture_tap.hpp"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <optional>
#include <utility>

#include "lsn/datapath/parse.hpp"

namespace lsn::datapath {
namespace {

/// Where the IPv4 header begins in a frame that begins with its link header; 0: it has none.
std::uint32_t ip_at(const rte_mbuf& frame) {
  LinkHeader link;
  if (!read_link(frame, link) || link.type != wire::Be16::of(wire::kEtherTypeIpv4)) return 0;
  return frame.data_len < link.size + sizeof(wire::Ipv4Header) ? 0 : link.size;
}

/// The ports behind an IPv4 header; of ICMP its identifier on both sides, as far as there is one.
void read_ports(std::span<const std::uint8_t> l4, PacketEnds& ends) {
  const auto word = [l4](std::size_t at) {
    wire::Be16 value{};
    std::memcpy(&value, l4.data() + at, sizeof value);
    return value;
  };
  switch (ends.protocol) {
    case wire::kProtocolTcp:
    case wire::kProtocolUdp:
      if (l4.size() < 4) return;
      ends.source.port = word(0);
      ends.destination.port = word(2);
      break;
    case wire::kProtocolIcmp:
      if (l4.size() < sizeof(wire::IcmpHeader)) return;
      ends.source.port = ends.destination.port = word(4);
      break;
    case wire::kProtocolEsp:
      if (l4.size() >= 4) std::memcpy(&ends.spi, l4.data(), sizeof ends.spi);
      return;
    default:
      return;
  }
  ends.has_ports = true;
}

/// Of an IPv4 packet, as far as its bytes are there.
std::optional<PacketEnds> read_ends(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < sizeof(wire::Ipv4Header)) return std::nullopt;
  const auto& ip = *reinterpret_cast<const wire::Ipv4Header*>(bytes.data());
  if (ip.version_and_size >> 4 != 4 || ip.header_size() < sizeof ip) return std::nullopt;
  PacketEnds ends;
  ends.source.address = ip.source;
  ends.destination.address = ip.destination;
  ends.protocol = ip.protocol;
  ends.is_fragment = ip.is_fragment();
  if (ip.fragment_offset() == 0 && bytes.size() > ip.header_size())
    read_ports(bytes.subspan(ip.header_size()), ends);
  return ends;
}

/// ... and of an ICMP error what it quotes.
PacketEnds read_packet(std::span<const std::uint8_t> bytes) {
  const auto ends = read_ends(bytes);
  if (!ends) return {};
  if (ends->protocol != wire::kProtocolIcmp || !ends->has_ports) return *ends;
  const auto& ip = *reinterpret_cast<const wire::Ipv4Header*>(bytes.data());
  const auto message = bytes.subspan(ip.header_size());
  if (!wire::is_icmp_error(message[0])) return *ends;
  auto quoted = read_ends(message.subspan(sizeof(wire::IcmpHeader)));
  if (!quoted) return *ends;
  quoted->is_error = true;
  return *quoted;
}

/// The bytes of a buffer's first segment, from there on.
std::span<const std::uint8_t> first_segment(const rte_mbuf& frame, std::uint32_t from) {
  const auto* const bytes = rte_pktmbuf_mtod(&frame, const std::uint8_t*);
  return {bytes + from, bytes + std::max<std::uint32_t>(frame.data_len, from)};
}

/// Bytes of a frame without the padding behind a packet that is whole.
std::uint32_t length_of(const rte_mbuf& frame, std::uint32_t ip_begin) {
  if (ip_begin == 0) return frame.pkt_len;
  const auto* const ip = reinterpret_cast<const wire::Ipv4Header*>(
      rte_pktmbuf_mtod(&frame, const std::uint8_t*) + ip_begin);
  const auto size = ip_begin + static_cast<std::uint32_t>(ip->total_size());
  return size >= ip_begin + sizeof *ip && size <= frame.pkt_len ? size : frame.pkt_len;
}

/// One side of a flow.
void add_ends(CapturedFlow& flow, const CapturePoint& point, const PacketEnds& ends) {
  const auto [local, remote] = ends_at(point, ends);
  (point.side == Side::kInside ? flow.subscriber : flow.nat) = local;
  flow.remote = remote;
  flow.spi = ends.spi;
  flow.protocol = ends.protocol;
  flow.has_ports = ends.has_ports;
  flow.is_error = ends.is_error;
  flow.is_fragment = ends.is_fragment;
}

/// The other side of one, as it is sent.
void add_translated(CapturedFlow& flow, const CapturePoint& came, const CapturePoint& leaves,
                    const PacketEnds& ends) {
  const auto [local, remote] = ends_at(leaves, ends);
  const bool is_hairpin = came.side == Side::kInside && leaves.side == Side::kInside;
  if (is_hairpin) {
    flow.peer = local;
    flow.nat = remote;
  } else {
    (leaves.side == Side::kInside ? flow.subscriber : flow.nat) = local;
  }
}

/// A hardware header for a packet that has none any more.
constexpr std::uint8_t kNoLink[sizeof(wire::EthernetHeader)] = {0, 0, 0, 0, 0, 0,    0,
                                                                0, 0, 0, 0, 0, 0x08, 0x00};

}  // namespace

CapturedEnds ends_at(const CapturePoint& point, const PacketEnds& ends) {
  // A packet that comes from inside, or leaves outside, is from this side's end; what an ICMP error
  // quotes went the other way.
  const bool from_local = ((point.side == Side::kInside) == point.received) != ends.is_error;
  CapturedEnds result{from_local ? ends.source : ends.destination,
                      from_local ? ends.destination : ends.source};
  if (ends.protocol == wire::kProtocolIcmp) result.remote.port = {};
  return result;
}

CaptureTap::CaptureTap(std::shared_ptr<CaptureRing> ring, const CaptureFilter& filter,
                       FindSession find_session, WallClock clock)
    : ring_(std::move(ring)),
      filter_(filter),
      find_session_(find_session),
      clock_(clock),
      heads_(kBurst * kWhole),
      written_(TxBuffer::kCapacity) {
  burst_.reserve(kBurst);
}

std::int64_t CaptureTap::wall_clock() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

void CaptureTap::keep(rte_mbuf* frame, InterfaceId interface, bool is_inner) {
  Received& entry = burst_.emplace_back();
  entry.buffer = frame;
  entry.interface = interface;
  entry.data_off = frame->data_off;
  entry.ip_at = ip_at(*frame);
  entry.is_inner = is_inner;
  entry.length = length_of(*frame, entry.ip_at);
  // Established traffic of TCP and ESP goes on at once, or is dropped: its rest stays in its
  // buffer; leaves() sees to what is for the kernel.
  std::uint32_t keeps = kWhole;
  if (entry.ip_at != 0) {
    const PacketEnds ends = read_packet(first_segment(*frame, entry.ip_at));
    if (!ends.is_fragment &&
        (ends.protocol == wire::kProtocolTcp || ends.protocol == wire::kProtocolEsp))
      keeps = kHead;
  }
  entry.kept = std::min(entry.length, keeps);
  std::uint8_t* const head = heads_.data() + (burst_.size() - 1) * kWhole;
  const void* const bytes = rte_pktmbuf_read(frame, 0, entry.kept, head);
  if (bytes != head) std::memcpy(head, bytes, entry.kept);
}

void CaptureTap::received(const Context& shard, std::uint16_t device,
                          std::span<rte_mbuf* const> frames) {
  burst_.clear();
  next_ = 0;
  if (ring_->closed()) return;
  came_ = clock_();
  ring_->saw(frames.size());
  for (rte_mbuf* const frame : frames) {
    LinkHeader link;
    const bool has_link = read_link(*frame, link);
    keep(frame, has_link ? shard.ingress[device][link.vlan] : kNoInterface, false);
  }
}

void CaptureTap::taken_over(std::span<rte_mbuf* const> frames) {
  burst_.clear();
  next_ = 0;
  if (ring_->closed()) return;
  came_ = clock_();
  for (rte_mbuf* const frame : frames) {
    const PacketOrigin origin = origin_of(frame);
    if (origin.kind == HandoffKind::kArp) continue;  // a copy
    keep(frame, origin.interface, origin.kind == HandoffKind::kHairpin);
  }
}

CaptureTap::Received* CaptureTap::find(const rte_mbuf* buffer) {
  for (std::size_t n = 0; n < burst_.size(); ++n) {
    const std::size_t at = (next_ + n) % burst_.size();
    if (burst_[at].buffer != buffer) continue;
    next_ = at + 1;
    return &burst_[at];
  }
  return nullptr;
}

std::span<const std::uint8_t> CaptureTap::head_of(const Received& entry) const {
  const auto index = static_cast<std::size_t>(&entry - burst_.data());
  return {heads_.data() + index * kWhole, entry.kept};
}

CaptureTap::Bytes CaptureTap::bytes_of(const Received& entry, const rte_mbuf* buffer) const {
  // The data may begin elsewhere now, the bytes themselves have not moved.
  const std::uint32_t at = entry.kept + entry.data_off - buffer->data_off;
  return {head_of(entry), buffer, at, entry.length};
}

PacketEnds CaptureTap::ends_of(const Received& entry) const {
  return entry.ip_at == 0 ? PacketEnds{} : read_packet(head_of(entry).subspan(entry.ip_at));
}

CapturePoint CaptureTap::point_of(const Context& shard, const Received& entry) const {
  if (entry.is_inner || entry.interface == kNoInterface) return {Side::kOutside, true};
  return {shard.links[entry.interface].side, true,
          shard.generation->interfaces[entry.interface].td};
}

CapturedFlow CaptureTap::flow_of(const Context& shard, const Received& entry) const {
  CapturedFlow flow;
  if (has_flow(entry)) add_ends(flow, point_of(shard, entry), ends_of(entry));
  return flow;
}

CapturedFlow CaptureTap::look_up(Context& shard, const Received& entry) const {
  CapturedFlow flow = flow_of(shard, entry);
  if (has_flow(entry)) find_session_(shard, point_of(shard, entry), ends_of(entry), flow);
  return flow;
}

CapturedFlow CaptureTap::look_up(Context& shard, const PacketEnds& ends) const {
  const Generation& generation = *shard.generation;
  const auto is_at = [&](const CapturePoint& point, CapturedFlow& flow) {
    flow = {};
    add_ends(flow, point, ends);
    return find_session_(shard, point, ends, flow);
  };
  // By which interface it came is not known any more: it may be of any domain that has one.
  const auto in_any_domain = [&](const auto& is) {
    for (std::size_t td = 0; td < generation.routes.all().size(); ++td)
      if (!generation.routes.all()[td].empty() && is(static_cast<DomainId>(td))) return true;
    return false;
  };
  const auto is_inside = [&](bool received, CapturedFlow& flow) {
    return in_any_domain([&](DomainId td) { return is_at({Side::kInside, received, td}, flow); });
  };
  CapturedFlow flow;
  if (is_inside(true, flow) || is_at({Side::kOutside, true}, flow) ||
      is_at({Side::kOutside, false}, flow) || is_inside(false, flow))
    return flow;
  flow = {};
  const auto is_client = [&](DomainId td) {
    return generation.group_of(in_domain(td, ends.source.address)) != nullptr;
  };
  if (in_any_domain(is_client))
    add_ends(flow, {Side::kInside, true}, ends);
  else if (generation.nat_addresses.find(wire::Ipv4Address{ends.destination.address}) != nullptr)
    add_ends(flow, {Side::kOutside, true}, ends);
  return flow;
}

bool CaptureTap::is_same(const Received& entry, const rte_mbuf& frame,
                         std::uint32_t ip_begin) const {
  if (!has_flow(entry)) return false;
  const auto came = head_of(entry).subspan(entry.ip_at), leaves = first_segment(frame, ip_begin);
  const auto& a = *reinterpret_cast<const wire::Ipv4Header*>(came.data());
  const auto& b = *reinterpret_cast<const wire::Ipv4Header*>(leaves.data());
  if (a.total_length != b.total_length || a.protocol != b.protocol ||
      a.version_and_size != b.version_and_size)
    return false;
  // Those of TCP (MSS) and ICMP errors are changed; none of them ends without being sent, dropped
  // or given to the kernel, which has its buffer beyond the burst.
  if (a.protocol == wire::kProtocolTcp || a.protocol == wire::kProtocolIcmp) return true;
  const std::size_t from = a.header_size() + sizeof(wire::UdpHeader);
  const std::size_t end = std::min(came.size(), leaves.size());
  return end <= from || std::memcmp(came.data() + from, leaves.data() + from, end - from) == 0;
}

CaptureRecord* CaptureTap::write(const Bytes& bytes, const CapturedFlow& flow, const Seen& seen) {
  if (ring_->closed() || !filter_.fits(seen.verdict, seen.reason) || !filter_.fits(flow))
    return nullptr;
  const auto head =
      static_cast<std::uint32_t>(std::min<std::size_t>(bytes.head.size(), kCapturedBytes));
  std::uint32_t rest = 0;
  if (bytes.rest != nullptr && bytes.rest_at < bytes.rest->pkt_len)
    rest =
        std::min({bytes.length - head, kCapturedBytes - head, bytes.rest->pkt_len - bytes.rest_at});
  CaptureRecord* const record = ring_->add(head + rest);
  if (record == nullptr) return nullptr;
  record->length = bytes.length;
  record->interface = seen.interface;
  record->received = seen.received;
  record->verdict = seen.verdict;
  record->reason = seen.reason;
  record->time = seen.time;
  record->flow = flow;
  if (head != 0) std::memcpy(record->bytes(), bytes.head.data(), head);
  if (rest != 0) {
    const void* const from =
        rte_pktmbuf_read(bytes.rest, bytes.rest_at, rest, record->bytes() + head);
    if (from != record->bytes() + head) std::memcpy(record->bytes() + head, from, rest);
  }
  return record;
}

void CaptureTap::dropped(Context& shard, const rte_mbuf* frame, DropReason reason) {
  if (ring_->closed() || !filter_.fits(CaptureVerdict::kDropped, reason)) return;
  if (Received* const entry = find(frame); entry != nullptr) {
    write(bytes_of(*entry, frame), look_up(shard, *entry),
          {came_, entry->interface, true, CaptureVerdict::kDropped, reason});
    entry->buffer = nullptr;
    ring_->publish();
    return;
  }
  // It came in an earlier burst, or the NAT has made it.
  const auto* const bytes = rte_pktmbuf_mtod(frame, const std::uint8_t*);
  const wire::Ipv4Header* const ip = ip_of_dropped(frame);
  CapturedFlow flow;
  if (ip != nullptr) {
    const auto at = static_cast<std::uint32_t>(reinterpret_cast<const std::uint8_t*>(ip) - bytes);
    flow = look_up(shard, read_packet(first_segment(*frame, at)));
  }
  const bool has_link = reinterpret_cast<const std::uint8_t*>(ip) != bytes;
  const std::span<const std::uint8_t> link = kNoLink;
  write({has_link ? std::span<const std::uint8_t>{} : link, frame, 0,
         frame->pkt_len + static_cast<std::uint32_t>(has_link ? 0 : link.size())},
        flow, {clock_(), kNoInterface, true, CaptureVerdict::kDropped, reason});
  ring_->publish();
}

void CaptureTap::leaves(const rte_mbuf* frame) {
  Received* const entry = find(frame);
  if (entry == nullptr) return;
  const std::uint32_t keeps = std::min(entry->length, kWhole);
  if (keeps <= entry->kept) return;
  const auto index = static_cast<std::size_t>(entry - burst_.data());
  std::uint8_t* const rest = heads_.data() + index * kWhole + entry->kept;
  const std::uint32_t at = entry->kept + entry->data_off - frame->data_off;
  const void* const bytes = rte_pktmbuf_read(frame, at, keeps - entry->kept, rest);
  if (bytes == nullptr) return;
  if (bytes != rest) std::memcpy(rest, bytes, keeps - entry->kept);
  entry->kept = keeps;
}

void CaptureTap::cut(const Context& shard, const rte_mbuf* frame) {
  Received* const entry = find(frame);
  if (entry == nullptr || !has_flow(*entry)) return;
  CapturedFlow flow = flow_of(shard, *entry);
  const CapturePoint came = point_of(shard, *entry);
  const auto now_at = static_cast<std::uint32_t>(entry->ip_at + entry->data_off - frame->data_off);
  const PacketEnds ends = read_packet(first_segment(*frame, now_at));
  // Cut towards the other side; a hairpinned one towards its own, if the destination is changed.
  const bool is_back =
      came.side == Side::kInside && ends.destination.address != ends_of(*entry).destination.address;
  const Side to = came.side == Side::kOutside || is_back ? Side::kInside : Side::kOutside;
  add_translated(flow, came, {to, false}, ends);
  if (!entry->is_inner)
    write(bytes_of(*entry, frame), flow, {came_, entry->interface, true, CaptureVerdict::kCut});
  entry->buffer = nullptr;
  ring_->publish();
}

void CaptureTap::handing_off(const Context& shard, std::span<rte_mbuf* const> frames) {
  for (rte_mbuf* const frame : frames) {
    if (origin_of(frame).kind != HandoffKind::kHairpin) continue;
    const Received* const entry = find(frame);
    if (entry == nullptr || !has_flow(*entry)) continue;
    CapturedFlow flow = flow_of(shard, *entry);
    // Its source is the sender's NAT endpoint now.
    flow.nat =
        ends_at({Side::kOutside, false}, read_packet(first_segment(*frame, ip_at(*frame)))).local;
    write(bytes_of(*entry, frame), flow, {came_, entry->interface, true, CaptureVerdict::kHairpin});
  }
  ring_->publish();
}

void CaptureTap::handed_off(Context& shard, std::span<rte_mbuf* const> frames, std::size_t taken) {
  for (rte_mbuf* const frame : frames.first(taken))
    if (Received* const entry = find(frame); entry != nullptr && entry->ip_at != 0)
      entry->buffer = nullptr;
  for (rte_mbuf* const frame : frames.subspan(taken))
    dropped(shard, frame, DropReason::kHandoffFull);
}

void CaptureTap::write_sent(Context& shard, InterfaceId interface, const rte_mbuf* frame,
                            Written& written) {
  const std::uint32_t at = ip_at(*frame);
  if (at == 0 || interface == kNoInterface) return;  // ARP
  const PacketEnds ends = read_packet(first_segment(*frame, at));
  const auto& ip =
      *reinterpret_cast<const wire::Ipv4Header*>(rte_pktmbuf_mtod(frame, const std::uint8_t*) + at);
  const CapturePoint leaves{shard.links[interface].side, false,
                            shard.generation->interfaces[interface].td};
  const Bytes bytes{{}, frame, 0, frame->pkt_len};
  const bool is_own = shard.generation->is_own_address(in_domain(leaves.td, ip.source));
  Received* const entry = is_own ? nullptr : find(frame);
  if (entry == nullptr || !is_same(*entry, *frame, at)) {
    CapturedFlow flow;
    add_ends(flow, leaves, ends);
    find_session_(shard, leaves, ends, flow);
    written.left =
        write(bytes, flow,
              {leaves_, interface, false, is_own ? CaptureVerdict::kOwn : CaptureVerdict::kLater});
    return;
  }
  CapturedFlow flow = flow_of(shard, *entry);
  add_translated(flow, point_of(shard, *entry), leaves, ends);
  written.entry = static_cast<std::uint32_t>(entry - burst_.data());
  written.paired = true;
  if (!entry->is_inner)
    written.came = write(bytes_of(*entry, frame), flow,
                         {came_, entry->interface, true, CaptureVerdict::kForwarded});
  written.left = write(bytes, flow, {leaves_, interface, false, CaptureVerdict::kForwarded});
  entry->buffer = nullptr;
}

void CaptureTap::sending(Context& shard, std::uint16_t device, std::span<rte_mbuf* const> frames,
                         std::size_t known) {
  leaves_ = clock_();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    written_[i] = {};
    LinkHeader link;
    if (i >= known && !ring_->closed() && read_link(*frames[i], link))
      write_sent(shard, shard.ingress[device][link.vlan], frames[i], written_[i]);
  }
}

void CaptureTap::sent(Context& shard, std::span<rte_mbuf* const> frames, std::size_t taken,
                      DropReason reason) {
  for (std::size_t i = taken; i < frames.size(); ++i) {
    for (CaptureRecord* const record : {written_[i].came, written_[i].left})
      if (record != nullptr) record->verdict = CaptureVerdict::kVoid;
    if (written_[i].paired) burst_[written_[i].entry].buffer = frames[i];
  }
  ring_->publish();
  for (std::size_t i = taken; i < frames.size(); ++i) dropped(shard, frames[i], reason);
}

void CaptureTap::end_burst(Context& shard) {
  for (Received& entry : burst_) {
    if (entry.buffer == nullptr || entry.ip_at == 0 || entry.is_inner) continue;
    // Its buffer may have been freed.
    write({head_of(entry), nullptr, 0, entry.length}, look_up(shard, entry),
          {came_, entry.interface, true, CaptureVerdict::kTaken});
  }
  burst_.clear();
  ring_->publish();
}

}  // namespace lsn::datapath
