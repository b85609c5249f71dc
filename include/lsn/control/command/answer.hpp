// One command being answered, piece by piece.
//
// A table of a million sessions must neither be held in memory nor depend on a fast reader. So an
// Answer produces its text in pieces: next() is called whenever the reader has taken the last
// piece, and appends another, or says that it waits for the workers (it is called again at the next
// tick), or that the text is complete. It lives on the control thread; if its reader goes away it
// is destroyed, and later answers of the workers are dropped.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lsn/control/command/counts.hpp"
#include "lsn/control/command/grammar.hpp"
#include "lsn/control/dataplane.hpp"
#include "lsn/control/running_config.hpp"

namespace lsn::control {

class LogThread;
class PacketCapture;

class Answer {
 public:
  enum class Progress : std::uint8_t {
    kMore,     ///< something was appended, there is more
    kWaiting,  ///< for the workers; nothing was appended
    kDone,     ///< all was said; the last piece may have been appended now
    kFailed,   ///< errors() is the rest of the answer
  };

  Answer() = default;
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  virtual ~Answer() = default;

  [[nodiscard]] virtual Progress next(std::string& out) = 0;
  /// Each one line, without "ERROR: ".
  [[nodiscard]] const std::vector<std::string>& errors() const { return errors_; }

 protected:
  std::vector<std::string> errors_;
};

/// The whole text at once: for a few kilobytes.
class WholeAnswer final : public Answer {
 public:
  explicit WholeAnswer(std::string text) : text_(std::move(text)) {}

  Progress next(std::string& out) override {
    out += text_;
    return Progress::kDone;
  }

 private:
  std::string text_;
};

/// The objects that commands work on. It outlives the answers.
struct CommandContext {
  Dataplane& dataplane;
  RunningConfig& config;
  ClearedCounters& cleared;
  bool may_change = true;              ///< the user may do more than read
  const LogThread* records = nullptr;  ///< nullptr: there are none
  PacketCapture* capture = nullptr;    ///< nullptr: nothing can be captured
};

/// The answer of a worker, or of a reload, on the control thread: one question at a time. If this
/// object is gone by then, the answer is dropped.
template <class T>
class Awaited {
 public:
  /// The function to pass as `done`. An earlier question is forgotten.
  [[nodiscard]] std::function<void(T)> ask() {
    slot_ = std::make_shared<std::optional<T>>();
    return [slot = std::weak_ptr(slot_)](T answer) {
      if (const auto waiting = slot.lock()) *waiting = std::move(answer);
    };
  }

  [[nodiscard]] bool asked() const { return slot_ != nullptr; }

  /// The answer, once, when it is there.
  [[nodiscard]] std::optional<T> take() {
    if (!slot_ || !*slot_) return std::nullopt;
    std::optional<T> answer = std::move(*slot_);
    slot_.reset();
    return answer;
  }

 private:
  std::shared_ptr<std::optional<T>> slot_;
};

/// The answers of all workers to the same question.
template <class T>
class AwaitedOfAll {
 public:
  /// `ask_one(shard, done)` asks each of them. An earlier question is forgotten.
  template <class AskOne>
  void ask(unsigned workers, AskOne&& ask_one) {
    answers_ = std::vector<Awaited<T>>(workers);
    missing_ = workers;
    for (unsigned shard = 0; shard < workers; ++shard) ask_one(shard, answers_[shard].ask());
  }

  /// `visit(shard, answer)` gets each answer, once, when it is there. Whether those were the last.
  template <class Visit>
  bool take(Visit&& visit) {
    for (unsigned shard = 0; shard < answers_.size(); ++shard)
      if (auto answer = answers_[shard].take()) {
        visit(shard, std::move(*answer));
        --missing_;
      }
    return missing_ == 0;
  }

 private:
  std::vector<Awaited<T>> answers_;
  unsigned missing_ = 0;
};

}  // namespace lsn::control
