// The file sink: records as lines in segments on a disk (segment_name.hpp).
//
// A batch becomes lines, which are appended in pieces of a quarter of a megabyte; a piece that does
// not fit on the disk is taken back whole, and the batch waits (sink.hpp), so that a file never has
// a part of a line for longer than that. What a kill leaves of one is cut off when the sink begins
// again: it goes on in the segment that was open. A segment is closed when it is large enough or
// old enough; another thread (segment_closer.hpp) then compresses it and removes what is more than
// is to be kept.
//
// A segment begins with the name of the one before it and with what CONFIG records have said of the
// groups and static mappings until then (config_note.hpp). Where it answers alone, that may be all
// that is written for days: there the next segment begins as soon as the former one is closed, and
// says until when the configuration was in force.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "lsn/control/config/model.hpp"
#include "lsn/control/file_descriptor.hpp"
#include "lsn/control/records/line_writer.hpp"
#include "lsn/control/records/segment_closer.hpp"
#include "lsn/control/records/segment_index.hpp"
#include "lsn/control/records/segment_name.hpp"
#include "lsn/control/records/sink.hpp"

namespace lsn::control {

class FileSink final : public RecordSink {
 public:
  /// Lines of one write.
  static constexpr std::size_t kPiece = 256 << 10;
  /// Lines of one block of the index.
  static constexpr std::size_t kBlock = 1 << 20;

  explicit FileSink(RecordFileConfig config);

  [[nodiscard]] std::size_t write(const RecordBatch& batch, std::size_t from) override;
  void tick(std::int64_t now_ms) override;
  void finish() override;

 private:
  /// Goes on in the segment that was open when the sink ended, if there is one.
  void resume();
  [[nodiscard]] bool open(const SegmentName& name);
  /// A new segment, whose first record is of that time.
  [[nodiscard]] bool begin(std::int64_t first_ms);
  [[nodiscard]] bool write_beginning(std::int64_t first_ms);
  /// A record that was written says what is in force from now on.
  void note(std::string_view text, shared::LogEvent event);
  [[nodiscard]] bool append(const std::string& lines);
  void finish_block();
  void close();
  /// The segment is old enough, or also large enough, to be closed.
  [[nodiscard]] bool is_old(std::int64_t now_ms) const;
  [[nodiscard]] bool is_due(std::int64_t now_ms) const;
  /// A segment's name without its directory.
  [[nodiscard]] std::string called(const SegmentName& name) const;
  /// Of errors, once per kind of trouble.
  void complain(const std::string& what);

  RecordFileConfig config_;
  LineWriter writer_;
  std::unique_ptr<SegmentCloser> closer_;  ///< until finish()
  bool resumed_ = false;
  std::string complaint_;
  std::string former_;       ///< the segment before the next one; empty: there is none
  std::uint64_t notes_ = 0;  ///< that segments began with
  std::shared_ptr<const RecordNames> names_;
  struct InForce {
    std::string text;
    bool answers_alone;  ///< nothing else says whose its addresses are
  };
  std::map<std::string, InForce> in_force_;  ///< by a note's subject, what CONFIG says of it

  SegmentName name_;
  std::string file_name_;
  FileDescriptor file_;
  FileDescriptor index_;
  std::uint64_t size_ = 0;         ///< of whole lines
  std::uint64_t beginning_ = 0;    ///< of these, what the segment began with: not of rotateSize
  std::uint64_t block_begin_ = 0;  ///< of the block that is not in the index yet
  std::int64_t latest_ms_ = INT64_MIN;  ///< of the records
  BlockBuilder block_;
  std::string lines_;
};

}  // namespace lsn::control
