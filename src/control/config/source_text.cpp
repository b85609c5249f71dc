#include "lsn/control/config/source_text.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/file_descriptor.hpp"

namespace lsn::control {
namespace {

constexpr std::size_t kMaxSize = std::size_t{256} << 20;  // bytes, with all includes
constexpr std::chrono::seconds kPatience{5};              // for a pipe
constexpr unsigned kMaxIncludeDepth = 10;                 // libconfig's own limit
constexpr unsigned kMaxFiles = 1000;
constexpr unsigned kMaxNesting = 32;  // the deepest setting is 4 levels down

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*' || c == '_';
}
bool in_name(char c) {
  return starts_name(c) || is_digit(c) || c == '-';
}

std::expected<std::string, std::string> read_whole(const std::string& path) {
  std::error_code error;
  // A device or a pipe might never end; a directory opens but cannot be read.
  const auto status = std::filesystem::status(path, error);
  if (!error && std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
      !std::filesystem::is_fifo(status) && !std::filesystem::is_character_file(status))
    return std::unexpected("is not a file");
  // A reload reads on the control thread: a pipe has kPatience.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) return std::unexpected(std::string(std::strerror(errno)));
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + kPatience;
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = read(file.get(), buffer.data(), buffer.size());
    // An empty file is a configuration; a pipe without a writer is an error.
    if (got == 0 && text.empty() && std::filesystem::is_fifo(status))
      return std::unexpected("is a pipe from which nothing came");
    if (got == 0) break;
    if (got < 0 && errno == EAGAIN) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      pollfd readable{file.get(), POLLIN, 0};
      if (left.count() <= 0 || poll(&readable, 1, static_cast<int>(left.count())) == 0)
        return std::unexpected("is a pipe whose end has not come in time");
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(std::string(std::strerror(errno)));
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kMaxSize) return std::unexpected("is larger than 256 MiB");
  }
  return text;
}

class Expander {
 public:
  enum class Includes { kFollowed, kRefused };

  explicit Expander(Includes includes) : includes_(includes) {}

  std::expected<SourceText, Problem> run(std::string_view text, const std::string& name) {
    source_.files.push_back(name);
    source_.lines.push_back({0, 1});
    if (!expand(text, 0, 0)) return std::unexpected(problem_);
    return std::move(source_);
  }

 private:
  bool fail(unsigned file, unsigned line, std::string_view text) {
    problem_ = {source_.files[file], line, printable(text)};
    return false;
  }

  void put(char c, unsigned file, unsigned line) {
    source_.text += c;
    if (c == '\n') source_.lines.push_back({file, line + 1});
  }

  /// `at` is at the comment's beginning, and then behind it.
  bool skip_comment(std::string_view text, std::size_t& at, unsigned file, unsigned& line) {
    const std::size_t end = text.find("*/", at + 2);
    if (end == std::string_view::npos) return fail(file, line, "a comment /* without its */");
    for (; at < end + 2; ++at)
      if (text[at] == '\n') put('\n', file, line++);
    source_.text += ' ';
    return true;
  }

