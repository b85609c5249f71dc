#include "lsn/runtime/replay.hpp"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/datapath/l3/kernel_policer.hpp"
#include "lsn/datapath/lsn44/bypass.hpp"
#include "lsn/datapath/parse.hpp"
#include "lsn/datapath/path.hpp"
#include "lsn/runtime/buffers.hpp"
#include "lsn/runtime/capture_file.hpp"
#include "lsn/runtime/eal.hpp"
#include "lsn/runtime/plan.hpp"
#include "lsn/wire/checksum.hpp"
#include "lsn/wire/esp.hpp"
#include "lsn/wire/ethernet.hpp"
#include "lsn/wire/icmp.hpp"
#include "lsn/wire/ipv4.hpp"
#include "lsn/wire/protocol_name.hpp"
#include "lsn/wire/tcp.hpp"
#include "lsn/wire/udp.hpp"

namespace lsn::runtime {
namespace {

using shared::DropReason;
using shared::Protocol;
using shared::Side;
using std::chrono::microseconds;

constexpr unsigned kBuffers = 4095;
constexpr std::uint16_t kRoom = 16384;  ///< bytes of a frame in a buffer; larger ones take several
constexpr std::size_t kStep = 4096;     ///< objects of one call of housekeep()
constexpr microseconds kTick = std::chrono::milliseconds{10};

// ── one packet, in words ────────────────────────────────────────────────────────────────────────

/// The headers of an IPv4 packet as far as they are there.
struct Headers {
  wire::Ipv4Header* ip;
  std::uint8_t* l4;     ///< nullptr: no first fragment, or too short
  std::size_t l4_size;  ///< bytes from there on

