// PathWitness learns the subscriber of a NAT endpoint from the outside alone: packets carry a mark
// in their payload, the witness sees them before and behind the NAT and reports a packet that was
// delivered to another subscriber than the one that has been using the endpoint it was sent to.
//
// It judges only what is certain: packets that are whole, marked and unspoiled, and endpoints that
// were in use within the last seconds, when nothing can have expired yet. A packet that leaves
// without a mark makes its endpoint unknown.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "lsn/state/ticks.hpp"
#include "support/packet_builder.hpp"
#include "support/packet_checker.hpp"

namespace lsn::test {

class PathWitness {
 public:
  /// Writes a mark into a packet that has room for one.
  void mark(IpPacket& packet) {
    // IKE and ESP in UDP have fields of their own in place of the mark.
    const auto is_ikes = [](unsigned port) { return port == 500 || port == 4500; };
    if (packet.payload.size() < kMark || !is_watched(packet.protocol) ||
        is_ikes(packet.source_port) || is_ikes(packet.destination_port))
      return;
    ++serial_;
    for (std::size_t i = 0; i < kMark; ++i)
      packet.payload[i] =
          static_cast<std::uint8_t>(i < 2 ? kMagic >> 8 * i : serial_ >> 8 * (i - 2));
  }

  /// A host sends an IP packet.
  void sent(unsigned device, ByteView packet) {
    if (const auto serial = mark_of(packet))
      sent_[serial % sent_.size()] = {serial, device, protocol_of(packet), source_of(packet),
                                      destination_of(packet)};
  }

  /// An IP packet leaves. Returns the fault, or empty.
  std::string left(unsigned device, ByteView packet, state::Ticks now) {
    const unsigned protocol = protocol_of(packet);
    if (!is_watched(protocol) || is_later_fragment(packet)) return {};
    const Endpoint source = source_of(packet);
    const Endpoint destination = destination_of(packet);
    const std::uint32_t serial = mark_of(packet);
    const Sent& from = sent_[serial % sent_.size()];
    const bool known = serial != 0 && from.serial == serial && from.protocol == protocol;
    std::string wrong;
    // Translated from inside: it went outside, or to another subscriber's NAT address.
    if (known && from.device == 0)
      wrong = owns({protocol, source}, from.source, now, "left by the endpoint of");
    else if (device == 1 || !known)
      owners_.erase({protocol, source});
    if (known && device == 0 && wrong.empty())
      wrong = owns({protocol, from.destination}, destination, now, "is for");
    if (!wrong.empty()) wrong += cat({": ", to_text(source), " to ", to_text(destination)});
    return wrong;
  }

  /// After a reload, a restart: every endpoint may be another subscriber's.
  void forget() { owners_.clear(); }

 private:
  static constexpr std::size_t kMark = 6;
  static constexpr unsigned kMagic = 0x5AC3;
  static constexpr state::TickDuration kSure = std::chrono::seconds{5};

  struct Sent {
    std::uint32_t serial = 0;
    unsigned device = 0;
    unsigned protocol = 0;
    Endpoint source, destination;
  };
  struct Owner {
    Endpoint inside;
    state::Ticks seen;
  };
  using Key = std::pair<unsigned, Endpoint>;

  // ICMP's identifiers are not told from one another by their packets' direction alone; IKE's
  // endpoint may be that of several clients.
  static bool is_watched(unsigned protocol) { return protocol == kUdp || protocol == kTcp; }
  static std::size_t header_of(ByteView packet) { return (get8(packet, 0) & 15u) * 4; }
  static bool is_later_fragment(ByteView packet) { return (get16(packet, 6) & 0x1FFF) != 0; }

  /// 0: it has none, or not all of it.
  static std::uint32_t mark_of(ByteView packet) {
    if (packet.size() < 20 || !is_watched(protocol_of(packet)) || (get16(packet, 6) & 0x3FFF) != 0)
      return 0;
    std::size_t at = header_of(packet);
    if (packet.size() < at + 20) return 0;
    at += protocol_of(packet) == kUdp ? 8 : (get8(packet, at + 12) >> 4) * 4u;
    if (packet.size() < at + kMark) return 0;
    for (std::size_t i = 0; i < 2; ++i)
      if (get8(packet, at + i) != (kMagic >> 8 * i & 0xFF)) return 0;
    std::uint32_t serial = 0;
    for (std::size_t i = 2; i < kMark; ++i)
      serial |= std::uint32_t{get8(packet, at + i)} << 8 * (i - 2);
    return serial;
  }

  std::string owns(const Key& key, Endpoint inside, state::Ticks now, const char* how) {
    if (key.second.port == 500) return {};
    const auto [at, made] = owners_.try_emplace(key, Owner{inside, now});
    if (!made && at->second.inside != inside && (at->second.seen + kSure).later_than(now))
      return cat({"what ", how, " ", to_text(inside), " is of ", to_text(at->second.inside)});
    at->second = {inside, now};
    return {};
  }

  std::uint32_t serial_ = 0;
  std::array<Sent, 64> sent_;
  std::map<Key, Owner> owners_;
};

}  // namespace lsn::test
