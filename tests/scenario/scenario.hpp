// What scenarios share: a laboratory per test, and sentences about packets.
//
// Every scenario runs with one shard, with two of which the first one gets all packets (a device
// with one queue: what belongs to the second one is handed off), and with two that get packets in
// turn. What must come out is the same.
//
//   const Endpoint nat = translated(udp(client, server));    // goes out: whole frame compared,
//   returned(udp(server, nat), client);                      // comes back in
//   refused_from_outside(udp(outside_host, nat), DropReason::kFiltered);
//   expect_time_exceeded_inside(udp(client, server).with_ttl(1));
//
// Each of them looks at every byte of what leaves, and at the drop counters: a drop that no
// sentence speaks of fails the test at its end, as does a packet buffer that nobody gave back.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <source_location>

#include "support/lab.hpp"
#include "support/packet_builder.hpp"
#include "support/packet_checker.hpp"

namespace lsn::test {

using shared::Counters;
using shared::SessionEnd;
using shared::SessionFilter;
using shared::SessionState;

struct Sharding {
  const char* name;
  unsigned shards;
  Arrival arrival;
};

/// For GoogleTest's messages.
inline void PrintTo(const Sharding& sharding, std::ostream* to) {
  *to << sharding.name;
}

inline constexpr Sharding kShardings[] = {
    {"OneShard", 1, Arrival::kFirst},
    {"TwoShardsAllComesToTheFirst", 2, Arrival::kFirst},
    {"TwoShardsInTurn", 2, Arrival::kAlternate},
};

inline auto shardings() {
  return ::testing::ValuesIn(kShardings);
}
inline std::string sharding_name(const ::testing::TestParamInfo<Sharding>& info) {
  return info.param.name;
}

using Where = std::source_location;

inline constexpr Ip kRouter = "192.0.2.1";       ///< our address inside
inline constexpr Ip kOutside = "198.51.100.1";   ///< our address outside
inline constexpr Ip kGateway = "198.51.100.10";  ///< the next hop outside
inline constexpr Endpoint kClient = {"192.0.2.10", 40000};
inline constexpr Endpoint kServer = {"198.18.0.1", 80};

/// A packet as a host sends it: whole, or a fragment of one.
struct Sent {
  Bytes bytes;

  Sent(const IpPacket& packet) : bytes(packet.bytes()) {}  // NOLINT: a packet is one
  Sent(Bytes piece) : bytes(std::move(piece)) {}           // NOLINT: a piece is one
};

inline constexpr AppPolicy kEndpointIndependent = {.mapping = Dependence::kEndpointIndependent,
                                                   .filtering = Dependence::kEndpointIndependent};

class Laboratory : public ::testing::Test {
 protected:
  /// Packets that the test knows are counted otherwise than once.
  std::int64_t unaccounted_ = 0;

  /// Begins. Tests of shardings of their own give `sharding`.
  void start(const Config& config, const Sharding& sharding, Lab::Options options) {
    config_ = config;
    options.shards = sharding.shards;
    options.arrival = sharding.arrival;
    buffers_before_ = Lab::buffers_in_use();
    lab_ = std::make_unique<Lab>(config, options);
  }

  /// The process is killed and begins again, with other random numbers; what is given is restored.
  /// `shards`: as many from now on; none: as before.
  std::uint64_t restart(const Config& config, const std::vector<shared::StateRecord>& records,
                        std::optional<unsigned> shards = std::nullopt) {
    config_ = config;
    lab().shut_down();
    Lab::Options options = lab_->options();
    ++options.seed;
    options.shards = shards.value_or(options.shards);
    options.start += 77777;
    lab_ = std::make_unique<Lab>(config, options);
    counted_ = {};
    unaccounted_ = 0;
    return lab_->restore(records);
  }

  void TearDown() override {
    if (lab_ == nullptr) return;
    expect_drops({});
    EXPECT_THAT(lab_->faults(), ::testing::IsEmpty());
    EXPECT_EQ(lab_->unaccounted(), unaccounted_) << "a packet was not counted exactly once";
    // What still waits somewhere is dropped now.
    lab_->shut_down();
    EXPECT_EQ(Lab::buffers_in_use(), buffers_before_) << "packet buffers were lost";
  }

  [[nodiscard]] Lab& lab() { return *lab_; }
  /// The configuration that runs, for a reload to change.
  [[nodiscard]] Config& config() { return config_; }

  // ── drops ──────────────────────────────────────────────────────────────────────────────────────

  using Drops = std::map<DropReason, std::uint64_t>;

