// Tables for people: columns as wide as what stands in them, numbers to the right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lsn::control {

class Table {
 public:
  enum class Align : std::uint8_t { kLeft, kRight };
  struct Column {
    std::string_view title;
    Align align = Align::kLeft;
    std::size_t width = 0;  ///< at least; for tables that are printed before they are complete
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// As many cells as there are columns.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  /// Titles, a rule, rows.
  [[nodiscard]] std::string print() const;
  /// Rows only, as wide as the columns say: the next page of a table. Forgets them.
  [[nodiscard]] std::string print_rows();

 private:
  [[nodiscard]] std::vector<std::size_t> widths() const;
  void print_row(std::string& out, const std::vector<std::size_t>& widths,
                 const std::vector<std::string>& cells) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace lsn::control
