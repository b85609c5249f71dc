// The common part of the writers of lists (paged_answer.hpp): a table, or a JSON array, and the
// number of rows; or only the number.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "lsn/control/command/grammar.hpp"
#include "lsn/control/command/table.hpp"

namespace lsn::control {

class ListWriter {
 public:
  enum class Rows : std::uint8_t { kShown, kCounted };

  ListWriter(Format format, Table table, std::string_view key, std::string_view one,
             std::string_view many, Rows rows = Rows::kShown)
      : format_(format), rows_(rows), table_(std::move(table)), key_(key), one_(one), many_(many) {}

  void begin(std::string& out) const {
    if (is_shown()) out += is_json() ? fmt::format("{{\"{}\":[", key_) : table_.print_head();
  }
  void end_page(std::string& out) {
    if (is_shown() && !is_json()) out += table_.print_rows();
  }
  void end(std::string& out) const {
    if (is_json() && !is_shown())
      out += fmt::format("{{\"count\":{}}}\n", count_);
    else if (is_json())
      out += fmt::format("{}],\"count\":{}}}\n", count_ == 0 ? "" : "\n", count_);
    else
      out += fmt::format("{} {}\n", count_, count_ == 1 ? one_ : many_);
  }

 protected:
  [[nodiscard]] bool is_json() const { return format_ == Format::kJson; }
  /// Rows are written, not only counted.
  [[nodiscard]] bool is_shown() const { return rows_ == Rows::kShown; }
  /// Before each row of JSON.
  [[nodiscard]] std::string_view separator() const { return count_ == 0 ? "\n" : ",\n"; }
  void counted() { ++count_; }
  Table& table() { return table_; }

 private:
  Format format_;
  Rows rows_;
  Table table_;
  std::string_view key_, one_, many_;
  std::uint64_t count_ = 0;
};

}  // namespace lsn::control