  /// Exactly these were counted since the last time.
  void expect_drops(const Drops& expected, Where where = Where::current()) {
    for (std::size_t i = 0; i < shared::kDropReasons; ++i) {
      const auto reason = static_cast<DropReason>(i);
      const std::uint64_t before = std::exchange(counted_[i], lab().drops(reason));
      const auto wanted = expected.find(reason);
      const std::uint64_t count = wanted == expected.end() ? 0 : wanted->second;
      if (counted_[i] - before != count)
        fail(where) << "drops \"" << name_of(reason) << "\": " << counted_[i] - before
                    << ", expected " << count;
    }
  }

  /// Of these reasons any number, and no others.
  void expect_only_drops(const std::vector<DropReason>& reasons, Where where = Where::current()) {
    Drops drops;
    for (const DropReason reason : reasons)
      drops[reason] = lab().drops(reason) - counted_[static_cast<std::size_t>(reason)];
    expect_drops(drops, where);
  }

  // ── frames ─────────────────────────────────────────────────────────────────────────────────────

  /// Exactly these frames, in this order.
  void expect_frames(const std::vector<Frame>& actual, const std::vector<Frame>& expected,
                     Where where = Where::current()) {
    for (std::size_t i = 0; i < std::max(actual.size(), expected.size()); ++i) {
      if (i >= expected.size()) {
        fail(where) << "frame " << i << " on device " << actual[i].device
                    << " was not expected: " << summary_of_frame(actual[i].bytes) << "\n"
                    << hexdump(actual[i].bytes);
      } else if (i >= actual.size()) {
        fail(where) << "frame " << i << " on device " << expected[i].device
                    << " is missing: " << summary_of_frame(expected[i].bytes);
      } else {
        if (actual[i].device != expected[i].device)
          fail(where) << "frame " << i << " is on device " << actual[i].device << ", expected on "
                      << expected[i].device << ": " << summary_of_frame(actual[i].bytes);
        const std::string differs = difference(expected[i].bytes, actual[i].bytes);
        if (!differs.empty()) fail(where) << "frame " << i << " differs:\n" << differs;
      }
    }
  }

  /// The only frame, as an IP packet; empty (and a failure) if there is none or more.
  Bytes only(const std::vector<Frame>& frames, unsigned device, Where where = Where::current()) {
    if (frames.size() != 1 || frames[0].device != device) {
      std::string text;
      for (const Frame& frame : frames)
        text += "\n  device " + std::to_string(frame.device) + " " + summary_of_frame(frame.bytes);
      fail(where) << "expected one frame on device " << device << ", there are " << frames.size()
                  << text;
      return {};
    }
    return behind_link(frames[0].bytes);
  }

  /// The identification of the first of these frames (a datagram that leaves in fragments gets
  /// one of the NAT's choice).
  static unsigned id_of(const std::vector<Frame>& frames, Where where = Where::current()) {
    if (!frames.empty()) return get16(behind_link(frames.front().bytes), 4);
    fail(where) << "no frame to read an identification from";
    return 0;
  }
  /// These very pieces of one datagram, in this order, under one identification.
  void expect_pieces(const std::vector<Frame>& frames, unsigned interface, Ip next_hop,
                     const IpPacket& datagram, const std::vector<std::size_t>& cuts,
                     Where where = Where::current()) {
    std::vector<Frame> expected;
    for (const Bytes& piece : datagram.with_id(id_of(frames, where)).fragments(cuts))
      expected.push_back(lab().frame_to(interface, next_hop, piece));
    expect_frames(frames, expected, where);
  }

  // ── sentences ──────────────────────────────────────────────────────────────────────────────────

  /// A subscriber's packet goes out: the same but for its source and one hop. Returns the source.
  Endpoint translated(const IpPacket& packet, Where where = Where::current()) {
    const std::vector<Frame> frames = lab().from_inside(packet.bytes());
    expect_drops({}, where);
    return expect_translated(frames, packet, 1, kGateway, where);
  }
  /// Of a packet that came in otherwise (by another interface, in several buffers, before its next
  /// hop was known): it alone has left, translated.
  Endpoint expect_translated(const std::vector<Frame>& frames, const IpPacket& packet,
                             unsigned interface = 1, Ip next_hop = kGateway,
                             Where where = Where::current()) {
    const Bytes out = only(frames, config_.interfaces[interface].device, where);
    if (out.empty()) return {};
    const Endpoint nat = source_of(out);
    expect_frames(frames, {lab().frame_to(interface, next_hop, packet.from(nat).hop().bytes())},
                  where);
    if (!config_.is_nat_address(nat.ip))
      fail(where) << to_text(nat.ip) << " is no address of a pool";
    return nat;
  }

  /// ... with this very source.
  void translated_to(const IpPacket& packet, Endpoint nat, Where where = Where::current()) {
    expect_forwarded_outside(packet, packet.from(nat), where);
  }

