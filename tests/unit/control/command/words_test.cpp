#include "lsn/control/command/words.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lsn::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> texts(std::string_view line) {
  const auto words = split_words(line);
  if (!words) {
    ADD_FAILURE() << words.error();
    return {};
  }
  std::vector<std::string> texts;
  for (const Word& word : *words) texts.push_back(word.text);
  return texts;
}

std::string error(std::string_view line) {
  const auto words = split_words(line);
  return words ? "no error" : words.error();
}

TEST(Words, AreSeparatedByAnyNumberOfBlanks) {
  EXPECT_THAT(texts("show lsn session"), ElementsAre("show", "lsn", "session"));
  EXPECT_THAT(texts(" \t show   lsn\tsession \r"), ElementsAre("show", "lsn", "session"));
  EXPECT_THAT(texts("show\xC2\xA0lsn \xC2\xA0session"), ElementsAre("show", "lsn", "session"))
      << "non-breaking blanks of web pages";
}

TEST(Words, OfAnEmptyLineOrACommentAreNone) {
  EXPECT_THAT(texts(""), IsEmpty());
  EXPECT_THAT(texts("  \t "), IsEmpty());
  EXPECT_THAT(texts("# add lsn client \"C"), IsEmpty());
  EXPECT_THAT(texts("  # indented"), IsEmpty());
  EXPECT_THAT(texts("show #1"), ElementsAre("show", "#1")) << "# may stand in a name";
}

TEST(Words, KeepTheirBlanksInQuotes) {
  EXPECT_THAT(texts(R"(rm lsn client "two words")"),
              ElementsAre("rm", "lsn", "client", "two words"));
  EXPECT_THAT(texts("a 'b  c' d"), ElementsAre("a", "b  c", "d"));
  EXPECT_THAT(texts(R"(a "say \"x\" and \\")"), ElementsAre("a", R"(say "x" and \)"));
  EXPECT_THAT(texts(R"(a 'as it \is' "")"), ElementsAre("a", R"(as it \is)", ""));
  EXPECT_THAT(texts(R"(pre"fix and"post)"), ElementsAre("prefix andpost"));
}

TEST(Words, WithAQuoteThatIsNotClosedAreAnError) {
  EXPECT_THAT(error("show \"lsn session"), HasSubstr("given \"lsn session"));
  EXPECT_THAT(error("show 'lsn"), HasSubstr("allowed a '"));
  EXPECT_THAT(error(R"(show "lsn\")"), HasSubstr("allowed a \""));
}

TEST(Words, TakeAnyDashForAHyphen) {
  for (const char* dash : {"-", "\xE2\x80\x90", "\xE2\x80\x91", "\xE2\x80\x92", "\xE2\x80\x93",
                           "\xE2\x80\x94", "\xE2\x80\x95", "\xE2\x88\x92"}) {
    EXPECT_THAT(texts(std::string("x ") + dash + "natIP 1.2.3.4"),
                ElementsAre("x", "-natIP", "1.2.3.4"));
    EXPECT_THAT(texts(std::string("203.0.113.3") + dash + "203.0.113.9"),
                ElementsAre("203.0.113.3-203.0.113.9"));
  }
  EXPECT_THAT(texts("x \"\xE2\x80\x93natIP\""), ElementsAre("x", "\xE2\x80\x93natIP"))
      << "what is quoted stays as it is";
}

TEST(Words, AllowBlanksBehindTheHyphenOfAnOption) {
  EXPECT_THAT(texts("show - natIP 1.2.3.4"), ElementsAre("show", "-natIP", "1.2.3.4"));
  EXPECT_THAT(texts("show \xE2\x80\x93   natIP"), ElementsAre("show", "-natIP"));
  EXPECT_THAT(texts("a 1.2.3.4 - 1.2.3.9"), ElementsAre("a", "1.2.3.4", "-", "1.2.3.9"))
      << "that is no option";
  EXPECT_THAT(texts("a - \"b\""), ElementsAre("a", "-", "b"));
  EXPECT_THAT(texts("a \"-\" b"), ElementsAre("a", "-", "b"));
  EXPECT_THAT(texts("a -"), ElementsAre("a", "-"));
}

TEST(Words, SayWhetherTheyAreOptions) {
  const auto is_option = [](std::string_view line) {
    return split_words(line)->front().is_option();
  };
  EXPECT_TRUE(is_option("-natIP"));
  EXPECT_TRUE(is_option("--json"));
  EXPECT_FALSE(is_option("\"-natIP\""));
  EXPECT_FALSE(is_option("-5"));
  EXPECT_FALSE(is_option("-"));
  EXPECT_FALSE(is_option("--"));
  EXPECT_FALSE(is_option("natIP"));
}

TEST(Words, RefuseWhatCannotBePrinted) {
  for (const char* bad : {"show \x01lsn", "show \x7f", "show \xff\xfe", "show \"a\x1b[2J\"",
                          "show \xC3", "show \xED\xA0\x80", "a\nb"}) {
    EXPECT_THAT(error(bad), HasSubstr("allowed printable characters in UTF-8")) << bad;
    for (const char c : error(bad)) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  }
  EXPECT_THAT(error(std::string_view("a \0b", 4)), HasSubstr("allowed printable characters"));
}

TEST(Words, AreJoinedToALineThatGivesThemAgain) {
  const std::vector<std::vector<std::string>> lists{{"show", "lsn", "session"},
                                                    {"rm", "lsn", "client", "two words"},
                                                    {"a", "\"", "'", "\\", "b\\\"c d", "\\\\ "},
                                                    {"#1", "x"},
                                                    {"x", "tab\tin it"}};
  for (const auto& words : lists) {
    // A tab is no printable character, and is refused rather than taken for a blank.
    if (words.back().find('\t') != std::string::npos) {
      EXPECT_FALSE(split_words(join_words(words)));
      continue;
    }
    EXPECT_EQ(texts(join_words(words)), words);
  }
  EXPECT_EQ(join_words({"show", "", "lsn", "", "", "session"}), "show lsn session")
      << "empty words are surplus blanks";
  EXPECT_EQ(join_words({"show", "lsn", "session", "-", "natIP"}), "show lsn session - natIP");
}

TEST(Complaints, SayWhatAndWhatWasGivenAndWhatIsAllowedInOneLine) {
  EXPECT_EQ(complaint("-natPort", "65536", "0-65535"), "-natPort: given 65536, allowed 0-65535");
  EXPECT_EQ(complaint("command", "", "help"), "command: allowed help");
  EXPECT_EQ(complaint("command", "x", ""), "command: given x");
  EXPECT_EQ(complaint_about_word("show", "drop", {"drops", "lsn"}, "drops or lsn"),
            "show: given \"drop\" (did you mean \"drops\"?), allowed drops or lsn");
  EXPECT_EQ(complaint_about_word("show", "xyzzy", {"drops"}, "drops"),
            "show: given \"xyzzy\", allowed drops");
  EXPECT_THAT(complaint("a\nb", "c\nd", "e"), testing::Not(HasSubstr("\n")));
  EXPECT_LT(complaint_about_word("show", std::string(60'000, 'x'), {"drops"}, "drops").size(),
            200U);
}

}  // namespace
}  // namespace lsn::control
