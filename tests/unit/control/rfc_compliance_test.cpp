// docs/rfc-compliance.md: each requirement has its row, each test that is named is there, and the
// summary is that of the rows.

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "unit/control/command/support.hpp"
#include "unit/control/config/support.hpp"

namespace lsn::control {
namespace {

using testing::ElementsAreArray;

/// What each RFC asks for, in its order: "3a" is REQ-3 a.
struct Asked {
  std::string rfc;
  std::string prefix;
  std::string numbers;
};
const std::vector<Asked>& all_asked() {
  static const std::vector<Asked> kAll = {
      {"RFC 4787", "REQ-",
       "1 2 3 3a 4 5 5a 5b 5c 6 6a 7 8 8a 9 9a 10 10a 11 12 12a 12b 13 13a 14 14a"},
      {"RFC 5382", "REQ-", "1 2 2a 3 3a 3b 4 4a 5 5a 6 7 8 8a 9 10"},
      {"RFC 5508", "REQ-",
       "1 1a 2 2a 3 3a 3b 3c 3d 4 4a 4b 4c 5 5a 5b 5c 6 7 7a 8 9 10a1 10a2 10a3 10b 10c 10d 10e "
       "10f 11"},
      {"RFC 6888", "REQ-",
       "1 2 3 4 4a 4b 4c 5 5a 5b 6 7 8 8a 8b 8c 9 10 11a 11b 11c 11d 12 13 14 15"},
      {"RFC 7857", "", "2 2.1 2.2 3 4 5 6 7 7.1 8 9 10 11 12"},
      {"RFC 7422", "", "2 3"},
  };
  return kAll;
}

constexpr std::array<std::string_view, 4> kStatuses{"met", "configured", "not met",
                                                    "not applicable"};
constexpr std::string_view kSummaryHead =
    "| RFC | met | configured | not met | not applicable | rows | without a test |";

/// "10a1" with its prefix: "REQ-10 a 1".
std::string spelled(const std::string& prefix, const std::string& number) {
  std::string text = prefix;
  char last = '\0';
  for (const char c : number) {
    const bool is_digit = std::isdigit(static_cast<unsigned char>(c)) != 0;
    const bool is_letter = std::isalpha(static_cast<unsigned char>(c)) != 0;
    const bool was_digit = std::isdigit(static_cast<unsigned char>(last)) != 0;
    const bool was_letter = std::isalpha(static_cast<unsigned char>(last)) != 0;
    if ((is_letter && was_digit) || (is_digit && was_letter)) text += ' ';
    text += c;
    last = c;
  }
  return text;
}

std::string trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  while (text.ends_with(' ')) text.remove_suffix(1);
  return std::string(text);
}

/// Of a line "| a | b |"; no cell has a bar in it.
std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  line.remove_prefix(1);
  for (std::size_t end = line.find('|'); end != line.npos; end = line.find('|')) {
    cells.push_back(trimmed(line.substr(0, end)));
    line.remove_prefix(end + 1);
  }
  return cells;
}

struct Row {
  std::string rfc;
  std::string requirement;
  std::string status;
  std::string how;
  std::string shown_by;

  [[nodiscard]] std::string name() const { return rfc + ' ' + requirement; }
  /// Without the word in brackets that tells parts apart.
  [[nodiscard]] std::string number() const { return requirement.substr(0, requirement.find(" (")); }
};

struct Page {
  std::vector<Row> rows;
  std::map<std::string, std::vector<std::string>> summary;  ///< by RFC, and "all"
};

Page read_page() {
  const std::string text = read_file(project_file("docs/rfc-compliance.md"));
  EXPECT_NE(text.find(kSummaryHead), std::string::npos);
  Page page;
  std::string section;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("## ")) {
      section = line.substr(3, line.find(':') == line.npos ? line.npos : line.find(':') - 3);
      continue;
    }
    if (!line.starts_with("| ")) continue;
    std::vector<std::string> cells = cells_of(line);
    if (cells.empty() || cells[0] == "RFC" || cells[0] == "requirement") continue;
    if (section == "Summary") {
      const std::string of = cells[0];
      cells.erase(cells.begin());
      page.summary[of] = cells;
    } else if (cells.size() == 6) {
      page.rows.push_back({section, cells[0], cells[3], cells[4], cells[5]});
    } else {
      ADD_FAILURE() << cells.size() << " cells, not 6: " << line;
    }
  }
  return page;
}

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