  explicit Headers(std::span<std::uint8_t> bytes)
      : ip(reinterpret_cast<wire::Ipv4Header*>(bytes.data())), l4(nullptr), l4_size(0) {
    const std::size_t header = static_cast<std::size_t>(bytes[0] & 0x0F) * 4;
    const std::uint16_t offset = static_cast<std::uint16_t>((bytes[6] & 0x1F) << 8 | bytes[7]);
    if (offset != 0 || bytes.size() < header + 8) return;
    l4 = bytes.data() + header;
    l4_size = bytes.size() - header;
  }
  [[nodiscard]] std::uint16_t word(std::size_t at) const {
    return static_cast<std::uint16_t>(l4[at] << 8 | l4[at + 1]);
  }
  [[nodiscard]] bool is_first_fragment() const { return l4 != nullptr && ip->more_fragments(); }
  [[nodiscard]] bool has_ports() const {
    return l4 != nullptr &&
           (ip->protocol == wire::kProtocolTcp || ip->protocol == wire::kProtocolUdp);
  }
};

/// "192.0.2.10:500 > 198.18.0.1:500 UDP, 328 bytes"
std::string describe(std::span<std::uint8_t> bytes) {
  const Headers of(bytes);
  const std::string source = wire::to_string(wire::Ipv4Address{of.ip->source});
  const std::string destination = wire::to_string(wire::Ipv4Address{of.ip->destination});
  const std::string_view protocol = wire::protocol_name(of.ip->protocol);
  std::string text;
  if (of.has_ports())
    text = fmt::format("{}:{} > {}:{} {}", source, of.word(0), destination, of.word(2), protocol);
  else if (of.ip->protocol == wire::kProtocolEsp && of.l4 != nullptr)
    text = fmt::format("{} > {} ESP spi 0x{:04x}{:04x} seq {}", source, destination, of.word(0),
                       of.word(2), of.word(4) << 16 | of.word(6));
  else if (of.ip->protocol == wire::kProtocolIcmp && of.l4 != nullptr)
    text = fmt::format("{} > {} ICMP type {} code {} id {}", source, destination, of.l4[0],
                       of.l4[1], of.word(4));
  else if (protocol.empty())
    text = fmt::format("{} > {} protocol {}", source, destination, of.ip->protocol);
  else
    text = fmt::format("{} > {} {} fragment", source, destination, protocol);
  return fmt::format("{}, {} bytes", text, of.ip->total_length.host());
}

/// Sends a packet to another endpoint, with right checksums; `port`: none for ESP and fragments.
void redirect(std::span<std::uint8_t> bytes, wire::Be32 address, std::optional<wire::Be16> port) {
  const Headers of(bytes);
  wire::ChecksumDelta delta;
  delta.replace(of.ip->destination, address);
  of.ip->checksum = delta.apply(of.ip->checksum);
  of.ip->destination = address;
  if (of.l4 == nullptr) return;
  if (of.ip->protocol == wire::kProtocolUdp) {
    auto& udp = *reinterpret_cast<wire::UdpHeader*>(of.l4);
    if (port) delta.replace(udp.destination_port, *port);
    if (port) udp.destination_port = *port;
    if (udp.checksum.raw() != 0) udp.checksum = delta.apply_udp(udp.checksum);
  } else if (of.ip->protocol == wire::kProtocolTcp && of.l4_size >= sizeof(wire::TcpHeader)) {
    auto& tcp = *reinterpret_cast<wire::TcpHeader*>(of.l4);
    if (port) delta.replace(tcp.destination_port, *port);
    if (port) tcp.destination_port = *port;
    tcp.checksum = delta.apply(tcp.checksum);
  } else if (of.ip->protocol == wire::kProtocolIcmp && port) {
    auto& icmp = *reinterpret_cast<wire::IcmpHeader*>(of.l4);
    wire::ChecksumDelta query;
    query.replace(icmp.identifier, *port);
    icmp.identifier = *port;
    icmp.checksum = query.apply(icmp.checksum);
  }
}

// ── the box ─────────────────────────────────────────────────────────────────────────────────────

wire::MacAddress host_mac(wire::Be32 ip) {
  wire::MacAddress mac{0x02, 0x00};
  std::memcpy(mac.data() + 2, &ip, sizeof ip);
  return mac;
}
wire::MacAddress own_mac(std::size_t interface) {
  return {0x06,
          0xFF,
          0x00,
          0x00,
          static_cast<std::uint8_t>(interface >> 8),
          static_cast<std::uint8_t>(interface)};
}

/// A frame that has left the shard.
struct Sent {
  Side side;
  std::vector<std::uint8_t> frame;
  std::size_t ip;  ///< where the IPv4 header begins
};

/// A shard without devices, and hosts that answer ARP.
class Box {
 public:
  [[nodiscard]] static std::expected<std::unique_ptr<Box>, std::string> make(
      const control::Model& model) {
    auto box = std::unique_ptr<Box>(new Box);
    box->pool_.reset(rte_pktmbuf_pool_create("replay", kBuffers, 0, datapath::kBufferPrivateSize,
                                             RTE_PKTMBUF_HEADROOM + kRoom, SOCKET_ID_ANY));
    box->indirect_.reset(rte_pktmbuf_pool_create("replay_indirect", 1023, 0,
                                                 datapath::kBufferPrivateSize, 0, SOCKET_ID_ANY));
    if (box->pool_ == nullptr || box->indirect_ == nullptr)
      return std::unexpected(fmt::format("no packet buffers: {}", rte_strerror(rte_errno)));
    box->generation_ = control::build_generation(model, nullptr);
    box->build_shard(make_plan(model));
    return box;
  }
  ~Box() {
    if (shard_ != nullptr) datapath::release_packets(*shard_);
  }

  [[nodiscard]] const shared::Generation& generation() const { return *generation_; }
  [[nodiscard]] datapath::Shard& shard() { return *shard_; }

