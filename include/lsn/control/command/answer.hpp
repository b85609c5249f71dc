// One command being answered, piece by piece.
//
// A table of a million sessions must neither be held in memory nor hurry its reader. So an Answer
// produces its text in pieces: next() is called whenever the reader has room, and either appends
// something, or says that it waits for a worker (try again soon), or that all was said. It lives on
// the control thread; when its reader goes away it is destroyed, and what the workers still answer
// goes nowhere.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/command/grammar.hpp"
#include "lsn/control/config/model.hpp"
#include "lsn/control/dataplane.hpp"

namespace lsn::control {

/// For whom: a table for people, or one JSON document for programs.
enum class Format : std::uint8_t { kText, kJson };

class Answer {
 public:
  enum class Progress : std::uint8_t {
    kMore,     ///< something was appended, there is more
    kWaiting,  ///< for the workers
    kDone,     ///< all was said (the last piece may have been appended now)
    kFailed,   ///< error() is the answer
  };

  virtual ~Answer() = default;
  [[nodiscard]] virtual Progress next(std::string& out) = 0;
  /// One line, without "ERROR: ".
  [[nodiscard]] const std::string& error() const { return error_; }

 protected:
  std::string error_;
};

/// What a reload came to: no problems, or one line each.
using ReloadDone = std::function<void(std::vector<std::string> problems)>;

/// What commands work on. Everything outlives the answers.
struct CommandContext {
  Dataplane& dataplane;
  std::function<const Model&()> model;  ///< of the running configuration
  std::function<const datapath::Generation&()> generation;
  std::function<void(ReloadDone)> reload;
};

/// Begins to answer. Error: one line, without "ERROR: "; nothing has been done.
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_answer(
    const Command& command, Format format, const CommandContext& context);

}  // namespace lsn::control
