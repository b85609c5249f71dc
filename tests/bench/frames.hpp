// The frames that benchmarks send, and the frames expected on the other side.
//
// A flow has a number; all of its addresses and ports follow from it, so that a million of them
// need no memory that would evict the product's from the cache:
//
//   inside   100.64.0.0/10, one subscriber for every kFlowsPerSubscriber flows; ports 1024-1087
//   remote   8.0.0.0/12, port 443 (ICMP and ESP: none)
//   ESP      SPI 0x10000000 + number outbound, 0x20000000 + number inbound
//
// Frames are 60 bytes (64 with the FCS) and carry their flow's number in the payload. A FrameMaker
// holds a finished frame whose checksums lack only the fields that differ from flow to flow.
// check_frame() judges a frame by itself, with checksums summed up the slow way; nothing here uses
// the product's headers.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace lsn::bench {

inline constexpr std::uint32_t kFrameSize = 60;
/// Simple IMIX by flow, without FCS: of twelve flows seven have frames of 64 bytes, four of 594,
/// one of 1,518.
inline constexpr std::array<std::uint16_t, 12> kImix{60,  590, 60, 60,  590, 60,
                                                     590, 60,  60, 590, 60,  1514};
inline constexpr std::uint32_t kFlowsPerSubscriber = 64;
inline constexpr std::uint8_t kSentTtl = 64;

using Mac = std::array<std::uint8_t, 6>;

enum class Kind : std::uint8_t { kUdp, kTcp, kIcmp, kEsp };

/// The flags of a frame's TCP header.
inline constexpr std::uint8_t kTcpSyn = 0x02;
inline constexpr std::uint8_t kTcpSynAck = 0x12;
inline constexpr std::uint8_t kTcpAck = 0x10;

/// ICMP's types: the subscribers' query and its answer.
inline constexpr std::uint8_t kEchoRequest = 8;
inline constexpr std::uint8_t kEchoReply = 0;

/// ESP's direction, the upper bits of its SPIs; and a sequence number that is no new SA's.
inline constexpr std::uint8_t kEspOutbound = 1;
inline constexpr std::uint8_t kEspInbound = 2;
inline constexpr std::uint32_t kEspSequence = 70'000;
[[nodiscard]] constexpr std::uint32_t spi_of(std::uint8_t direction, std::uint32_t number) {
  return (std::uint32_t{direction} << 28) + number;
}

struct Endpoint {
  std::uint32_t ip = 0;    ///< host order
  std::uint16_t port = 0;  ///< ICMP: identifier, of the NAT's side

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

struct Flow {
  Endpoint inside;
  Endpoint remote;
};

[[nodiscard]] inline std::uint32_t scatter(std::uint32_t x) {
  x = (x ^ x >> 16) * 0x7FEB352D;
  x = (x ^ x >> 15) * 0x846CA68B;
  return x ^ x >> 16;
}

/// The nth flow. Subscribers come in blocks, so that neighbouring numbers belong to different ones
/// and yet N flows need no more than N / kFlowsPerSubscriber of them, rounded up to a block.
[[nodiscard]] inline Flow flow_of(std::uint32_t n) {
  constexpr std::uint32_t kBlock = 1024;  // subscribers
  const std::uint32_t in_block = n % (kBlock * kFlowsPerSubscriber);
  const std::uint32_t subscriber = n / (kBlock * kFlowsPerSubscriber) * kBlock + in_block % kBlock;
  return {{0x64400001 + subscriber, static_cast<std::uint16_t>(1024 + in_block / kBlock)},
          {0x08000001 + (scatter(n) & 0xFFFFF) % 0xFFFFE, 443}};
}

/// A cheap sequence without a pattern that a prefetcher would see.
class Sequence {
 public:
  explicit Sequence(std::uint64_t seed = 88172645463325252) : state_(seed) {}

  std::uint32_t below(std::uint32_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>(((state_ >> 32) * n) >> 32);
  }

 private:
  std::uint64_t state_;
};

// ── bytes ───────────────────────────────────────────────────────────────────────────────────────

inline void put16(std::uint8_t* at, std::uint16_t x) {
  x = __builtin_bswap16(x);
  std::memcpy(at, &x, 2);
}
inline void put32(std::uint8_t* at, std::uint32_t x) {
  x = __builtin_bswap32(x);
  std::memcpy(at, &x, 4);
}
[[nodiscard]] inline std::uint16_t get16(const std::uint8_t* at) {
  return static_cast<std::uint16_t>(at[0] << 8 | at[1]);
}
[[nodiscard]] inline std::uint32_t get32(const std::uint8_t* at) {
  return std::uint32_t{get16(at)} << 16 | get16(at + 2);
}

/// RFC 1071, in host order: sum of 16-bit words, an odd byte padded.
[[nodiscard]] inline std::uint32_t sum16(const std::uint8_t* bytes, std::size_t size) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < size; i += 2) sum += get16(bytes + i);
  if (size % 2 != 0) sum += static_cast<std::uint32_t>(bytes[size - 1] << 8);
  return sum;
}
[[nodiscard]] inline std::uint16_t folded(std::uint32_t sum) {
  sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<std::uint16_t>(sum + (sum >> 16));
}