  /// A packet from outside comes in to that subscriber: the same but for its destination and a hop.
  void returned(const IpPacket& packet, Endpoint subscriber, Where where = Where::current()) {
    expect_forwarded_inside(packet, packet.to(subscriber), where);
  }

  /// A packet crosses the NAT and is that other one then, one hop later: an ICMP error, say, in
  /// which more than an endpoint is translated.
  void expect_forwarded_outside(const IpPacket& packet, const IpPacket& expected,
                                Where where = Where::current()) {
    const std::vector<Frame> frames = lab().from_inside(packet.bytes());
    expect_drops({}, where);
    expect_frames(frames, {lab().to_outside(expected.hop())}, where);
  }
  void expect_forwarded_inside(const IpPacket& packet, const IpPacket& expected,
                               Where where = Where::current()) {
    const std::vector<Frame> frames = lab().from_outside(packet.bytes());
    expect_drops({}, where);
    expect_frames(frames, {lab().to_inside(expected.hop())}, where);
  }

  /// Nothing comes of it but one drop.
  void refused_from_inside(const IpPacket& packet, DropReason reason,
                           Where where = Where::current()) {
    refused(lab().from_inside(packet.bytes()), reason, where);
  }
  void refused_from_outside(const IpPacket& packet, DropReason reason,
                            Where where = Where::current()) {
    refused(lab().from_outside(packet.bytes()), reason, where);
  }
  void refused(const std::vector<Frame>& frames, DropReason reason,
               Where where = Where::current()) {
    expect_frames(frames, {}, where);
    expect_drops({{reason, 1}}, where);
  }

  /// One drop, and this ICMP error back to its sender inside (or outside: device 1). Its
  /// identification is random and not looked at.
  void refused_with_error(const std::vector<Frame>& frames, DropReason reason, unsigned interface,
                          const IpPacket& error, Where where = Where::current()) {
    expect_drops({{reason, 1}}, where);
    expect_error(frames, interface, error, where);
  }
  void expect_error(const std::vector<Frame>& frames, unsigned interface, const IpPacket& error,
                    Where where = Where::current()) {
    const Bytes packet = only(frames, config_.interfaces[interface].device, where);
    if (packet.empty()) return;
    const bool inside = config_.interfaces[interface].side == Side::kInside;
    const Ip next = inside ? error.destination : kGateway;
    expect_frames(
        frames, {lab().frame_to(interface, next, error.with_id(get16(packet, 4)).bytes())}, where);
  }

  /// The ICMP error that we send about a packet: as much of it as fits in 576 bytes.
  [[nodiscard]] IpPacket our_error(const Bytes& about, Ip from, unsigned type, unsigned code,
                                   std::uint32_t rest = 0) const {
    const ByteView quoted = ByteView{about}.first(std::min<std::size_t>(about.size(), 576 - 28));
    return icmp_error(from, source_of(about).ip, type, code, quoted, rest).with_tos(0xC0);
  }

  // A packet that comes in on that side is dropped and answered there, by an ICMP error with its
  // quote or by a reset.

  void expect_time_exceeded_inside(const Sent& packet, Where where = Where::current()) {
    refused_with_error(lab().from_inside(packet.bytes), DropReason::kTtlExpired, 0,
                       our_error(packet.bytes, kRouter, kTimeExceeded, 0), where);
  }
  void expect_time_exceeded_outside(const Sent& packet, Where where = Where::current()) {
    refused_with_error(lab().from_outside(packet.bytes), DropReason::kTtlExpired, 1,
                       our_error(packet.bytes, kOutside, kTimeExceeded, 0), where);
  }
  void expect_fragmentation_needed_inside(const Sent& packet, unsigned mtu,
                                          Where where = Where::current()) {
    refused_with_error(lab().from_inside(packet.bytes), DropReason::kFragmentationNeeded, 0,
                       our_error(packet.bytes, kRouter, kUnreachable, 4, mtu), where);
  }
  void expect_fragmentation_needed_outside(const Sent& packet, unsigned mtu,
                                           Where where = Where::current()) {
    refused_with_error(lab().from_outside(packet.bytes), DropReason::kFragmentationNeeded, 1,
                       our_error(packet.bytes, kOutside, kUnreachable, 4, mtu), where);
  }
  /// Something of the NAT's is used up: communication administratively prohibited, or that code.
  void expect_unreachable_inside(const Sent& packet, DropReason reason, unsigned code = 13,
                                 Where where = Where::current()) {
    refused_with_error(lab().from_inside(packet.bytes), reason, 0,
                       our_error(packet.bytes, kRouter, kUnreachable, code), where);
  }
  /// An interface's address has no such port. The answer comes from the address that was asked.
  void expect_port_unreachable_inside(const Sent& packet, Where where = Where::current()) {
    refused_with_error(lab().from_inside(packet.bytes), DropReason::kNoListener, 0,
                       our_error(packet.bytes, destination_of(packet.bytes).ip, kUnreachable, 3),
                       where);
  }
  void expect_port_unreachable_outside(const Sent& packet, Where where = Where::current()) {
    refused_with_error(lab().from_outside(packet.bytes), DropReason::kNoListener, 1,
                       our_error(packet.bytes, destination_of(packet.bytes).ip, kUnreachable, 3),
                       where);
  }
  void expect_reset_inside(const IpPacket& segment, Where where = Where::current()) {
    refused_with_error(lab().from_inside(segment.bytes()), DropReason::kNoListener, 0,
                       reset_of(segment), where);
  }
  void expect_reset_outside(const IpPacket& segment, Where where = Where::current()) {
    refused_with_error(lab().from_outside(segment.bytes()), DropReason::kNoListener, 1,
                       reset_of(segment), where);
  }
  /// The reset of a segment to no connection (RFC 9293 section 3.10.7.1).
  [[nodiscard]] static IpPacket reset_of(const IpPacket& segment) {
    const bool acknowledges = (segment.flags & kAck) != 0;
    IpPacket reset = tcp(segment.destination_endpoint(), segment.source_endpoint(),
                         acknowledges ? kRst : kRst | kAck);
    reset.sequence = acknowledges ? segment.acknowledgment : 0;
    reset.acknowledgment = 0;
    if (!acknowledges) {
      reset.acknowledgment = segment.sequence + static_cast<std::uint32_t>(segment.payload.size());
      for (const unsigned flag : {kSyn, kFin})
        if ((segment.flags & flag) != 0) ++reset.acknowledgment;
    }
    reset.window = 0;
    return reset;
  }

