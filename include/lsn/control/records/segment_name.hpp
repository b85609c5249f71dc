// The files of a file sink: its segments and their indexes.
//
//   PATH-20261201T003129Z.log         a segment of text, with the second of its first record
//   PATH-20261201T003129Z.json        of JSON
//   PATH-20261201T003129Z-2.log       the second one that began in that second
//   PATH-20261201T003129Z.log.zst     a closed one, compressed
//   SEGMENT.idx                       its index (segment_index.hpp)
//
// The names of a path's segments sort in the order of their times.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {

/// A sink's in config/lsnd.conf.
inline constexpr const char* kUsualRecordPath = "/var/log/lsnd/records";
inline constexpr std::string_view kIndexEnding = ".idx";
inline constexpr std::string_view kZstdEnding = ".zst";

struct SegmentName {
  std::int64_t second = 0;  ///< since 1970
  unsigned number = 1;      ///< of those that began in that second
  RecordFormat format = RecordFormat::kText;
  bool compressed = false;

  /// Behind the sink's path.
  [[nodiscard]] std::string text() const;
  /// nullopt: no segment is called so.
  [[nodiscard]] static std::optional<SegmentName> parse(std::string_view text);

  friend auto operator<=>(const SegmentName&, const SegmentName&) = default;
};

/// The segments of a path that there are, in the order of their times; without those whose
/// compressed form stands beside them: the uncompressed one counts.
[[nodiscard]] std::vector<SegmentName> segments_of(const std::string& path);

}  // namespace lsn::control