  /// Work without packets, up to that tick.
  void keep_up(state::Ticks now) {
    for (;;) {
      datapath::housekeep(*shard_, kStep);
      collect();
      if (shard_->now == now) return;
      shard_->now = shard_->now + state::TickDuration{1};
    }
  }
  /// A packet comes in by an interface.
  void receive(shared::InterfaceId on, std::span<const std::uint8_t> ip) {
    const shared::Interface& interface = generation_->interfaces[on];
    const auto* header = reinterpret_cast<const wire::Ipv4Header*>(ip.data());
    deliver(interface.device, frame_of(own_mac(on), host_mac(header->source), interface.vlan,
                                       wire::kEtherTypeIpv4, ip));
    collect();
  }
  /// What has left since the last time.
  [[nodiscard]] std::vector<Sent> take() { return std::exchange(sent_, {}); }

 private:
  Box() = default;

  void build_shard(const Plan& plan) {
    datapath::ShardConfig config;
    config.max_sessions = plan.sessions_per_worker;
    config.max_fragments = plan.fragments_per_worker;
    config.alg = plan.alg_per_worker;
    config.devices = static_cast<std::uint16_t>(plan.ports.size());
    config.buffers = pool_.get();
    config.indirect_buffers = indirect_.get();
    config.memory = &memory_;
    config.seed = {1};  // the same run each time
    for (std::size_t i = 0; i < plan.interfaces.size(); ++i)
      config.links.push_back({own_mac(i), plan.interfaces[i].side, plan.interfaces[i].kernel});
    kernel_policer_ = std::make_unique<datapath::KernelPolicer>(plan.interfaces.size());
    config.kernel_policer = kernel_policer_.get();
    shard_ = std::make_unique<datapath::Shard>(config);
    for (std::size_t i = 0; i < plan.interfaces.size(); ++i)
      shard_->ingress[plan.interfaces[i].device][plan.interfaces[i].vlan] =
          static_cast<shared::InterfaceId>(i);
    addresses_ = store_.prepare(*generation_, 0);
    datapath::adopt_generation(*shard_, generation_.get(), addresses_.get());
    for (datapath::GenerationSweep sweep; !sweep.finished;)
      datapath::enforce_generation(*shard_, sweep, kStep);
  }

  static std::vector<std::uint8_t> frame_of(const wire::MacAddress& to,
                                            const wire::MacAddress& from, std::uint16_t vlan,
                                            std::uint16_t type,
                                            std::span<const std::uint8_t> payload) {
    std::vector<std::uint8_t> frame(to.begin(), to.end());
    frame.insert(frame.end(), from.begin(), from.end());
    const auto word = [&frame](std::uint16_t value) {
      frame.push_back(static_cast<std::uint8_t>(value >> 8));
      frame.push_back(static_cast<std::uint8_t>(value));
    };
    if (vlan != 0) {
      word(wire::kEtherTypeVlan);
      word(vlan);
    }
    word(type);
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
  }

  void deliver(std::uint16_t device, std::span<const std::uint8_t> frame) {
    rte_mbuf* const first = buffer_of(frame);
    if (first != nullptr) datapath::process_received(*shard_, device, {&first, 1});
  }
  /// nullptr: no buffer is free, or the frame is larger than all may be.
  rte_mbuf* buffer_of(std::span<const std::uint8_t> frame) {
    rte_mbuf* first = nullptr;
    for (std::size_t at = 0; at < frame.size();) {
      rte_mbuf* const piece = rte_pktmbuf_alloc(pool_.get());
      const auto size = static_cast<std::uint16_t>(std::min<std::size_t>(frame.size() - at, kRoom));
      char* const data = piece == nullptr ? nullptr : rte_pktmbuf_append(piece, size);
      if (data == nullptr || (first != nullptr && rte_pktmbuf_chain(first, piece) != 0)) {
        rte_pktmbuf_free(piece);
        rte_pktmbuf_free(first);
        shard_->counters.drop(DropReason::kNoBuffer);
        return nullptr;
      }
      std::memcpy(data, frame.data() + at, size);
      if (first == nullptr) first = piece;
      at += size;
    }
    return first;
  }