  // ── state ──────────────────────────────────────────────────────────────────────────────────────

  /// The shard that serves a subscriber by the present map, and the one that has a NAT address.
  [[nodiscard]] unsigned owner_of(Ip subscriber) {
    return lab().generation().maps.front()->owner_of({wire::Ipv4Address{subscriber.value}});
  }
  [[nodiscard]] unsigned owner_of_nat(Ip nat) {
    return lab().generation().nat_addresses.find(wire::Ipv4Address{nat.value})->owner;
  }

  /// How many sessions have ended for that reason.
  [[nodiscard]] std::uint64_t ended(Protocol protocol, SessionEnd why) {
    std::uint64_t sum = 0;
    for (unsigned id = 0; id < lab().shards(); ++id)
      sum += lab().shard(id).counters.of(protocol).ended[static_cast<std::size_t>(why)].get();
    return sum;
  }

  /// Others have all ports of a NAT address from 1024 on but the last so many; returns how many are
  /// left.
  unsigned take_high_ports(Ip nat, Protocol protocol, unsigned leave) {
    const auto* place = lab().generation().nat_addresses.find(wire::Ipv4Address{nat.value});
    auto& ports = lab()
                      .shard(place->owner)
                      .lsn44.addresses->by_number[place->number]
                      ->ports[static_cast<std::size_t>(protocol)];
    unsigned left = 0;
    for (unsigned port = 65535; port >= 1024; --port) {
      if (ports.is_taken(static_cast<std::uint16_t>(port))) continue;
      if (left != leave)
        ++left;
      else
        (void)ports.take_exact(static_cast<std::uint16_t>(port));
    }
    return left;
  }

  [[nodiscard]] std::vector<SessionRow> sessions(const SessionFilter& filter = {}) {
    return lab().sessions(filter);
  }

  static std::uint64_t count(const std::vector<SessionRow>& rows, auto&& is) {
    return static_cast<std::uint64_t>(std::count_if(rows.begin(), rows.end(), is));
  }

  /// Collects a message and reports it at the test's line.
  class Failure {
   public:
    explicit Failure(Where where) : where_(where) {}
    Failure(const Failure&) = delete;
    Failure& operator=(const Failure&) = delete;
    ~Failure() {
      ADD_FAILURE_AT(where_.file_name(), static_cast<int>(where_.line())) << text_.str();
    }
    template <class T>
    Failure& operator<<(const T& value) {
      text_ << value;
      return *this;
    }

   private:
    Where where_;
    std::ostringstream text_;
  };
  static Failure fail(Where where) { return Failure{where}; }

 private:
  Config config_;
  std::unique_ptr<Lab> lab_;
  std::array<std::uint64_t, shared::kDropReasons> counted_{};
  std::size_t buffers_before_ = 0;
};

/// A test that runs with every sharding.
class Scenario : public Laboratory, public ::testing::WithParamInterface<Sharding> {
 protected:
  void start(const Config& config = Config::standard(), const Lab::Options& options = {}) {
    Laboratory::start(config, GetParam(), options);
  }
};

}  // namespace lsn::test
