// Tables for people: columns as wide as their content, numbers to the right, totals below a rule. A
// table that is too long to be held in memory is printed in pages: its columns have their widths
// from the beginning, print_head() comes first, print_rows() then page by page.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lsn::control {

/// "1234567" as "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t number);

class Table {
 public:
  enum class Align : std::uint8_t { kLeft, kRight };
  struct Column {
    std::string_view title;  ///< outlives the table
    Align align = Align::kLeft;
    std::size_t width = 0;  ///< at least
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// As many cells as there are columns.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// The last row, below a rule.
  void add_total(std::vector<std::string> cells) { total_ = std::move(cells); }

  /// Titles, a rule, rows; a rule and the total, if there is one.
  [[nodiscard]] std::string print() const;

  /// Titles and a rule.
  [[nodiscard]] std::string print_head() const;
  /// The rows that were added since the last call.
  [[nodiscard]] std::string print_rows();

 private:
  using Widths = std::vector<std::size_t>;

  [[nodiscard]] Widths widths() const;
  void print_head(std::string& out, const Widths& widths) const;
  void print_row(std::string& out, const Widths& widths,
                 const std::vector<std::string>& cells) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::string> total_;
};

}  // namespace lsn::control
