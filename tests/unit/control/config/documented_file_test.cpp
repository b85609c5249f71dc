// config/lsnd.conf documents every setting with its default: this holds it to that.
#include <fstream>
#include <regex>
#include <sstream>

#include "lsn/control/config/flatten.hpp"
#include "support.hpp"

namespace lsn::control {
namespace {

std::string text_of(const char* name) {
  const std::ifstream file(project_file(name));
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(DocumentedFile, WhatStandsInCommentsIsTheDefault) {
  const std::string text = text_of("config/lsnd.conf");
  std::istringstream lines(text);
  const std::regex setting(R"(^(\s*)# (\w+ = [^;]*;|\w+: \{.*|\};)(\s+#.*)?$)");
  std::string uncommented;
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, setting)) {
      ++count;
      line = match[1].str() + match[2].str();
    }
    uncommented += line + '\n';
  }
  EXPECT_GT(count, 40);
  EXPECT_EQ(model_of(uncommented), model_of(text));
}

TEST(DocumentedFile, NoSettingIsForgotten) {
  const std::string text = text_of("config/lsnd.conf");
  const std::string reference = text_of("docs/configuration.md");
  for (const FlatSetting& setting : flatten(model_of(text), ObjectsBy::kNumber)) {
    const std::string path = without_indexes(setting.path);
    const std::string name = path.substr(path.rfind('.') + 1);
    EXPECT_TRUE(std::regex_search(text, std::regex("\\b" + name + "( =|:)"))) << path;
    EXPECT_TRUE(std::regex_search(reference, std::regex("\\b" + name + "\\b"))) << path;
  }
}

}  // namespace
}  // namespace lsn::control