// ── where things are in a frame without VLAN tag and IP options ─────────────────────────────────

inline constexpr std::size_t kIp = 14, kL4 = 34;
inline constexpr std::size_t kIpTtl = kIp + 8, kIpProtocol = kIp + 9, kIpChecksum = kIp + 10;
inline constexpr std::size_t kIpSource = kIp + 12, kIpDestination = kIp + 16;

[[nodiscard]] constexpr std::size_t checksum_at(Kind kind) {
  return kL4 + (kind == Kind::kUdp ? 6 : kind == Kind::kTcp ? 16 : 2);
}
/// The flow's number.
[[nodiscard]] constexpr std::size_t number_at(Kind kind) {
  return kL4 + (kind == Kind::kTcp ? 20 : 8);
}
[[nodiscard]] constexpr std::uint8_t protocol_of(Kind kind) {
  return kind == Kind::kUdp ? 17 : kind == Kind::kTcp ? 6 : kind == Kind::kEsp ? 50 : 1;
}

/// Writes the frames of one direction.
class FrameMaker {
 public:
  /// `detail`: TCP's flags, ICMP's type, ESP's direction. `size`: of a frame, kFrameSize at least.
  FrameMaker(Kind kind, const Mac& to, const Mac& from, std::uint8_t detail = 0,
             std::size_t size = kFrameSize)
      : kind_(kind), detail_(detail), rest_(size < 64 ? 0 : size - 64) {
    frame_.fill(0);
    std::memcpy(&frame_[0], to.data(), 6);
    std::memcpy(&frame_[6], from.data(), 6);
    put16(&frame_[12], 0x0800);
    frame_[kIp] = 0x45;
    const auto ip_size = static_cast<std::uint16_t>(size - kIp);
    const auto l4_size = static_cast<std::uint16_t>(size - kL4);
    put16(&frame_[kIp + 2], ip_size);
    frame_[kIpTtl] = kSentTtl;
    frame_[kIpProtocol] = protocol_of(kind);
    std::uint8_t* l4 = &frame_[kL4];
    if (kind == Kind::kUdp) {
      put16(l4 + 4, l4_size);
    } else if (kind == Kind::kTcp) {
      l4[12] = 0x50;
      l4[13] = detail;
      put16(l4 + 14, 1024);
    } else if (kind == Kind::kEsp) {
      put32(l4 + 4, kEspSequence);
    } else {
      l4[0] = detail;
    }
    for (std::size_t i = number_at(kind) + 4; i < std::min<std::size_t>(size, 64); ++i)
      frame_[i] = static_cast<std::uint8_t>(i);
    for (std::size_t i = 0; i < rest_.size(); ++i) rest_[i] = static_cast<std::uint8_t>(i);
    ip_sum_ = sum16(&frame_[kIp], 20);
    l4_sum_ =
        sum16(l4, std::min<std::size_t>(l4_size, 64 - kL4)) + sum16(rest_.data(), rest_.size());
    if (kind != Kind::kIcmp) l4_sum_ += std::uint32_t{protocol_of(kind)} + l4_size;
  }

  /// ICMP: the identifier is the port of the subscriber's or the NAT's endpoint; give the other one
  /// port 0.
  void write(std::uint8_t* out, const Endpoint& from, const Endpoint& to,
             std::uint32_t number) const {
    std::memcpy(out, frame_.data(), frame_.size());
    if (!rest_.empty()) std::memcpy(out + frame_.size(), rest_.data(), rest_.size());
    put32(out + kIpSource, from.ip);
    put32(out + kIpDestination, to.ip);
    const std::uint32_t addresses = halves(from.ip) + halves(to.ip);
    put16(out + kIpChecksum, static_cast<std::uint16_t>(~folded(ip_sum_ + addresses)));
    put32(out + number_at(kind_), number);
    if (kind_ == Kind::kEsp) {
      put32(out + kL4, spi_of(detail_, number));
      return;
    }
    std::uint32_t sum = l4_sum_ + halves(number) + from.port + to.port;
    if (kind_ == Kind::kIcmp) {
      put16(out + kL4 + 4, static_cast<std::uint16_t>(from.port + to.port));
    } else {
      put16(out + kL4, from.port);
      put16(out + kL4 + 2, to.port);
      sum += addresses;
    }
    const auto checksum = static_cast<std::uint16_t>(~folded(sum));
    put16(out + checksum_at(kind_), kind_ == Kind::kUdp && checksum == 0 ? 0xFFFF : checksum);
  }

