// `start capture`: one capture at a time, from the command to the last block of its file.
//
// start() gives the file to a thread of the capture's own; when it has created it, the workers get
// their filter and a ring each (tick()). They write into the rings what fits (datapath/
// capture_tap.hpp), the thread makes blocks of it, in the order of time within a round, and writes
// them. The capture ends by stop(), by its time, by the number of packets, by the size of its file,
// or if a write fails: the workers are told to write nothing more, what is in the rings then is
// written, the file is closed.
//
// What a ring could not take is counted, and said in the packet that follows it and in every
// answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "lsn/control/config/model.hpp"
#include "lsn/control/dataplane.hpp"
#include "lsn/shared/capture.hpp"

namespace lsn::control {

struct CaptureRequest {
  std::string file;  ///< a name in control.captureDirectory
  shared::CaptureFilter filter;
  std::uint64_t max = kMaxUnlessGiven;  ///< packets in the file
  std::chrono::seconds seconds{kSecondsUnlessGiven};
  std::string line;  ///< the command as it was typed
  std::string by;

  static constexpr std::uint32_t kMaxUnlessGiven = 100'000;
  static constexpr std::uint32_t kSecondsUnlessGiven = 300;
};

/// Of the capture that runs, or of the last one.
struct CaptureStatus {
  enum class State : std::uint8_t { kStarting, kRunning, kStopping, kEnded };
  State state = State::kStarting;
  CaptureRequest request;
  std::string path;
  std::uint64_t written = 0;  ///< packets
  std::uint64_t lost = 0;     ///< packets that fit and were not written
  std::uint64_t seen = 0;     ///< frames that came in meanwhile
  std::uint64_t bytes = 0;    ///< of the file
  std::chrono::seconds runs{};
  std::string ended_by;  ///< "stop capture", "-max", ..., or the error in a line
  bool failed = false;   ///< it is an error
};

class PacketCapture {
 public:
  using Clock = std::chrono::steady_clock;
  /// Bytes of a file.
  static constexpr std::uint64_t kLargestFile = std::uint64_t{4} << 30;
  struct Limits {
    std::uint64_t file = kLargestFile;
    std::size_t ring = shared::CaptureRing::kCapacity;  ///< per worker
  };

  /// The dataplane outlives it.
  explicit PacketCapture(Dataplane& dataplane) : PacketCapture(dataplane, Limits{}) {}
  PacketCapture(Dataplane& dataplane, Limits limits);
  /// Writes what is there.
  ~PacketCapture();
  PacketCapture(const PacketCapture&) = delete;
  PacketCapture& operator=(const PacketCapture&) = delete;

  /// Error: one line, another one runs. Whether the file can be made is said by status().
  [[nodiscard]] std::expected<void, std::string> start(CaptureRequest request, const Model& model);
  /// Error: one line, none runs.
  [[nodiscard]] std::expected<void, std::string> stop();
  /// nullopt: there has been none.
  [[nodiscard]] std::optional<CaptureStatus> status() const;
  /// Moves the capture on: the dataplane's answers come between two calls.
  void tick(Clock::time_point now);

 private:
  using State = CaptureStatus::State;
  class Run;
  [[nodiscard]] bool runs() const;
  void start_workers();
  void stop_workers();

  Dataplane& dataplane_;
  Limits limits_;
  std::unique_ptr<Run> run_;
  State state_ = State::kEnded;
  std::shared_ptr<unsigned> missing_;  ///< workers that have not answered
  bool stop_asked_ = false;
  Clock::time_point begun_{}, ended_{}, now_{};
};

}  // namespace lsn::control
