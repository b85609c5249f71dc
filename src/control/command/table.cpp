#include "lsn/control/command/table.hpp"

#include <algorithm>

namespace lsn::control {

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

namespace {

/// How many places a text takes: continuation bytes of UTF-8 take none.
std::size_t places(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

Table::Widths Table::widths() const {
  Widths widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = std::max(columns_[i].width, places(columns_[i].title));
    for (const auto& row : rows_) width = std::max(width, places(row[i]));
    if (!total_.empty()) width = std::max(width, places(total_[i]));
    widths.push_back(width);
  }
  return widths;
}

void Table::print_row(std::string& out, const Widths& widths,
                      const std::vector<std::string>& cells) const {
  const std::size_t start = out.size();
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i != 0) out += "  ";
    const std::size_t padding = widths[i] - std::min(widths[i], places(cells[i]));
    if (columns_[i].align == Align::kRight) out.append(padding, ' ');
    out += cells[i];
    if (columns_[i].align == Align::kLeft) out.append(padding, ' ');
  }
  const std::size_t last = out.find_last_not_of(' ');
  out.resize(last == std::string::npos || last < start ? start : last + 1);
  out += '\n';
}

void Table::print_head(std::string& out, const Widths& widths) const {
  std::vector<std::string> titles;
  std::vector<std::string> rules;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    titles.emplace_back(columns_[i].title);
    rules.emplace_back(widths[i], '-');
  }
  print_row(out, widths, titles);
  print_row(out, widths, rules);
}

std::string Table::print() const {
  std::string out;
  const Widths wide = widths();
  print_head(out, wide);
  for (const auto& row : rows_) print_row(out, wide, row);
  if (!total_.empty()) {
    std::vector<std::string> rules;
    for (const std::size_t width : wide) rules.emplace_back(width, '-');
    print_row(out, wide, rules);
    print_row(out, wide, total_);
  }
  return out;
}

std::string Table::print_head() const {
  std::string out;
  print_head(out, widths());
  return out;
}

std::string Table::print_rows() {
  std::string out;
  const Widths wide = widths();
  for (const auto& row : rows_) print_row(out, wide, row);
  rows_.clear();
  return out;
}

}  // namespace lsn::control
