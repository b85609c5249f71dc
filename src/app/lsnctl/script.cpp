#include "script.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/command/protocol.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "repeat.hpp"

namespace lsn::ctl {
namespace {

constexpr std::size_t kMostLines = 256;
constexpr std::size_t kMostBytes = 48 * 1024;

struct Line {
  unsigned number;
  std::string text;
};

/// It changes an object, and may go with others of the kind.
bool changes_object(const std::string& line) {
  const auto words = control::split_words(line);
  if (!words || words->size() < 2) return false;
  for (const std::string_view verb : {"add", "set", "unset", "bind", "unbind", "rm"})
    if (control::same_word((*words)[0].text, verb)) return true;
  return false;
}

class Script {
 public:
  Script(control::CommandClient& client, const ScriptOptions& options)
      : client_(client), options_(options) {}

  int run(std::istream& lines) {
    std::string text;
    for (unsigned number = 1; !stopped_ && std::getline(lines, text); ++number) {
      if (number == 1 && text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);  // a byte order mark
      const std::size_t first = text.find_first_not_of(" \t\r");
      if (first == std::string::npos || text[first] == '#') continue;
      if (options_.atomic || changes_object(text)) {
        bytes_ += text.size();
        gathered_.push_back({number, text});
        if (!options_.atomic && (gathered_.size() == kMostLines || bytes_ > kMostBytes)) send();
        continue;
      }
      send();
      if (!stopped_ && is_end(text)) break;
      if (!stopped_) single({number, text});
    }
    if (lines.bad()) {
      broken("-f: given what cannot be read to its end, allowed a file of commands");
      return worst_;
    }
    send();
    return worst_;
  }

 private:
  void single(const Line& line) {
    if (const auto repetition = repetition_of(line.text)) {
      if (run_repeatedly(client_, *repetition, options_.json) != 0) refused(line);
      return;
    }
    const auto status = client_.run(with_format(line.text), stdout, stderr);
    if (!status) return broken(status.error());
    if (*status != 0) refused(line);
  }

  [[nodiscard]] std::string with_format(const std::string& text) const {
    return options_.json ? "--json " + text : text;
  }

  void send() {
    while (!gathered_.empty() && !stopped_) {
      std::string request;
      request += control::kBatchMark;
      request += options_.atomic ? control::kBatchAtomic : control::kBatchOrdered;
      for (const Line& line : gathered_) {
        request += control::kBatchMark;
        request += with_format(line.text);
      }
      // Each line that was carried out has an answer that ends with one of these.
      std::size_t done = 0;
      std::string last;
      std::string said;
      const auto status = client_.run(request, [&](control::Stream stream, std::string_view piece) {
        if (stream == control::Stream::kOut) {
          last += piece;
          std::size_t end = 0;
          for (std::size_t next; (next = last.find('\n', end)) != std::string::npos; end = next + 1)
            if (options_.json ? last.compare(end, 9, "{\"result\"") == 0
                              : last.compare(end, next - end, "Done") == 0)
              ++done;
          last.erase(0, end);
        }
        if (stream == control::Stream::kErr) said += piece;
        std::FILE* const to = stream == control::Stream::kOut ? stdout : stderr;
        return std::fwrite(piece.data(), 1, piece.size(), to) == piece.size();
      });
      std::fflush(stdout);
      if (!status) return broken(status.error());
      if (*status == 0) {
        gathered_.clear();
        bytes_ = 0;
        return;
      }
      if (options_.atomic) {
        say_line_of(said);
        worst_ = 1;
        stopped_ = true;
        return;
      }
      if (done >= gathered_.size()) return broken("lsnd refuses a command after the last");
      refused(gathered_[done]);
      gathered_.erase(gathered_.begin(), gathered_.begin() + static_cast<std::ptrdiff_t>(done) + 1);
    }
  }

  /// "ERROR: command 3: ...", which counts neither remarks nor empty lines.
  void say_line_of(std::string_view error) const {
    constexpr std::string_view kBefore = "ERROR: command ";
    if (!error.starts_with(kBefore)) return;
    error.remove_prefix(kBefore.size());
    std::size_t command = 0;
    std::from_chars(error.data(), error.data() + error.size(), command);
    if (command == 0 || command > gathered_.size()) return;
    const Line& line = gathered_[command - 1];
    fmt::print(stderr, "in line {}: {}\n", line.number, control::printable(line.text, 200));
  }

  void refused(const Line& line) {
    fmt::print(stderr, "in line {}: {}\n", line.number, control::printable(line.text, 200));
    worst_ = 1;
    stopped_ = !options_.keep_going;
  }

  void broken(const std::string& error) {
    fmt::print(stderr, "ERROR: {}\n", error);
    worst_ = 1;
    stopped_ = true;
  }

  control::CommandClient& client_;
  const ScriptOptions& options_;
  std::vector<Line> gathered_;
  std::size_t bytes_ = 0;
  int worst_ = 0;
  bool stopped_ = false;
};

}  // namespace

bool is_end(const std::string& line) {
  const auto words = control::split_words(line);
  return words && words->size() == 1 &&
         (control::same_word(words->front().text, "exit") ||
          control::same_word(words->front().text, "quit"));
}

int run_script(control::CommandClient& client, std::istream& lines, const ScriptOptions& options) {
  return Script(client, options).run(lines);
}

}  // namespace lsn::ctl
