#include "lsn/control/command/table.hpp"

#include <gtest/gtest.h>

namespace lsn::control {
namespace {

using enum Table::Align;

TEST(Tables, AreAlignedWithNumbersToTheRightAndATotalBelowARule) {
  Table table({{"name", kLeft}, {"packets", kRight}, {"meaning", kLeft}});
  table.add({"a", "1", "one"});
  table.add({"longer name", "1234567890", ""});
  table.add_total({"total", "1234567891", ""});
  EXPECT_EQ(table.print(),
            "name            packets  meaning\n"
            "-----------  ----------  -------\n"
            "a                     1  one\n"
            "longer name  1234567890\n"
            "-----------  ----------  -------\n"
            "total        1234567891\n");
}

TEST(Tables, HaveNoTotalUnlessOneWasGiven) {
  Table table({{"a", kLeft}, {"b", kLeft}});
  EXPECT_EQ(table.print(), "a  b\n-  -\n");
}

TEST(Tables, ArePrintedPageByPageWithFixedWidths) {
  Table table({{"endpoint", kLeft, 12}, {"idle", kRight, 6}});
  EXPECT_EQ(table.print_head(), "endpoint        idle\n------------  ------\n");
  table.add({"1.2.3.4:5", "7 s"});
  table.add({"1.2.3.4:66", "77 s"});
  EXPECT_EQ(table.print_rows(), "1.2.3.4:5        7 s\n1.2.3.4:66      77 s\n");
  EXPECT_EQ(table.print_rows(), "") << "rows are forgotten when they were printed";
  table.add({"1.2.3.4:777", "0 s"});
  EXPECT_EQ(table.print_rows(), "1.2.3.4:777      0 s\n");
}

TEST(Tables, CountCharactersNotBytes) {
  Table table({{"name", kLeft}, {"n", kRight}});
  table.add({"Z\xC3\xBCrich", "1"});
  table.add({"Bern", "2"});
  EXPECT_EQ(table.print(), "name    n\n------  -\nZ\xC3\xBCrich  1\nBern    2\n");
}

}  // namespace
}  // namespace lsn::control
