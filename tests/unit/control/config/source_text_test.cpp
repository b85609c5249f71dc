#include "lsn/control/config/source_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace lsn::control {
namespace {

using testing::HasSubstr;

std::string text_of(std::string_view text) {
  const auto source = read_source_text(text, "f");
  return source ? source->text : "ERROR " + to_string(source.error());
}

class Directory {
 public:
  Directory() {
    std::string pattern = testing::TempDir() + "lsn-config-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    return file.string();
  }
  std::string path(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

TEST(SourceText, IntegersAreWrittenWith64Bits) {
  EXPECT_EQ(text_of("a = 5;"), "a = 5L;");
  EXPECT_EQ(text_of("a = [1,-2,+3];"), "a = [1L,-2L,3L];");
  EXPECT_EQ(text_of("a = 4294967296;"), "a = 4294967296L;");
  EXPECT_EQ(text_of("a = 7L; b = 8LL;"), "a = 7L; b = 8L;");
  EXPECT_EQ(text_of("a = 0xFFFFFFFF;"), "a = 4294967295L;");
  EXPECT_EQ(text_of("a = 007;"), "a = 7L;");
}

TEST(SourceText, AnIntegerThatNoTypeHoldsBecomesTheLargest) {
  EXPECT_EQ(text_of("a = 9223372036854775807;"), "a = 9223372036854775807L;");
  EXPECT_EQ(text_of("a = 9223372036854775808;"), "a = 9223372036854775807L;");
  EXPECT_EQ(text_of("a = -99999999999999999999;"), "a = -9223372036854775807L;");
  EXPECT_EQ(text_of("a = 0x123456789ABCDEF012;"), "a = 9223372036854775807L;");
}

TEST(SourceText, WhatIsNoIntegerStaysAsItIs) {
  for (const char* text : {"a = 1.5;", "a = .5;", "a = 1e6;", "a = 1.5e-3;", "a = -2.;",
                           "net1 = \"10 20\";", "a-1_2 = true;", "*a9 = \"1\\\"2\";"})
    EXPECT_EQ(text_of(text), text);
}

TEST(SourceText, CommentsGoAndLinesStay) {
  EXPECT_EQ(text_of("a # 1 \"\nb // 2 {\nc /* 3\n4 */ d"), "a \nb \nc \n  d");
  EXPECT_EQ(text_of("a = \"# 1 // 2 /* 3 */\";"), "a = \"# 1 // 2 /* 3 */\";");
}

TEST(SourceText, WhatHasNoEndIsReportedWhereItBegins) {
  EXPECT_EQ(text_of("a = 1;\nb = \"x;\n\n"), "ERROR f:2: a string without its closing \"");
  EXPECT_EQ(text_of("\n\n/* a\nb"), "ERROR f:3: a comment /* without its */");
  EXPECT_EQ(text_of("a = \"\\"), "ERROR f:1: a string without its closing \"");
}

TEST(SourceText, NestingIsBounded) {
  const std::string deep(33, '{');
  EXPECT_THAT(text_of("a:" + deep), HasSubstr("nested too deeply"));
  EXPECT_EQ(text_of("a:" + deep.substr(1)), "a:" + deep.substr(1));
}

TEST(SourceText, ANulCharacterIsRefused) {
  EXPECT_THAT(text_of(std::string_view("a = 1;\n\0", 8)), HasSubstr("f:2: a NUL"));
  EXPECT_THAT(text_of(std::string_view("a = \"\0\";", 8)), HasSubstr("f:1: a NUL"));
}

TEST(SourceText, ATextCannotInclude) {
  EXPECT_THAT(text_of("a = 1;\n@include \"/etc/passwd\"\n"), HasSubstr("f:2: @include"));
}

TEST(SourceText, NothingElseIncludes_InLibconfigsEyes) {
  for (const char* text : {"a = 1; /*\n*/ @include \"/etc/passwd\"\n", "a = 1; @include \"x\"",
                           "a = \"\n\" @include \"x\"", "@", "a = @"})
    EXPECT_THAT(text_of(text), HasSubstr("a @")) << text;
}

TEST(SourceText, AnIncludeIsRelativeToTheFileThatIncludesIt) {
  const Directory dir;
  const auto main = dir.write("main.conf", "a = 1;\nb: {\n  @include \"sub/b.inc\"\n};\nd = 4;\n");
  dir.write("sub/b.inc", "x = 1;\n@include \"c.inc\"\ny = 2;");
  dir.write("sub/c.inc", "\nz = 3;\n");
  const auto source = read_source(main);
  ASSERT_TRUE(source) << to_string(source.error());
  ASSERT_EQ(source->files.size(), 3U);
  EXPECT_EQ(source->files[1], dir.path("sub/b.inc"));
  // Every setting still knows its file and line.
  const auto place = [&](std::string_view what) {
    const auto at = source->text.find(what);
    const auto line =
        1 + std::count(source->text.begin(), source->text.begin() + static_cast<long>(at), '\n');
    return source->place_of_line(static_cast<unsigned>(line));
  };
  EXPECT_EQ(place("a = 1L"), (Place{0, 1}));
  EXPECT_EQ(place("x = 1L"), (Place{1, 1}));
  EXPECT_EQ(place("z = 3L"), (Place{2, 2}));
  EXPECT_EQ(place("y = 2L"), (Place{1, 3}));
  EXPECT_EQ(place("d = 4L"), (Place{0, 5}));
}

TEST(SourceText, AMissingIncludeIsReportedAtItsLine) {
  const Directory dir;
  const auto main = dir.write("main.conf", "a = 1;\n@include \"nosuch\"\n");
  const auto source = read_source(main);
  ASSERT_FALSE(source);
  EXPECT_EQ(source.error().line, 2U);
  EXPECT_THAT(source.error().text, HasSubstr("nosuch"));
  EXPECT_THAT(source.error().text, HasSubstr("No such file"));
}

TEST(SourceText, TwoIncludesInALineAreAnError) {
  const Directory dir;
  dir.write("x", "a = 1;");
  EXPECT_FALSE(read_source(dir.write("main.conf", "@include \"x\" @include \"x\"\n")));
}

TEST(SourceText, AnIncludeWithoutANameIsAnError) {
  const Directory dir;
  for (const char* text : {"@include", "@include x", "@include \"x", "@include \"x\ny\""})
    EXPECT_FALSE(read_source(dir.write("main.conf", text))) << text;
}

TEST(SourceText, AFileThatIncludesItselfEnds) {
  const Directory dir;
  const auto main = dir.write("main.conf", "@include \"main.conf\"\n");
  const auto source = read_source(main);
  ASSERT_FALSE(source);
  EXPECT_THAT(source.error().text, HasSubstr("within one another"));
}

TEST(SourceText, APipeIsReadAndNobodyWaitsForOneWithoutAnEnd) {
  const Directory dir;
  const std::string pipe = dir.path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const auto main = dir.write("main.conf", "a = 1;\n@include \"pipe\"\n");
  const auto nobody = read_source(main);
  ASSERT_FALSE(nobody);
  EXPECT_THAT(to_string(nobody.error()), HasSubstr("from which nothing came"));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "b = 2;\n", 7), 7);
  close(ends[1]);
  const auto given = read_source("/dev/fd/" + std::to_string(ends[0]));
  close(ends[0]);
  ASSERT_TRUE(given);
  EXPECT_THAT(given->text, HasSubstr("b = 2L;"));
}

TEST(SourceText, WhatCannotBeReadIsAProblemOfTheFile) {
  const Directory dir;
  const auto missing = read_source(dir.path("nosuch.conf"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(to_string(missing.error()),
            dir.path("nosuch.conf") + ": cannot be read: No such file or directory");
  const auto directory = read_source(dir.path(""));
  ASSERT_FALSE(directory);
}

}  // namespace
}  // namespace lsn::control
