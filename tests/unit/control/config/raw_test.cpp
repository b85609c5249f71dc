#include "lsn/control/config/raw.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lsn::control {
namespace {

RawValue root_of(std::string_view text) {
  auto raw = read_raw_text(text, "f");
  if (!raw) throw std::logic_error(to_string(raw.error()));
  return raw->root;
}

TEST(Raw, EveryKindOfValueIsReadWithItsLine) {
  const RawValue root = root_of(R"(n = 5;
big = 4294967296;
r = 1.5;
t = "a\"b" " c";
f = true;
a = [ 1,
      2 ];
l = ( "x", { y = false; } );
g: {
  h = 1;
};
)");
  const auto check = [&](std::string_view name, RawValue::Kind kind, unsigned line) {
    const RawValue* value = root.find(name);
    ASSERT_NE(value, nullptr) << name;
    EXPECT_EQ(value->kind, kind) << name;
    EXPECT_EQ(value->place, (Place{0, line})) << name;
  };
  check("n", RawValue::Kind::kNumber, 1);
  check("big", RawValue::Kind::kNumber, 2);
  check("r", RawValue::Kind::kReal, 3);
  check("t", RawValue::Kind::kText, 4);
  check("f", RawValue::Kind::kFlag, 5);
  check("a", RawValue::Kind::kArray, 6);
  check("l", RawValue::Kind::kList, 8);
  check("g", RawValue::Kind::kGroup, 9);
  EXPECT_EQ(root.find("n")->number, 5);
  EXPECT_EQ(root.find("big")->number, 4294967296);
  EXPECT_EQ(root.find("r")->real, 1.5);
  EXPECT_EQ(root.find("t")->text, "a\"b c");
  EXPECT_EQ(root.find("f")->number, 1);
  EXPECT_EQ(root.find("a")->children.at(1).number, 2);
  EXPECT_EQ(root.find("a")->children.at(1).place.line, 7U);
  EXPECT_EQ(root.find("l")->children.at(1).find("y")->kind, RawValue::Kind::kFlag);
  EXPECT_EQ(root.find("g")->find("h")->place.line, 10U);
  EXPECT_EQ(root.find("nosuch"), nullptr);
}

TEST(Raw, ASyntaxErrorIsReportedAloneWithItsLine) {
  for (const auto& [text, line] : {std::pair{"a = 1;\nb = ;\nc = ;", 2U},
                                   {"a: {\n  b = [ 1, ];\n};", 2U},
                                   {"a = 1;\na = 2;", 2U},
                                   {"a = [ 1,\n \"x\" ];", 2U},
                                   {"a: {\n\n", 3U}}) {
    const auto raw = read_raw_text(text, "f");
    ASSERT_FALSE(raw) << text;
    EXPECT_EQ(raw.error().file, "f");
    EXPECT_EQ(raw.error().line, line) << text << raw.error().text;
    EXPECT_FALSE(raw.error().text.empty());
  }
}

TEST(Raw, AnEmptyTextIsAnEmptyGroup) {
  EXPECT_TRUE(root_of("").children.empty());
  EXPECT_TRUE(root_of("# nothing\n").children.empty());
}

}  // namespace
}  // namespace lsn::control
