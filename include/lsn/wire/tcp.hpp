// TCP headers (RFC 9293 section 3.1).
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "lsn/wire/big_endian.hpp"

namespace lsn::wire {

struct TcpHeader {
  Be16 source_port;
  Be16 destination_port;
  Be32 sequence;
  Be32 acknowledgment;
  std::uint8_t data_offset;  ///< 32-bit words, in the upper half
  std::uint8_t flags;
  Be16 window;
  Be16 checksum;
  Be16 urgent;

  static constexpr std::uint8_t kFin = 0x01;
  static constexpr std::uint8_t kSyn = 0x02;
  static constexpr std::uint8_t kRst = 0x04;
  static constexpr std::uint8_t kAck = 0x10;

  [[nodiscard]] std::size_t header_size() const { return (data_offset >> 4) * 4u; }

  /// The header that begins here; nullptr: too short, or a data offset below 5 or beyond the
  /// bytes.
  [[nodiscard]] static TcpHeader* parse(std::span<std::uint8_t> payload) {
    if (payload.size() < sizeof(TcpHeader)) return nullptr;
    auto* tcp = reinterpret_cast<TcpHeader*>(payload.data());
    const std::size_t size = tcp->header_size();
    return size < sizeof(TcpHeader) || size > payload.size() ? nullptr : tcp;
  }
};
static_assert(sizeof(TcpHeader) == 20 && alignof(TcpHeader) == 1);

/// Kinds of options.
inline constexpr std::uint8_t kTcpOptionMss = 2, kTcpOptionScale = 3;

/// Calls see(kind, data) for each option of a header that parse() has checked, but for padding.
/// Ends at the end of the list, or at an option whose length is impossible (RFC 9293 section 3.1).
template <class Header, class See>
  requires std::same_as<std::remove_const_t<Header>, TcpHeader>
void for_each_tcp_option(Header& tcp, See&& see) {
  using Byte = std::conditional_t<std::is_const_v<Header>, const std::uint8_t, std::uint8_t>;
  constexpr std::uint8_t kEnd = 0, kNoOperation = 1;
  Byte* at = reinterpret_cast<Byte*>(&tcp) + sizeof(TcpHeader);
  Byte* const end = reinterpret_cast<Byte*>(&tcp) + tcp.header_size();
  while (at < end && *at != kEnd) {
    if (*at == kNoOperation) {
      ++at;
      continue;
    }
    if (end - at < 2 || at[1] < 2 || at[1] > end - at) return;
    see(at[0], std::span<Byte>(at + 2, at[1] - std::size_t{2}));
    at += at[1];
  }
}

}  // namespace lsn::wire
