// Numbers of a measurement: medians and their spread, a table for people, JSON for programs.
//
// Machines are noisy, and noise only ever adds: a run is cut into batches of a fraction of a
// millisecond, its result is their median, so that an interruption costs one batch; runs of
// different cells alternate, and a cell's result is the median of its runs, shown with the lowest
// and the highest.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace lsn::bench {

[[nodiscard]] inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const std::size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle),
                   values.end());
  const double upper = values[middle];
  if (values.size() % 2 != 0) return upper;
  return (upper +
          *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle))) /
         2;
}

/// The value that `part` of them are below: 0.999 for the p99.9. Sorted, and at least one.
[[nodiscard]] inline double percentile(const std::vector<double>& sorted, double part) {
  const auto at = static_cast<std::size_t>(part * static_cast<double>(sorted.size()));
  return sorted[std::min(sorted.size() - 1, at)];
}

/// Results of the runs of one cell.
class Runs {
 public:
  void add(double result) { results_.push_back(result); }
  [[nodiscard]] bool empty() const { return results_.empty(); }
  [[nodiscard]] double mid() const { return median(results_); }
  [[nodiscard]] double low() const {
    return empty() ? 0 : *std::min_element(results_.begin(), results_.end());
  }
  [[nodiscard]] double high() const {
    return empty() ? 0 : *std::max_element(results_.begin(), results_.end());
  }
  [[nodiscard]] const std::vector<double>& all() const { return results_; }

 private:
  std::vector<double> results_;
};

/// "median (lowest-highest)"
[[nodiscard]] inline std::string clocks(const Runs& runs) {
  return fmt::format("{:.0f} ({:.0f}-{:.0f})", runs.mid(), runs.low(), runs.high());
}

/// For programs: the measured quantity, the traffic, the number of sessions.
struct Report {
  nlohmann::json cells = nlohmann::json::array();

  void add(const std::string& table, nlohmann::json cell, const std::string& unit,
           const Runs& runs) {
    cell["table"] = table;
    cell["unit"] = unit;
    cell["median"] = runs.mid();
    cell["low"] = runs.low();
    cell["high"] = runs.high();
    cell["runs"] = runs.all();
    cells.push_back(std::move(cell));
  }
};

/// A table whose first columns are words and whose others are numbers.
class Table {
 public:
  Table(std::string title, std::vector<std::string> columns)
      : title_(std::move(title)), columns_(std::move(columns)) {}

  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  /// As Markdown: the output goes into the documentation as it is.
  [[nodiscard]] std::string text() const {
    std::vector<std::size_t> widths;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      std::size_t width = std::max<std::size_t>(columns_[c].size(), 3);
      for (const auto& row : rows_) width = std::max(width, row[c].size());
      widths.push_back(width);
    }
    const auto line = [&](const std::vector<std::string>& cells) {
      std::string result = "|";
      for (std::size_t c = 0; c < cells.size(); ++c)
        result += c == 0 ? fmt::format(" {:<{}} |", cells[c], widths[c])
                         : fmt::format(" {:>{}} |", cells[c], widths[c]);
      return result + "\n";
    };
    std::string result = "\n**" + title_ + "**\n\n" + line(columns_) + "|";
    for (std::size_t c = 0; c < columns_.size(); ++c)
      result += std::string(widths[c] + (c == 0 ? 2 : 1), '-') + (c == 0 ? "|" : ":|");
    result += "\n";
    for (const auto& row : rows_) result += line(row);
    return result;
  }

 private:
  std::string title_;
  std::vector<std::string> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// "1", "1 k", "64 k", "1 M"
[[nodiscard]] inline std::string count_text(std::uint64_t n) {
  if (n >= 1'000'000 && n % 1'000'000 == 0) return fmt::format("{} M", n / 1'000'000);
  if (n >= 1'000 && n % 1'000 == 0) return fmt::format("{} k", n / 1'000);
  return fmt::format("{}", n);
}

}  // namespace lsn::bench
