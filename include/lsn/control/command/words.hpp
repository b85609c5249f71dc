// A command line's words: typed, copied from a document, or sent by a script.
//
// Blanks separate words; quotes keep blanks together ("a b" or 'a b', \" and \\ within the first).
// It accepts the faults of published examples: surplus blanks and non-breaking ones, dashes of any
// kind for a hyphen, blanks behind the hyphen of an option. Quoted text is taken as it is. A line
// whose first character is # is a comment: no words.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/problem.hpp"

namespace lsn::control {

struct Word {
  std::string text;
  bool quoted = false;

  /// "-name": a hyphen and a letter, not quoted. "-5" is a number, "-" is a word.
  [[nodiscard]] bool is_option() const;

  friend bool operator==(const Word&, const Word&) = default;
};

/// Error: one line without "ERROR: ": a quote that is not closed, bytes that are no character.
[[nodiscard]] std::expected<std::vector<Word>, std::string> split_words(std::string_view line);

/// The words as a line that split_words() takes for the same words. Empty words are left out: they
/// are surplus blanks.
[[nodiscard]] std::string join_words(const std::vector<std::string>& words);

/// complaint() of one word: in quotes, with what was probably meant, if that is among the
/// candidates.
[[nodiscard]] std::string complaint_about_word(std::string_view what, std::string_view word,
                                               const std::vector<std::string_view>& candidates,
                                               std::string_view allowed);

}  // namespace lsn::control
