// The index of a segment: which parts of it may have records of a NAT address and port.
//
// A segment is cut into blocks of about a megabyte of lines; of a compressed one each block is a
// zstd frame. For each block the index has where it lies, its first and last millisecond, whether
// it has records that a search must not miss (CONFIG, LOST), its *runs*, and a Bloom filter of its
// keys:
//
//   NAT address                     all records of it
//   NAT address and port            MAPPING, SESSION
//   NAT address, "a block"          BLOCK, whose ports are many
//   NAT address and SPI             ALG SESSION
//
// A run is what follows each other by its numbers (seq) of one node, worker and kind; a start or a
// stop of lsnd is one, that of a sink, and lines that are no records. So a search knows what is
// missing of records that it does not read (record_streams.hpp).
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

#include "lsn/shared/log_record.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

using SegmentKey = std::uint64_t;

[[nodiscard]] SegmentKey address_key(wire::Ipv4Address nat);
[[nodiscard]] SegmentKey port_key(wire::Ipv4Address nat, std::uint16_t port);
[[nodiscard]] SegmentKey block_key(wire::Ipv4Address nat);
[[nodiscard]] SegmentKey spi_key(wire::Ipv4Address nat, std::uint32_t spi);

enum class RunOf : std::uint8_t { kRecords, kStart, kStop, kBegin, kUnreadable };

struct SegmentRun {
  /// In place of a worker: the control side.
  static constexpr std::uint8_t kControl = 0xFF;

  std::uint32_t node = 0;  ///< index in SegmentBlock::nodes; of kUnreadable none
  std::uint8_t worker = kControl;
  shared::LogKind kind = shared::LogKind::kConfig;  ///< of the control side kConfig
  RunOf of = RunOf::kRecords;
  std::uint64_t first = 0;  ///< seq; of the control side 0
  std::uint64_t last = 0;
  std::uint64_t missing = 0;  ///< among them; of kUnreadable the lines
  /// Of its records; of kUnreadable of the records before and behind: INT64_MIN, INT64_MAX: they
  /// are in other blocks.
  std::int64_t first_ms = 0;
  std::int64_t last_ms = 0;
};

/// What an index has of a line, a record.
struct IndexedLine {
  std::int64_t at_ms = 0;
  std::string_view node;
  std::uint8_t worker = SegmentRun::kControl;
  shared::LogKind kind = shared::LogKind::kConfig;
  shared::LogEvent event = shared::LogEvent::kCompleted;
  std::uint64_t sequence = 0;
  /// kLink: it names the segment before, and says of lsnd nothing; kBegin: the sink was added.
  enum class Says : std::uint8_t { kAny, kLink, kBegin };
  Says says = Says::kAny;

  [[nodiscard]] bool is_note() const {
    return kind == shared::LogKind::kConfig || kind == shared::LogKind::kLost;
  }
};

/// One block of a segment.
struct SegmentBlock {
  std::uint64_t offset = 0;  ///< in the file
  std::uint64_t stored = 0;  ///< bytes in the file
  std::uint64_t raw = 0;     ///< bytes of its lines
  std::uint64_t records = 0;
  std::int64_t first_ms = 0;  ///< the earliest and the latest time of its records
  std::int64_t last_ms = 0;
  bool has_notes = false;  ///< CONFIG or LOST
  std::vector<std::string> nodes;
  std::vector<SegmentRun> runs;  ///< in the order of their beginnings
  std::vector<std::uint64_t> filter;

  [[nodiscard]] bool may_have(SegmentKey key) const;
};

/// Collects what a block's entry has, line by line.
class BlockBuilder {
 public:
  /// A block has at most so many runs; what is more of them is counted as not readable.
  static constexpr std::size_t kMostRuns = 1024;

  void add(const IndexedLine& line, std::span<const SegmentKey> keys);
  /// A line that is no record.
  void add_unreadable();
  [[nodiscard]] std::uint64_t records() const { return block_.records; }
  /// The entry, and the next one begins.
  [[nodiscard]] SegmentBlock finish(std::uint64_t offset, std::uint64_t bytes);

 private:
  void add_to_run(const IndexedLine& line);
  [[nodiscard]] std::uint32_t node_of(std::string_view name);
  /// The one among open_ that such a line goes on with; open_.size(): there is none.
  [[nodiscard]] std::size_t find_open(std::uint32_t node, const IndexedLine& line) const;
  /// Whether there was room.
  bool push_run(const SegmentRun& run);

  SegmentBlock block_;
  std::vector<SegmentKey> keys_;
  std::vector<std::uint32_t> open_;  ///< indices of the runs that may go on
  std::size_t latest_ = 0;           ///< in open_: of the last line
  bool after_unreadable_ = false;    ///< the last run is of lines right before the next one
};

/// What an index's file begins with.
[[nodiscard]] std::string index_head();
[[nodiscard]] std::string index_entry(const SegmentBlock& block);
/// The blocks of an index's text, up to the first that is not whole or makes no sense. nullopt: it
/// is no index.
[[nodiscard]] std::optional<std::vector<SegmentBlock>> parse_index(std::string_view text);

}  // namespace lsn::control
