// What happens to a segment after it was closed: it is compressed, and in time removed.
//
// On a thread of its own, so that records never wait for it. Each block of the index becomes a zstd
// frame: zstdcat reads the whole, a search only the frames that it needs. The compressed segment
// and its index are complete under their names before the plain ones go; what a kill leaves of one
// is begun again. If the disk is full, a segment cannot be read whole, or zstd fails, the plain one
// stays and is tried again with the next one.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "lsn/control/config/model.hpp"
#include "lsn/control/records/segment_name.hpp"

namespace lsn::control {

class SegmentCloser {
 public:
  explicit SegmentCloser(RecordFileConfig config);
  /// Waits for the file under way: some seconds.
  ~SegmentCloser();
  SegmentCloser(const SegmentCloser&) = delete;
  SegmentCloser& operator=(const SegmentCloser&) = delete;

  /// The segment that is written from now on, before its file is made: it is left alone. Nothing:
  /// none is.
  void set_open(std::optional<SegmentName> open);
  /// There may be closed segments.
  void look();

 private:
  void run();
  void work();
  [[nodiscard]] bool is_open(const SegmentName& name);
  /// Whether to go on with the next one.
  [[nodiscard]] bool compress(const SegmentName& name);
  /// Says why a segment is not compressed, which no other one is kept from.
  [[nodiscard]] static bool leave(const std::string& segment, std::string_view why);
  void remove(const SegmentName& name);

  RecordFileConfig config_;
  std::mutex mutex_;
  std::condition_variable woken_;
  bool asked_ = false;
  bool ending_ = false;
  std::optional<SegmentName> open_;
  std::thread thread_;  // the last: it uses the others
};

}  // namespace lsn::control