  /// `at` is at the opening quotation mark, and then behind the closing one.
  bool copy_string(std::string_view text, std::size_t& at, unsigned file, unsigned& line) {
    std::size_t end = at + 1;
    while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size()) return fail(file, line, "a string without its closing \"");
    for (++end; at < end;) {
      const std::size_t stop = std::min(text.find('\n', at), end - 1) + 1;
      const std::string_view piece = text.substr(at, stop - at);
      if (piece.find('\0') != std::string_view::npos)
        return fail(file, line, "a NUL character, allowed: text");
      source_.text += piece;
      if (piece.back() == '\n') source_.lines.push_back({file, ++line});
      at = stop;
    }
    return true;
  }

  bool expand(std::string_view text, unsigned file, unsigned depth) {
    unsigned line = 1;
    std::size_t at = 0;
    bool line_begins = true;  // nothing but blanks so far
    while (at < text.size()) {
      if (source_.text.size() > kMaxSize)
        return fail(file, line, "the file with its includes is larger than 256 MiB");
      const char c = text[at];
      const char next = at + 1 < text.size() ? text[at + 1] : '\0';
      if (c == '\0') return fail(file, line, "a NUL character, allowed: text");
      if (c == '\n') {
        put(c, file, line++);
        ++at;
        line_begins = true;
        continue;
      }
      if (c == '#' || (c == '/' && next == '/')) {
        at = std::min(text.find('\n', at), text.size());
        continue;
      }
      if (c == '/' && next == '*') {
        if (!skip_comment(text, at, file, line)) return false;
        continue;
      }
      if (c == '"') {
        if (!copy_string(text, at, file, line)) return false;
        line_begins = false;
        continue;
      }
      if (line_begins && text.substr(at).starts_with("@include")) {
        if (!include(text, at, file, line, depth)) return false;
        line_begins = false;
        continue;
      }
      // libconfig would include a file of its own accord: behind a comment of two lines, say.
      if (c == '@') return fail(file, line, "a @, allowed: @include \"NAME\" where a line begins");
      if (starts_name(c)) {
        while (at < text.size() && in_name(text[at])) source_.text += text[at++];
        line_begins = false;
        continue;
      }
      if (is_digit(c) || c == '.' || ((c == '+' || c == '-') && (is_digit(next) || next == '.'))) {
        at += number(text.substr(at));
        line_begins = false;
        continue;
      }
      if (c == '{' || c == '[' || c == '(') {
        if (++nesting_ > kMaxNesting) return fail(file, line, "brackets nested too deeply");
      } else if ((c == '}' || c == ']' || c == ')') && nesting_ > 0) {
        --nesting_;
      }
      if (c != ' ' && c != '\t' && c != '\r') line_begins = false;
      source_.text += c;
      ++at;
    }
    return true;
  }

  bool include(std::string_view text, std::size_t& at, unsigned file, unsigned line,
               unsigned depth) {
    std::size_t begin = at + std::string_view("@include").size();
    while (begin < text.size() && (text[begin] == ' ' || text[begin] == '\t')) ++begin;
    const std::size_t line_end = std::min(text.find('\n', begin), text.size());
    std::size_t end = std::string_view::npos;
    if (begin < line_end && text[begin] == '"') end = text.find('"', begin + 1);
    if (end == std::string_view::npos || end > line_end)
      return fail(file, line, "@include without a file, allowed: @include \"NAME\"");
    const std::string name(text.substr(begin + 1, end - begin - 1));
    at = end + 1;
    if (includes_ == Includes::kRefused)
      return fail(file, line, fmt::format("@include \"{}\": allowed in files only", name));
    if (depth == kMaxIncludeDepth || source_.files.size() == kMaxFiles)
      return fail(file, line,
                  fmt::format("@include \"{}\": too many includes within one another, allowed: {}",
                              name, kMaxIncludeDepth));
    const auto directory = std::filesystem::path(source_.files[file]).parent_path();
    const std::string path = (directory / name).string();
    const auto content = read_whole(path);
    if (!content)
      return fail(file, line, fmt::format("@include \"{}\": {} {}", name, path, content.error()));
    const auto included = static_cast<unsigned>(source_.files.size());
    source_.files.push_back(path);
    source_.text += '\n';
    source_.lines.push_back({included, 1});
    if (!expand(*content, included, depth + 1)) return false;
    source_.text += '\n';
    source_.lines.push_back({file, line});
    return true;
  }

  /// Writes the number at the beginning of `text` again; returns how many characters it has.
  std::size_t number(std::string_view text) {
    const auto at = [text](std::size_t i) { return i < text.size() ? text[i] : '\0'; };
    std::size_t end = at(0) == '+' || at(0) == '-' ? 1 : 0;
    const bool negative = at(0) == '-';
    const bool hex = at(0) == '0' && (at(1) == 'x' || at(1) == 'X') && is_hex_digit(at(2));
    std::uint64_t value = 0;
    bool too_large = false;
    const unsigned base = hex ? 16 : 10;
    if (hex) end = 2;
    while (hex ? is_hex_digit(at(end)) : is_digit(at(end))) {
      const char c = at(end++);
      const unsigned digit = is_digit(c) ? static_cast<unsigned>(c - '0')
                                         : static_cast<unsigned>((c | 0x20) - 'a') + 10;
      too_large = too_large || value > (kLargest - digit) / base;
      if (!too_large) value = value * base + digit;
    }
    const bool exponent = (at(end) | 0x20) == 'e' &&
                          (is_digit(at(end + 1)) ||
                           ((at(end + 1) == '+' || at(end + 1) == '-') && is_digit(at(end + 2))));
    if (!hex && (at(end) == '.' || exponent)) {
      // Not an integer: libconfig reads it, and nothing here accepts it.
      while (is_digit(at(end)) || at(end) == '.') ++end;
      if ((at(end) | 0x20) == 'e') {
        std::size_t digits = end + 1;
        if (at(digits) == '+' || at(digits) == '-') ++digits;
        if (is_digit(at(digits))) {
          while (is_digit(at(digits))) ++digits;
          end = digits;
        }
      }
      source_.text += text.substr(0, end);
      return end;
    }
    for (int i = 0; i < 2 && at(end) == 'L'; ++i) ++end;
    source_.text += fmt::format("{}{}L", negative ? "-" : "", too_large ? kLargest : value);
    return end;
  }

  static constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();

  Includes includes_;
  SourceText source_;
  Problem problem_;
  unsigned nesting_ = 0;
};

}  // namespace

std::expected<SourceText, Problem> read_source(const std::string& path) {
  const auto text = read_whole(path);
  if (!text) return std::unexpected(Problem{path, 0, "cannot be read: " + text.error()});
  return Expander(Expander::Includes::kFollowed).run(*text, path);
}

std::expected<SourceText, Problem> read_source_text(std::string_view text,
                                                    const std::string& name) {
  return Expander(Expander::Includes::kRefused).run(text, name);
}

}  // namespace lsn::control