  /// Takes all frames out of the shard; ARP requests are answered. A kernel takes what it gets.
  void collect() {
    for (datapath::KernelBuffer& buffer : shard_->kernel) {
      for (std::uint32_t i = 0; i < buffer.count; ++i)
        datapath::set_fate(buffer.packets[i], datapath::KernelFate::kTaken);
      datapath::take_back(*shard_, {buffer.packets.data(), buffer.count});
      buffer.count = 0;
    }
    for (bool some = true; some;) {
      some = false;
      for (std::uint16_t device = 0; device < shard_->tx.size(); ++device) {
        datapath::TxBuffer& buffer = shard_->tx[device];
        std::vector<rte_mbuf*> frames(buffer.packets.begin(),
                                      buffer.packets.begin() + buffer.count);
        buffer.count = 0;
        some |= !frames.empty();
        for (rte_mbuf* const frame : frames) take_frame(device, frame);
      }
    }
  }
  void take_frame(std::uint16_t device, rte_mbuf* mbuf) {
    std::vector<std::uint8_t> bytes(mbuf->pkt_len);
    const void* const read = rte_pktmbuf_read(mbuf, 0, mbuf->pkt_len, bytes.data());
    if (read != bytes.data()) std::memcpy(bytes.data(), read, bytes.size());
    rte_pktmbuf_free(mbuf);
    const auto* ethernet = reinterpret_cast<const wire::EthernetHeader*>(bytes.data());
    std::uint16_t vlan = 0, type = ethernet->type.host();
    std::size_t at = sizeof *ethernet;
    if (type == wire::kEtherTypeVlan) {
      const auto* tag = reinterpret_cast<const wire::VlanTag*>(bytes.data() + at);
      vlan = tag->id();
      type = tag->type.host();
      at += sizeof *tag;
    }
    if (type == wire::kEtherTypeArp)
      return answer(device, vlan, {bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end()});
    const shared::InterfaceId on = shard_->ingress[device][vlan];
    sent_.push_back({generation_->interfaces[on].side, std::move(bytes), at});
  }
  void answer(std::uint16_t device, std::uint16_t vlan, std::vector<std::uint8_t> bytes) {
    auto* arp = reinterpret_cast<wire::ArpHeader*>(bytes.data());
    if (wire::ArpHeader::parse(bytes) == nullptr || arp->operation.host() != wire::kArpRequest ||
        arp->target_ip == arp->sender_ip)
      return;
    const wire::MacAddress to = arp->sender_mac, from = host_mac(arp->target_ip);
    arp->operation = wire::Be16::of(wire::kArpReply);
    arp->target_mac = to;
    arp->sender_mac = from;
    std::swap(arp->sender_ip, arp->target_ip);
    deliver(device, frame_of(to, from, vlan, wire::kEtherTypeArp, bytes));
  }

  PoolPtr pool_, indirect_;
  state::PageMemory memory_{state::Pages::kSmall};
  std::shared_ptr<const shared::Generation> generation_;
  datapath::lsn44::AddressStore store_;
  std::unique_ptr<datapath::lsn44::ShardAddresses> addresses_;
  std::unique_ptr<datapath::KernelPolicer> kernel_policer_;
  std::unique_ptr<datapath::Shard> shard_;
  std::vector<Sent> sent_;
};

// ── the run ─────────────────────────────────────────────────────────────────────────────────────

class Replay {
 public:
  Replay(Box& box, shared::DomainId td, std::FILE* lines) : box_(box), td_(td), lines_(lines) {}