void skip_blanks(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

bool take(std::string_view& text, char c) {
  skip_blanks(text);
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

std::string take_word(std::string_view& text) {
  skip_blanks(text);
  std::size_t size = 0;
  while (size < text.size() && is_word(text[size])) ++size;
  std::string word(text.substr(0, size));
  text.remove_prefix(size);
  return word;
}

/// "Suite.Name" of each TEST, TEST_F and TEST_P in a source, on however many lines it stands.
void add_cases_of(const std::string& source, std::set<std::string>& cases) {
  constexpr std::string_view kMacro = "TEST";
  for (std::size_t at = source.find(kMacro); at != source.npos;
       at = source.find(kMacro, at + kMacro.size())) {
    if (at != 0 && is_word(source[at - 1])) continue;
    std::string_view rest = std::string_view(source).substr(at + kMacro.size());
    if (rest.starts_with("_F") || rest.starts_with("_P")) rest.remove_prefix(2);
    if (!take(rest, '(')) continue;
    const std::string suite = take_word(rest);
    if (!take(rest, ',')) continue;
    const std::string name = take_word(rest);
    if (!suite.empty() && !name.empty() && take(rest, ')')) cases.insert(suite + '.' + name);
  }
}

std::set<std::string> cases_of_all_sources() {
  std::set<std::string> cases;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(project_file("tests")))
    if (entry.path().extension() == ".cpp") add_cases_of(read_file(entry.path().string()), cases);
  return cases;
}

/// What stands between backquotes in "`A.B`, `C.D`".
std::vector<std::string> quoted_in(std::string_view text) {
  std::vector<std::string> all;
  for (std::size_t begin = text.find('`'); begin != text.npos; begin = text.find('`')) {
    text.remove_prefix(begin + 1);
    const std::size_t end = text.find('`');
    if (end == text.npos) break;
    all.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return all;
}

/// Whether a Python file has such a function.
bool has_function(const std::string& file, const std::string& name) {
  const std::string text = '\n' + read_file(project_file(file.c_str()));
  return text.find("\ndef " + name + "(") != std::string::npos;
}

TEST(RfcCompliance, CasesAreFoundOnHoweverManyLinesTheyStand) {
  std::set<std::string> cases;
  add_cases_of("TEST(A, One) {}\nTEST_F (B,\n       Two)\n{}\nTEST_P(C , Three ) {", cases);
  add_cases_of("INSTANTIATE_TEST_SUITE_P(All, D, shardings());\n// TEST, TEST_F and TEST_P\n",
               cases);
  EXPECT_EQ(cases, (std::set<std::string>{"A.One", "B.Two", "C.Three"}));
}

TEST(RfcCompliance, EveryRequirementHasItsRowInItsOrder) {
  const Page page = read_page();
  std::set<std::string> names;
  for (const Row& row : page.rows)
    EXPECT_TRUE(names.insert(row.name()).second) << row.name() << " is there twice";
  std::size_t rows = 0;
  for (const Asked& asked : all_asked()) {
    std::vector<std::string> expected;
    std::istringstream numbers(asked.numbers);
    for (std::string number; numbers >> number;) expected.push_back(spelled(asked.prefix, number));
    std::vector<std::string> found;
    for (const Row& row : page.rows) {
      if (row.rfc != asked.rfc) continue;
      ++rows;
      if (found.empty() || found.back() != row.number()) found.push_back(row.number());
    }
    EXPECT_THAT(found, ElementsAreArray(expected)) << asked.rfc;
  }
  EXPECT_EQ(rows, page.rows.size()) << "there is a table of another RFC";
}

TEST(RfcCompliance, EveryRowHasAStatusAndSaysHowOrWhyNot) {
  for (const Row& row : read_page().rows) {
    EXPECT_NE(std::find(kStatuses.begin(), kStatuses.end(), row.status), kStatuses.end())
        << row.name() << ": " << row.status;
    EXPECT_TRUE(row.status == "met" || !row.how.empty()) << row.name();
  }
}

TEST(RfcCompliance, EveryTestThatIsNamedIsThere) {
  const std::set<std::string> cases = cases_of_all_sources();
  EXPECT_TRUE(cases.contains("RfcCompliance.EveryTestThatIsNamedIsThere"));
  for (const Row& row : read_page().rows) {
    if (row.shown_by == "none") continue;
    const std::vector<std::string> named = quoted_in(row.shown_by);
    std::string again;
    for (const std::string& test : named) again += (again.empty() ? "`" : ", `") + test + '`';
    EXPECT_EQ(row.shown_by, again) << row.name();
    EXPECT_FALSE(named.empty()) << row.name() << " names no test, and does not say none";
    for (const std::string& test : named) {
      const std::size_t colons = test.find("::");
      const bool is_there = colons == test.npos
                                ? cases.contains(test)
                                : has_function(test.substr(0, colons), test.substr(colons + 2));
      EXPECT_TRUE(is_there) << row.name() << ": there is no test " << test;
    }
  }
}

TEST(RfcCompliance, TheSummaryIsThatOfTheRows) {
  const Page page = read_page();
  std::map<std::string, std::vector<std::size_t>> counts;  // as the columns of the summary
  for (const Row& row : page.rows)
    for (const std::string& of : {row.rfc, std::string("all")}) {
      std::vector<std::size_t>& count = counts[of];
      count.resize(kStatuses.size() + 2);
      const auto status = std::find(kStatuses.begin(), kStatuses.end(), row.status);
      if (status != kStatuses.end()) ++count[static_cast<std::size_t>(status - kStatuses.begin())];
      ++count[kStatuses.size()];
      if (row.shown_by == "none") ++count[kStatuses.size() + 1];
    }
  std::map<std::string, std::vector<std::string>> expected;
  for (const auto& [of, count] : counts)
    for (const std::size_t number : count) expected[of].push_back(std::to_string(number));
  EXPECT_EQ(page.summary, expected);
}

}  // namespace
}  // namespace lsn::control
