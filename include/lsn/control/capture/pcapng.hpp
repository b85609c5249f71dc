// Blocks of a pcapng file (draft-ietf-opsawg-pcapng), as far as `start capture` writes them;
// libpcap 1.10 reads such files and cannot write them.
//
// A file is a Section Header Block, an Interface Description Block for each interface, and an
// Enhanced Packet Block for each frame. A block is whole in itself: its type, its length, its
// fields, options, and its length again, all in units of 32 bits and in the byte order of this
// machine. So a file that ends behind any block is a good one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lsn::control::pcapng {

/// Section Header Block: the file begins. `application` has written it; `comment`: what is in it.
void begin_section(std::string& out, std::string_view application, std::string_view comment);

/// Interface Description Block of an Ethernet interface, with times in nanoseconds. The first one
/// has the number 0.
void describe_interface(std::string& out, std::string_view name, std::string_view description,
                        std::uint32_t snap_length);

/// As seen from the box whose interface it is.
enum class Way : std::uint32_t { kInbound = 1, kOutbound = 2 };

struct Packet {
  std::uint32_t interface;
  std::int64_t time;  ///< nanoseconds since 1970
  std::uint32_t length;
  std::span<const std::uint8_t> bytes;  ///< of it
  Way way;
  std::uint64_t lost_before;  ///< packets that should stand between it and the one before
  std::string_view comment;
};
/// Enhanced Packet Block.
void add_packet(std::string& out, const Packet& packet);

}  // namespace lsn::control::pcapng
