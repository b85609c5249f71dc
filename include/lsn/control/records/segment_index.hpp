// The index of a segment: which parts of it may have records of a NAT address and port.
//
// A segment is cut into blocks of about a megabyte of lines; of a compressed one each block is a
// zstd frame. For each block the index has where it lies, its first and last millisecond, whether
// it has records that a search must not miss (CONFIG, LOST), and a Bloom filter of its keys:
//
//   NAT address                     all records of it
//   NAT address and port            MAPPING, SESSION
//   NAT address, "a block"          BLOCK, whose ports are many
//   NAT address and SPI             ALG SESSION
//
// A key's bits lie in one cache line of the filter, so that a look-up costs one; about one block in
// a hundred is read in vain. The file is a head and the blocks' entries one after the other, all
// numbers little endian; an entry is written when its block is complete, so after a crash the last
// lines of a segment are in none and are read as they are.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

using SegmentKey = std::uint64_t;

[[nodiscard]] SegmentKey address_key(wire::Ipv4Address nat);
[[nodiscard]] SegmentKey port_key(wire::Ipv4Address nat, std::uint16_t port);
[[nodiscard]] SegmentKey block_key(wire::Ipv4Address nat);
[[nodiscard]] SegmentKey spi_key(wire::Ipv4Address nat, std::uint32_t spi);

/// One block of a segment.
struct SegmentBlock {
  std::uint64_t offset = 0;  ///< in the file
  std::uint64_t stored = 0;  ///< bytes in the file
  std::uint64_t raw = 0;     ///< bytes of its lines
  std::uint64_t records = 0;
  std::int64_t first_ms = 0;  ///< the earliest and the latest time of its records
  std::int64_t last_ms = 0;
  bool has_notes = false;  ///< CONFIG or LOST
  std::vector<std::uint64_t> filter;

  [[nodiscard]] bool may_have(SegmentKey key) const;
};

/// Collects what a block's entry has, line by line.
class BlockBuilder {
 public:
  void add(std::int64_t at_ms, bool is_note, std::span<const SegmentKey> keys);
  [[nodiscard]] std::uint64_t records() const { return block_.records; }
  /// The entry, and the next one begins.
  [[nodiscard]] SegmentBlock finish(std::uint64_t offset, std::uint64_t bytes);

 private:
  SegmentBlock block_;
  std::vector<SegmentKey> keys_;
};

/// What an index's file begins with.
[[nodiscard]] std::string index_head();
[[nodiscard]] std::string index_entry(const SegmentBlock& block);
/// The blocks of an index's text, up to the first that is not whole or makes no sense. nullopt: it
/// is no index.
[[nodiscard]] std::optional<std::vector<SegmentBlock>> parse_index(std::string_view text);

}  // namespace lsn::control
