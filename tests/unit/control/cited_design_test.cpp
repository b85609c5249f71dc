// What comments cite of docs/ipsec-alg-design.md is there: "design 4.7", "Design 5".

#include <filesystem>
#include <regex>
#include <set>

#include "unit/control/command/support.hpp"
#include "unit/control/config/support.hpp"

namespace lsn::control {
namespace {

/// "4" and "4.7": sections, and in them numbered paragraphs or points.
std::set<std::string> sections_of(const std::string& page) {
  static const std::regex kSection(R"(^## (\d+)\. )"), kParagraph(R"(^(?:- )?\*\*(\d+\.\d+)\*\* )"),
      kPoint(R"(^(\d+)\. )");
  std::set<std::string> all;
  std::string section;
  bool has_paragraphs = false;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    std::smatch found;
    if (std::regex_search(line, found, kSection)) {
      section = found[1];
      has_paragraphs = false;
      all.insert(section);
    } else if (std::regex_search(line, found, kParagraph)) {
      has_paragraphs = true;
      EXPECT_TRUE(all.insert(found[1]).second) << found[1] << " is there twice";
    } else if (!has_paragraphs && std::regex_search(line, found, kPoint)) {
      all.insert(section + '.' + found[1].str());
    }
  }
  return all;
}

TEST(Design, WhatIsCitedOfItIsThere) {
  const std::set<std::string> sections =
      sections_of(read_file(project_file("docs/ipsec-alg-design.md")));
  for (const char* section : {"1", "4", "4.10", "5.13", "7.8", "9.6"})
    EXPECT_TRUE(sections.contains(section)) << section;
  EXPECT_FALSE(sections.contains("4.11"));
  constexpr std::string_view kCited = "esign ";
  unsigned cited = 0;
  for (const char* room : {"include", "src", "tests"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(project_file(room))) {
      const std::string extension = entry.path().extension();
      if (extension != ".hpp" && extension != ".cpp") continue;
      const std::string text = read_file(entry.path());
      for (std::size_t at = text.find(kCited); at != text.npos; at = text.find(kCited, at + 1)) {
        std::string number = text.substr(at + kCited.size(), 5);
        number.resize(std::min(number.find_first_not_of("0123456789."), number.size()));
        if (number.ends_with('.')) number.pop_back();
        if (number.empty()) continue;
        ++cited;
        EXPECT_TRUE(sections.contains(number)) << entry.path() << ": design " << number;
      }
    }
  EXPECT_GT(cited, 100U);
}

}  // namespace
}  // namespace lsn::control