  std::expected<void, std::string> run(const ReplayRequest& request) {
    if (auto apart = check_apart(request); !apart) return apart;
    auto capture = CaptureReader::open(request.capture);
    if (!capture) return std::unexpected(capture.error());
    for (const auto& [path, file] :
         {std::pair{&request.outside, &outside_}, std::pair{&request.inside, &inside_}}) {
      if (path->empty()) continue;
      auto opened = CaptureWriter::open(*path);
      if (!opened) return std::unexpected(opened.error());
      file->emplace(std::move(*opened));
    }
    for (;;) {
      auto packet = capture->next();
      if (!packet) return std::unexpected(packet.error());
      if (!*packet) break;
      if (packets_++ == 0) begin_ = time_ = (*packet)->time;
      run_until((*packet)->time);
      arrange(std::move(**packet));
    }
    run_until(time_ + kPatience);
    for (const auto& [between, talk] : talks_) unheard_ += talk.behind.size();
    say_summary(capture->others());
    for (auto* file : {&outside_, &inside_})
      if (*file)
        if (auto done = (*file)->finish(); !done) return done;
    return {};
  }

 private:
  static constexpr std::string_view kTaken = "taken: it waits, or was for the NAT itself";
  /// How long the run goes on behind the capture's end.
  static constexpr microseconds kPatience = std::chrono::minutes{2};

  /// A client and an IPsec server. While the ALG holds a message of theirs the rest of what they
  /// said has not been said yet: it comes as much later.
  struct Talk {
    bool waits = false;
    microseconds held_at{};    ///< in the capture: the message that is held
    microseconds behind_by{};  ///< what follows comes so much later than in the capture
    std::deque<CaptureReader::Packet> behind;
  };
  using Between = std::pair<wire::Ipv4Address, wire::Ipv4Address>;

  /// The client and the server of a packet of IKE or ESP.
  [[nodiscard]] std::optional<Between> between(std::span<std::uint8_t> ip) const {
    const Headers of(ip);
    const bool is_udp = of.ip->protocol == wire::kProtocolUdp && of.has_ports();
    const bool is_ike = is_udp && (of.word(0) == wire::kIkePort || of.word(2) == wire::kIkePort);
    if (!is_ike && of.ip->protocol != wire::kProtocolEsp) return std::nullopt;
    const wire::Ipv4Address source{of.ip->source}, destination{of.ip->destination};
    return is_client(source) ? Between{source, destination} : Between{destination, source};
  }

  /// Replays a packet of the capture now, later, or when it is known how much later.
  void arrange(CaptureReader::Packet packet) {
    const auto pair = between(packet.ip);
    const auto known = pair ? talks_.find(*pair) : talks_.end();
    if (known == talks_.end()) return replay(packet);
    Talk& talk = known->second;
    if (talk.waits) return talk.behind.push_back(std::move(packet));
    const microseconds due = packet.time + talk.behind_by;
    later_.emplace(due, std::move(packet));
  }

  /// Lets time pass, in ticks, with what is due meanwhile.
  void run_until(microseconds end) {
    for (;;) {
      const microseconds next = later_.empty() ? end : std::min(end, later_.begin()->first);
      while (time_ + kTick < next) pass(time_ + kTick);
      // A capture of several devices may go back by a few microseconds.
      pass(std::max(time_, next));
      if (later_.empty() || later_.begin()->first > end) return;
      auto packet = later_.extract(later_.begin());
      replay(packet.mapped());
    }
  }
  void pass(microseconds now) {
    time_ = now;
    box_.keep_up(state::Ticks{static_cast<std::uint32_t>((time_ - begin_) / kTick)});
    say_sent("later");
    for (auto& [pair, talk] : talks_)
      if (talk.waits && !is_held(pair)) go_on(talk);
  }
  /// The message that was held has left.
  void go_on(Talk& talk) {
    talk.waits = false;
    talk.behind_by = time_ - talk.held_at;
    for (auto& packet : std::exchange(talk.behind, {})) {
      const microseconds due = packet.time + talk.behind_by;
      later_.emplace(due, std::move(packet));
    }
  }
  [[nodiscard]] bool is_held(const Between& pair) {
    shared::Lookup lookup;
    lookup.protocol = Protocol::kEsp;
    lookup.local = pair.first;
    lookup.td = td_;
    lookup.remote = pair.second;
    datapath::look_up(box_.shard(), lookup, kStep);
    return lookup.alg.waits;
  }

