// What is missing of the records by what their segments' indexes have of them (segment_index.hpp).
//
// A *life* of a node is from a start of lsnd to its stop. In it each worker counts its records of
// each kind from 0, so that what is not there of these numbers was lost between the records beside
// it. A life that has no stop has ended nobody knows when: what was between its last record and the
// next start is not known. Segments of several sinks and directories make one stream: a number
// counts wherever it is found.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lsn/control/records/segment_index.hpp"
#include "lsn/shared/log_record.hpp"

namespace lsn::control {

class RecordStreams {
 public:
  /// What is missing, from the last moment before it until the first behind it.
  struct Lack {
    enum class Of : std::uint8_t {
      kNumbers,  ///< of a worker's records of a kind
      kAny,      ///< of any kind: lines that cannot be read, a start that is in no record
      kLife,     ///< of any kind, at the end of one without a stop
    };

    Of of;
    std::string node;  ///< empty: of any
    shared::LogKind kind = shared::LogKind::kLost;
    std::uint64_t records = 0;  ///< 0: not known
    std::int64_t from_ms = INT64_MIN;
    std::int64_t until_ms = INT64_MAX;
    std::string words;
  };
  /// The records of a node.
  struct Node {
    std::optional<std::int64_t> first_start_ms;
    std::int64_t last_ms = INT64_MIN;
    bool is_stopped = false;  ///< by its last record
  };

  /// The blocks of a sink, in the order of its segments. `segment`: for words.
  void see(const std::string& sink, const std::string& segment, const SegmentBlock& block);
  /// All are seen: finds what is missing.
  void finish();

  [[nodiscard]] const std::vector<Lack>& lacks() const { return lacks_; }
  [[nodiscard]] const std::map<std::string, Node>& nodes() const { return nodes_; }

 private:
  using Stream = std::pair<std::uint8_t, shared::LogKind>;  ///< of a worker and kind
  struct Life {
    std::map<Stream, std::vector<SegmentRun>> runs;
    std::int64_t last_ms = INT64_MIN;
    std::optional<std::int64_t> stopped_ms;
    bool has_start = false;  ///< in a record
  };
  /// A node's records in one sink.
  struct Place {
    /// When the life began; nullopt: before the sink's first record of it.
    std::optional<std::int64_t> life;
    std::optional<std::int64_t> stopped_ms;  ///< nothing comes but a start
    std::int64_t last_ms = INT64_MIN;
    std::map<Stream, SegmentRun> latest;
  };

  void see(const std::string& sink, const std::string& node, const SegmentRun& run);
  void see_numbers(Place& place, const std::string& node, const SegmentRun& run);
  /// A sink begins that had no records before, or none for some time.
  void see_begin(Place& place, const std::string& node, const SegmentRun& run);
  /// A life whose start is in no record.
  void begin_hidden(Place& place, const std::string& node, std::int64_t from_ms,
                    std::int64_t until_ms);
  /// Records of sinks without the start before them are of the life that went on then.
  void place_early();
  void find_gaps(const std::string& node, std::int64_t begun_ms, Life& life);
  void find_ends(const std::string& node, const std::map<std::int64_t, Life>& lives);

  std::map<std::string, std::map<std::int64_t, Life>> lives_;  ///< by node and beginning
  std::map<std::pair<std::string, std::string>, Place> places_;
  std::vector<std::pair<std::string, SegmentRun>> early_;  ///< of a node, of no known life
  std::map<std::string, std::size_t> open_lacks_;          ///< by sink: its lines ended a block
  std::map<std::string, std::int64_t> latest_;             ///< by sink
  std::map<std::string, Node> nodes_;
  std::vector<Lack> lacks_;
};

}  // namespace lsn::control
