#include "lsn/control/config/problem.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {

std::string to_string(const Problem& problem) {
  if (problem.file.empty()) return problem.text;
  if (problem.line == 0) return fmt::format("{}: {}", problem.file, problem.text);
  return fmt::format("{}:{}: {}", problem.file, problem.line, problem.text);
}

std::string to_string(const std::vector<Problem>& problems) {
  std::string all;
  for (const Problem& problem : problems) all += to_string(problem) + '\n';
  return all;
}

std::string complaint(std::string_view what, std::string_view given, std::string_view allowed) {
  std::string text(what);
  if (!given.empty()) text += fmt::format(": given {}", given);
  if (!allowed.empty()) text += fmt::format("{} allowed {}", given.empty() ? ":" : ",", allowed);
  return printable(text, 2000);
}

void Findings::report(const std::string& path, std::string_view what, std::string_view given,
                      std::string_view allowed) {
  // Names and values come from outside: a problem stays one line of text whatever they are.
  std::string text = printable(what);
  if (!given.empty()) text += fmt::format(": given {}", printable(given, 300));
  if (!allowed.empty())
    text += fmt::format("{} allowed {}", given.empty() ? ":" : ",", printable(allowed));
  bad_.insert(path);
  found_.push_back({place_of(path), std::move(text)});
}

bool Findings::sound(const std::string& path) const {
  const auto next = bad_.lower_bound(path);
  if (next == bad_.end() || !next->starts_with(path)) return true;
  // "lsn.pool[1" is not within "lsn.pool", "lsn.pool[1].lsnip" is within "lsn.pool[1]".
  for (auto it = next; it != bad_.end() && it->starts_with(path); ++it)
    if (it->size() == path.size() || (*it)[path.size()] == '.' || (*it)[path.size()] == '[')
      return false;
  return true;
}

Place Findings::place_of(std::string path) const {
  while (true) {
    if (const auto found = places_.find(path); found != places_.end()) return found->second;
    const std::size_t cut = path.find_last_of(".[");
    if (cut == std::string::npos) break;
    path.resize(cut);
  }
  const auto root = places_.find("");
  return root == places_.end() ? Place{0, 1} : root->second;
}

std::vector<Problem> Findings::take() {
  std::stable_sort(found_.begin(), found_.end(),
                   [](const Found& a, const Found& b) { return a.place < b.place; });
  std::vector<Problem> problems;
  problems.reserve(found_.size());
  for (Found& found : found_) {
    if (files_.empty())
      problems.push_back({"", 0, std::move(found.text)});
    else
      problems.push_back({files_[std::min<std::size_t>(found.place.file, files_.size() - 1)],
                          found.place.line, std::move(found.text)});
  }
  found_.clear();
  return problems;
}

}  // namespace lsn::control