  void replay(CaptureReader::Packet& packet) {
    const auto pair = between(packet.ip);
    const std::string from =
        fmt::format("{} {:.6f} {}", packet.number,
                    static_cast<double>((time_ - begin_).count()) / 1e6, describe(packet.ip));
    const auto on = prepare(packet);
    if (!on) {
      ++refused_;
      return fmt::print(lines_, "{}: not replayed: {}\n", from, on.error());
    }
    const auto drops = drops_now();
    box_.receive(*on, packet.ip);
    const std::string side = to_text(box_.generation().interfaces[*on].side);
    const std::string became = fate(drops);
    fmt::print(lines_, "{} from {}: {}\n", from, side, became);
    const bool is_taken = became.starts_with(kTaken);
    say_sent("sent");
    if (!pair || !is_taken || !is_held(*pair)) return;
    Talk& talk = talks_[*pair];
    if (!talk.waits) talk.held_at = packet.time;
    talk.waits = true;
  }

  /// The interface that a packet comes in on, after it has been made one that comes to the NAT.
  std::expected<shared::InterfaceId, std::string> prepare(CaptureReader::Packet& packet) {
    const shared::Generation& generation = box_.generation();
    const Headers of(packet.ip);
    const wire::Ipv4Address source{of.ip->source}, destination{of.ip->destination};
    if (packet.is_cut) return std::unexpected("the capture does not have all of it");
    if (generation.nat_addresses.find(source) != nullptr || generation.is_own_address({source}))
      return std::unexpected("it is from the NAT itself");
    if (is_client(source)) return interface_of(source, Side::kInside);
    if (packet.mark == CaptureMarks::Mark::kForwarded)
      return std::unexpected("it is replayed as it left inside");
    if (is_client(destination))
      if (auto done = answer_to_client(packet.ip); !done) return std::unexpected(done.error());
    return interface_of(source, Side::kOutside);
  }

  [[nodiscard]] bool is_client(wire::Ipv4Address address) const {
    return box_.generation().group_of({address, td_}) != nullptr;
  }
  /// Makes a packet that a client got one to its NAT endpoint. The rest of a fragmented one has no
  /// port, and goes where its first fragment went.
  std::expected<void, std::string> answer_to_client(std::span<std::uint8_t> ip) {
    const Headers of(ip);
    const Fragmented name{of.ip->source.raw(), of.ip->destination.raw(), of.ip->protocol,
                          of.ip->identification.raw()};
    if (is_bypassed(of)) return {};
    if (of.ip->fragment_offset() != 0) {
      if (const auto first = fragmented_.find(name); first != fragmented_.end()) {
        redirect(ip, first->second, std::nullopt);
        return {};
      }
      // A static mapping of the whole address needs no port.
      if (auto done = send_to_nat(ip); done) return done;
      return std::unexpected("it is a fragment, and its first one has not come before");
    }
    if (auto done = send_to_nat(ip); !done) return done;
    if (of.is_first_fragment()) fragmented_[name] = of.ip->destination;
    return {};
  }

  /// Whether an answer to a client comes to its own address.
  [[nodiscard]] bool is_bypassed(const Headers& of) const {
    std::optional<std::uint16_t> port;
    if (of.has_ports()) port = of.word(0);
    return datapath::lsn44::coverage_of(box_.generation(),
                                        {wire::Ipv4Address{of.ip->destination}, td_}, of.ip->source,
                                        of.ip->protocol, port) == shared::Coverage::kYes;
  }