 private:
  [[nodiscard]] static std::uint32_t halves(std::uint32_t x) { return (x >> 16) + (x & 0xFFFF); }

  Kind kind_;
  std::uint8_t detail_;
  alignas(64) std::array<std::uint8_t, 64> frame_;
  std::vector<std::uint8_t> rest_;  ///< behind frame_
  std::uint32_t ip_sum_;
  std::uint32_t l4_sum_;
};

/// The expected frame.
struct Expected {
  Kind kind = Kind::kUdp;
  Mac to{};
  Mac from{};
  Endpoint source;
  Endpoint destination;
  std::uint8_t ttl = kSentTtl - 1;
  std::uint32_t number = 0;
  std::size_t size = kFrameSize;
};

[[nodiscard]] inline std::uint32_t number_of(const std::uint8_t* frame, Kind kind) {
  return get32(frame + number_at(kind));
}
[[nodiscard]] inline Endpoint source_of(const std::uint8_t* frame, Kind kind) {
  if (kind == Kind::kEsp) return {get32(frame + kIpSource), 0};
  return {get32(frame + kIpSource), get16(frame + kL4 + (kind == Kind::kIcmp ? 4 : 0))};
}

/// "" if the frame is as expected, otherwise its fault.
[[nodiscard]] inline std::string check_frame(const std::uint8_t* frame, std::size_t size,
                                             const Expected& expected) {
  if (size != expected.size) return "size " + std::to_string(size);
  if (std::memcmp(frame, expected.to.data(), 6) != 0) return "destination MAC";
  if (std::memcmp(frame + 6, expected.from.data(), 6) != 0) return "source MAC";
  if (frame[kIpTtl] != expected.ttl) return "TTL " + std::to_string(frame[kIpTtl]);
  if (folded(sum16(frame + kIp, 20)) != 0xFFFF) return "IP checksum";
  if (expected.kind == Kind::kEsp) {
    if (get32(frame + kIpSource) != expected.source.ip) return "source address";
    if (get32(frame + kIpDestination) != expected.destination.ip) return "destination address";
    if ((get32(frame + kL4) & 0x0FFFFFFF) != expected.number) return "SPI";
    if (get32(frame + kL4 + 4) != kEspSequence) return "sequence number";
    if (number_of(frame, expected.kind) != expected.number) return "payload";
    return "";
  }
  const std::size_t l4_size = size - kL4;
  std::uint32_t sum = sum16(frame + kL4, l4_size);
  if (expected.kind != Kind::kIcmp)
    sum += sum16(frame + kIpSource, 8) + frame[kIpProtocol] + static_cast<std::uint32_t>(l4_size);
  if (folded(sum) != 0xFFFF) return "L4 checksum";
  if (get32(frame + kIpSource) != expected.source.ip) return "source address";
  if (get32(frame + kIpDestination) != expected.destination.ip) return "destination address";
  if (expected.kind == Kind::kIcmp) {
    if (get16(frame + kL4 + 4) != expected.source.port + expected.destination.port)
      return "identifier";
  } else {
    if (get16(frame + kL4) != expected.source.port) return "source port";
    if (get16(frame + kL4 + 2) != expected.destination.port) return "destination port";
  }
  if (number_of(frame, expected.kind) != expected.number) return "payload";
  return "";
}

/// An ARP frame of 60 bytes: a request (1) or a reply (2).
inline void write_arp(std::uint8_t* out, std::uint16_t operation, const Mac& sender_mac,
                      std::uint32_t sender_ip, const Mac& target_mac, std::uint32_t target_ip) {
  std::memset(out, 0, kFrameSize);
  if (operation == 1) {
    std::memset(out, 0xFF, 6);
  } else {
    std::memcpy(out, target_mac.data(), 6);
  }
  std::memcpy(out + 6, sender_mac.data(), 6);
  put16(out + 12, 0x0806);
  put16(out + 14, 1);
  put16(out + 16, 0x0800);
  out[18] = 6;
  out[19] = 4;
  put16(out + 20, operation);
  std::memcpy(out + 22, sender_mac.data(), 6);
  put32(out + 28, sender_ip);
  if (operation == 2) std::memcpy(out + 32, target_mac.data(), 6);
  put32(out + 38, target_ip);
}

}  // namespace lsn::bench
