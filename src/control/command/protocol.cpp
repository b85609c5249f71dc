#include "lsn/control/command/protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

namespace lsn::control {
namespace {

/// "out 18446744073709551615" has 24 bytes.
constexpr std::size_t kLongestHead = 32;

}  // namespace

void append_frame(std::string& to, Stream stream, std::string_view text) {
  if (text.empty()) return;
  fmt::format_to(std::back_inserter(to), "{} {}\n", stream == Stream::kOut ? "out" : "err",
                 text.size());
  to += text;
}

void append_end(std::string& to, int status) {
  fmt::format_to(std::back_inserter(to), "end {}\n", status);
}

AnswerReader::State AnswerReader::feed(std::string_view& bytes) {
  while (!bytes.empty()) {
    if (missing_ != 0) {
      const std::size_t size = std::min(missing_, bytes.size());
      sink_(*stream_, bytes.substr(0, size));
      bytes.remove_prefix(size);
      missing_ -= size;
      continue;
    }
    const std::size_t line = std::min(bytes.find('\n'), bytes.size());
    if (head_.size() + line > kLongestHead) return State::kBroken;
    head_ += bytes.substr(0, line);
    if (line == bytes.size()) {
      bytes = {};
      break;
    }
    bytes.remove_prefix(line + 1);
    if (!begin_frame()) return State::kBroken;
    head_.clear();
    if (ended_) {
      ended_ = false;
      return State::kEnd;
    }
  }
  return State::kMore;
}

bool AnswerReader::begin_frame() {
  const std::string_view head = head_;
  const std::size_t blank = head.find(' ');
  if (blank == std::string_view::npos) return false;
  const std::string_view kind = head.substr(0, blank);
  const std::string_view text = head.substr(blank + 1);
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return false;
  if (kind == "end") {
    if (number > 255) return false;
    status_ = static_cast<int>(number);
    ended_ = true;
    return true;
  }
  if (kind != "out" && kind != "err") return false;
  stream_ = kind == "out" ? Stream::kOut : Stream::kErr;
  missing_ = number;
  return true;
}

}  // namespace lsn::control