  /// Where hosts with that address are, or the first interface of the side.
  [[nodiscard]] shared::InterfaceId interface_of(wire::Ipv4Address source, Side side) const {
    const auto& interfaces = box_.generation().interfaces;
    const auto is_there = [this, side](const shared::Interface& on) {
      return on.side == side && shared::Generation::knows(td_, on);
    };
    const shared::Route* const route = box_.generation().routes[td_].find(source.value);
    if (route != nullptr && is_there(interfaces[route->interface])) return route->interface;
    return static_cast<shared::InterfaceId>(
        std::find_if(interfaces.begin(), interfaces.end(), is_there) - interfaces.begin());
  }

  /// The static mapping of what a packet is to; nullptr: there is none.
  [[nodiscard]] const shared::StaticMapping* static_of(const shared::Lookup& to) const {
    const shared::StaticMappings* const all = box_.generation().statics.get();
    if (all == nullptr) return nullptr;
    const shared::InsideAddress inside{to.local, to.td};
    return to.protocol == Protocol::kEsp
               ? all->find_inside(inside, to.remote)
               : all->find_inside(shared::scope_of(to.protocol), inside, to.local_port, to.remote);
  }

  /// A packet as the subscriber got it: to the NAT endpoint of its session, or of its static
  /// mapping.
  std::expected<void, std::string> send_to_nat(std::span<std::uint8_t> ip) {
    const Headers of(ip);
    // Others have no sessions, as ESP of a one-to-one mapping has none.
    const auto protocol = datapath::protocol_of(of.ip->protocol);
    shared::Lookup lookup;
    lookup.protocol = protocol.value_or(Protocol::kEsp);
    lookup.local = wire::Ipv4Address{of.ip->destination};
    lookup.td = td_;
    lookup.remote = wire::Ipv4Address{of.ip->source};
    if (of.has_ports()) {
      lookup.local_port = of.word(2);
      lookup.remote_port = of.word(0);
    } else if (protocol == Protocol::kIcmp && of.l4 != nullptr) {
      lookup.local_port = of.word(4);
    }
    const shared::StaticMapping* const mapping = static_of(lookup);
    if (!protocol && mapping == nullptr)
      return std::unexpected("it is to a subscriber, and has no session");
    datapath::look_up(box_.shard(), lookup, kStep);
    if (lookup.session && lookup.protocol != Protocol::kEsp) {
      redirect(ip, lookup.session->nat_ip.be(), wire::Be16::of(lookup.session->nat_port));
      return {};
    }
    if (mapping != nullptr) {
      redirect(ip, mapping->nat_ip.be(),
               mapping->is_whole ? std::nullopt : std::optional(wire::Be16::of(mapping->nat_port)));
      return {};
    }
    // The SPIs are the same on both sides of the NAT.
    if (lookup.subscriber && lookup.subscriber->nat_ip && lookup.protocol == Protocol::kEsp) {
      redirect(ip, lookup.subscriber->nat_ip->be(), std::nullopt);
      return {};
    }
    return std::unexpected("it is to a subscriber, and no session of this run stands for it");
  }

  using Drops = std::array<std::uint64_t, shared::kDropReasons>;
  Drops drops_now() {
    Drops drops;
    for (std::size_t i = 0; i < drops.size(); ++i) drops[i] = box_.shard().counters.drops[i].get();
    return drops;
  }
  /// What became of a packet: the reasons for which something was dropped since, or what left.
  std::string fate(const Drops& before) {
    const Drops now = drops_now();
    std::string text;
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (now[i] == before[i]) continue;
      const auto reason = static_cast<DropReason>(i);
      by_reason_[reason] += now[i] - before[i];
      const auto& words = shared::text_of(reason);
      text += fmt::format("{}dropped, {}: {}", text.empty() ? "" : " ", words.name, words.meaning);
    }
    sent_ = box_.take();
    if (!text.empty()) return text;
    ++(sent_.empty() ? taken_ : forwarded_);
    return std::string(sent_.empty() ? kTaken : "forwarded");
  }

