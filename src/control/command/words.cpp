#include "lsn/control/command/words.hpp"

#include <fmt/format.h>

#include <cstddef>

#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

constexpr std::size_t kLongestQuote = 80;  ///< of the given text, in a complaint

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// Bytes of the blank that the text begins with, 0: none. U+00A0 comes with text from web pages.
std::size_t blank_at(std::string_view text) {
  if (text.empty()) return 0;
  if (text[0] == ' ' || text[0] == '\t' || text[0] == '\r') return 1;
  return text.starts_with("\xC2\xA0") ? 2 : 0;
}

/// Bytes of the dash other than a hyphen that the text begins with: U+2010 to U+2015, U+2212.
std::size_t dash_at(std::string_view text) {
  if (text.size() < 3 || text[0] != '\xE2') return 0;
  const bool dash = (text[1] == '\x80' && text[2] >= '\x90' && text[2] <= '\x95') ||
                    (text[1] == '\x88' && text[2] == '\x92');
  return dash ? 3 : 0;
}

/// Takes one word from the front of `rest`, which begins with none of its blanks.
std::expected<Word, std::string> take_word(std::string_view& rest) {
  const std::string_view begin = rest;
  Word word;
  char quote = 0;
  while (!rest.empty()) {
    if (quote == 0 && blank_at(rest) != 0) break;
    const std::size_t size = printable_character(rest);
    if (size == 0)
      return std::unexpected(complaint("command", printable(begin.substr(0, kLongestQuote)),
                                       "printable characters in UTF-8"));
    if (quote == 0 && (rest[0] == '"' || rest[0] == '\'')) {
      quote = rest[0];
      word.quoted = true;
      rest.remove_prefix(1);
    } else if (quote != 0 && rest[0] == quote) {
      quote = 0;
      rest.remove_prefix(1);
    } else if (quote == '"' && (rest.starts_with("\\\"") || rest.starts_with("\\\\"))) {
      word.text += rest[1];
      rest.remove_prefix(2);
    } else if (const std::size_t dash = quote == 0 ? dash_at(rest) : 0; dash != 0) {
      word.text += '-';
      rest.remove_prefix(dash);
    } else {
      word.text += rest.substr(0, size);
      rest.remove_prefix(size);
    }
  }
  if (quote != 0)
    return std::unexpected(complaint("command", printable(begin, kLongestQuote),
                                     fmt::format("a {} at the end of what is quoted", quote)));
  return word;
}

}  // namespace

bool Word::is_option() const {
  if (quoted || !text.starts_with('-')) return false;
  return text.size() >= 2 && (is_letter(text[1]) || (text[1] == '-' && text.size() >= 3));
}

std::expected<std::vector<Word>, std::string> split_words(std::string_view line) {
  std::vector<Word> words;
  while (true) {
    while (const std::size_t blank = blank_at(line)) line.remove_prefix(blank);
    if (line.empty() || (words.empty() && line[0] == '#')) return words;
    auto word = take_word(line);
    if (!word) return std::unexpected(std::move(word.error()));
    if (!words.empty() && words.back() == Word{"-", false} && !word->quoted &&
        is_letter(word->text[0]))
      words.back().text += word->text;
    else
      words.push_back(std::move(*word));
  }
}

std::string join_words(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) {
    if (word.empty()) continue;
    if (!line.empty()) line += ' ';
    const bool plain = word.find_first_of(" \t\r\"'") == std::string::npos &&
                       word.find("\xC2\xA0") == std::string::npos &&
                       !(line.empty() && word[0] == '#');
    if (plain) {
      line += word;
      continue;
    }
    line += '"';
    for (const char c : word) {
      if (c == '"' || c == '\\') line += '\\';
      line += c;
    }
    line += '"';
  }
  return line;
}

std::string complaint_about_word(std::string_view what, std::string_view word,
                                 const std::vector<std::string_view>& candidates,
                                 std::string_view allowed) {
  std::string given = fmt::format("\"{}\"", printable(word, kLongestQuote));
  if (const auto meant = nearest_word(word, candidates))
    given += fmt::format(" (did you mean \"{}\"?)", *meant);
  return complaint(what, given, allowed);
}

}  // namespace lsn::control
