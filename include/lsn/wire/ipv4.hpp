// IPv4 headers (RFC 791): a view that exists only where the bytes are all there.
//
// Ipv4Header::parse() is the one gate: afterwards header_size() and total_size() lie within the
// bytes that were given, and no later function checks them again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "lsn/wire/big_endian.hpp"
#include "lsn/wire/checksum.hpp"

namespace lsn::wire {

inline constexpr std::uint8_t kProtocolIcmp = 1;
inline constexpr std::uint8_t kProtocolTcp = 6;
inline constexpr std::uint8_t kProtocolUdp = 17;
inline constexpr std::uint8_t kProtocolIpv6 = 41;
inline constexpr std::uint8_t kProtocolGre = 47;
inline constexpr std::uint8_t kProtocolEsp = 50;
inline constexpr std::uint8_t kProtocolAh = 51;
inline constexpr std::uint8_t kProtocolIcmpv6 = 58;
inline constexpr std::uint8_t kProtocolSctp = 132;

enum class Ipv4Error : std::uint8_t {
  kTooShort,
  kVersion,
  kHeaderLength,
  kTotalLength,  ///< below the header's
  kTruncated,    ///< beyond the bytes
  kChecksum
};

/// Whether the header's checksum is looked at; a NIC may have done it.
enum class HeaderChecksum : std::uint8_t { kVerify, kTrust };

struct Ipv4Header {
  std::uint8_t version_and_size;
  std::uint8_t type_of_service;
  Be16 total_length;
  Be16 identification;
  Be16 flags_and_offset;
  std::uint8_t ttl;
  std::uint8_t protocol;
  Be16 checksum;
  Be32 source;
  Be32 destination;

  static constexpr std::uint16_t kDontFragment = 0x4000;
  static constexpr std::uint16_t kMoreFragments = 0x2000;
  static constexpr std::uint16_t kOffsetMask = 0x1FFF;

  /// Bytes of the header, 20 to 60.
  [[nodiscard]] std::size_t header_size() const { return (version_and_size & 0x0Fu) * 4u; }
  /// Bytes of header and payload.
  [[nodiscard]] std::size_t total_size() const { return total_length.host(); }
  [[nodiscard]] std::size_t payload_size() const { return total_size() - header_size(); }

  [[nodiscard]] bool dont_fragment() const {
    return (flags_and_offset.host() & kDontFragment) != 0;
  }
  [[nodiscard]] bool more_fragments() const {
    return (flags_and_offset.host() & kMoreFragments) != 0;
  }
  /// Where a fragment's payload begins in its datagram's, in bytes.
  [[nodiscard]] std::uint32_t fragment_offset() const {
    return (flags_and_offset.host() & kOffsetMask) * 8u;
  }
  [[nodiscard]] bool is_fragment() const {
    return (flags_and_offset.raw() & Be16::of(kMoreFragments | kOffsetMask).raw()) != 0;
  }

  [[nodiscard]] const std::uint8_t* payload() const {
    return reinterpret_cast<const std::uint8_t*>(this) + header_size();
  }
  [[nodiscard]] std::uint8_t* payload() {
    return reinterpret_cast<std::uint8_t*>(this) + header_size();
  }

  /// Whether anything follows the fixed part.
  [[nodiscard]] bool has_options() const { return version_and_size != 0x45; }
  /// Whether an option says which way it is to go: loose (131) or strict (137) source route (RFC
  /// 791 section 3.1). The whole header is there.
  [[nodiscard]] bool has_source_route() const {
    constexpr std::uint8_t kEnd = 0, kNoOperation = 1, kLoose = 131, kStrict = 137;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(this);
    const std::size_t size = header_size();
    for (std::size_t at = sizeof(Ipv4Header); at < size && bytes[at] != kEnd;) {
      if (bytes[at] == kLoose || bytes[at] == kStrict) return true;
      if (bytes[at] == kNoOperation) {
        ++at;
      } else {
        if (at + 1 >= size || bytes[at + 1] < 2) return false;
        at += bytes[at + 1];
      }
    }
    return false;
  }

  /// Another identification; the checksum follows.
  void set_identification(Be16 value) {
    ChecksumDelta delta;
    delta.replace(identification, value);
    identification = value;
    checksum = delta.apply(checksum);
  }

  /// One hop less; the checksum follows. The caller has seen that ttl > 0.
  void decrement_ttl() {
    ChecksumDelta delta;
    const Be16 before = ttl_word();
    --ttl;
    delta.replace(before, ttl_word());
    checksum = delta.apply(checksum);
  }

  /// Computes the whole checksum again.
  void update_checksum() {
    checksum = Be16{};
    checksum = wire::checksum(reinterpret_cast<const std::uint8_t*>(this), header_size());
  }

  /// The header that begins here. `bytes` begins behind the link header; it may be longer than the
  /// packet (padding).
  [[nodiscard]] static std::expected<Ipv4Header*, Ipv4Error> parse(
      std::span<std::uint8_t> bytes, HeaderChecksum mode = HeaderChecksum::kVerify) {
    const auto result = parse(std::span<const std::uint8_t>(bytes), mode);
    if (!result) return std::unexpected(result.error());
    return const_cast<Ipv4Header*>(*result);
  }

  [[nodiscard]] static std::expected<const Ipv4Header*, Ipv4Error> parse(
      std::span<const std::uint8_t> bytes, HeaderChecksum mode = HeaderChecksum::kVerify) {
    if (bytes.size() < sizeof(Ipv4Header)) return std::unexpected(Ipv4Error::kTooShort);
    const auto* header = reinterpret_cast<const Ipv4Header*>(bytes.data());
    if (header->has_options()) [[unlikely]] {  // or anything else that is not usual
      if (header->version_and_size >> 4 != 4) return std::unexpected(Ipv4Error::kVersion);
      if (header->header_size() < sizeof(Ipv4Header))
        return std::unexpected(Ipv4Error::kHeaderLength);
    }
    if (header->total_size() < header->header_size())
      return std::unexpected(Ipv4Error::kTotalLength);
    if (header->total_size() > bytes.size()) return std::unexpected(Ipv4Error::kTruncated);
    // RFC 1812 section 5.2.2
    if (mode == HeaderChecksum::kVerify && !header->checksum_is_right())
      return std::unexpected(Ipv4Error::kChecksum);
    return header;
  }

 private:
  [[nodiscard]] bool checksum_is_right() const {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(this);
    // A header without options is one whose size the compiler knows.
    const std::size_t size = header_size();
    const Be16 sum = size == sizeof(Ipv4Header) ? wire::checksum(bytes, sizeof(Ipv4Header))
                                                : wire::checksum(bytes, size);
    return sum.raw() == 0;
  }
  [[nodiscard]] Be16 ttl_word() const {
    return Be16::raw(static_cast<std::uint16_t>(ttl | protocol << 8));
  }
};
static_assert(sizeof(Ipv4Header) == 20 && alignof(Ipv4Header) == 1);

}  // namespace lsn::wire