  /// The packets that have left, each in a line, and into the files.
  void say_sent(std::string_view word) {
    for (Sent& sent : box_.take()) sent_.push_back(std::move(sent));
    for (Sent& sent : std::exchange(sent_, {})) {
      const std::span ip = std::span(sent.frame).subspan(sent.ip);
      fmt::print(lines_, "    {} {}: {}\n", word, to_text(sent.side), describe(ip));
      auto& file = sent.side == Side::kOutside ? outside_ : inside_;
      if (file) file->write(time_, sent.frame);
    }
  }

  void say_summary(std::uint64_t others) {
    fmt::print(lines_, "{} packets: {} forwarded, {} taken, {} not replayed", packets_, forwarded_,
               taken_, refused_);
    for (const auto& [reason, count] : by_reason_)
      fmt::print(lines_, ", {} {}", count, shared::name_of(reason));
    if (unheard_ != 0) fmt::print(lines_, ", {} behind a message that waits", unheard_);
    fmt::print(lines_, "; {} frames that are no IPv4\n", others);
  }

  /// What is written is neither the capture, which is read meanwhile, nor both at once.
  static std::expected<void, std::string> check_apart(const ReplayRequest& files) {
    const auto is_same = [](const std::string& a, const std::string& b) {
      std::error_code none;
      const bool is_file = !a.empty() && a != "-" && !std::filesystem::is_character_file(a, none);
      return is_file && (a == b || std::filesystem::equivalent(a, b, none));
    };
    for (const auto& [option, path] :
         {std::pair{"--outside", &files.outside}, std::pair{"--inside", &files.inside}})
      if (is_same(*path, files.capture))
        return std::unexpected(
            control::complaint(option, *path, "another file than the capture that is replayed"));
    if (is_same(files.inside, files.outside))
      return std::unexpected(
          control::complaint("--inside", files.inside, "another file than that of --outside"));
    return {};
  }

  static std::string to_text(Side side) { return side == Side::kInside ? "inside" : "outside"; }

  Box& box_;
  shared::DomainId td_;  ///< of the capture's subscribers
  std::FILE* lines_;
  std::optional<CaptureWriter> outside_, inside_;
  std::vector<Sent> sent_;
  microseconds begin_{}, time_{};
  std::map<Between, Talk> talks_;
  /// A fragmented packet to a client, as the capture has it: source, destination, protocol, id.
  using Fragmented = std::tuple<std::uint32_t, std::uint32_t, std::uint8_t, std::uint16_t>;
  std::map<Fragmented, wire::Be32> fragmented_;  ///< where its first fragment went
  std::multimap<microseconds, CaptureReader::Packet> later_;
  std::uint64_t packets_ = 0, forwarded_ = 0, taken_ = 0, refused_ = 0;
  std::uint64_t unheard_ = 0;  ///< whose pair waited to the end
  std::map<DropReason, std::uint64_t> by_reason_;
};

}  // namespace

std::expected<void, std::string> replay(const control::Model& model, const ReplayRequest& request,
                                        std::FILE* lines) {
  control::Model alone = model;
  alone.dataplane.workers = {0};
  auto box = Box::make(alone);
  if (!box) return std::unexpected(box.error());
  const std::vector<shared::DomainId> domains = (*box)->generation().domains();
  if (!std::ranges::binary_search(domains, request.td))
    return std::unexpected(control::complaint("--td", fmt::format("{}", request.td),
                                              fmt::format("{}", fmt::join(domains, ", "))));
  return Replay(**box, request.td, lines).run(request);
}

std::expected<void, std::string> replay_alone(const control::Model& model,
                                              const ReplayRequest& request, std::FILE* lines) {
  EalArguments arguments;
  arguments.huge_pages = false;
  arguments.arguments = {"lsnd",           "--no-huge", "--no-pci", "--no-shconf",
                         "--no-telemetry", "-m",        "256",      "--lcores=0@0"};
  const auto eal = Eal::start(arguments);
  if (!eal) return std::unexpected(eal.error());
  return replay(model, request, lines);
}

}  // namespace lsn::runtime
