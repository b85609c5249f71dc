#include "lsn/control/records/segment_name.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <system_error>

namespace lsn::control {
namespace {

/// "-20261201T003129Z"
constexpr std::size_t kStampLength = 17;

std::optional<unsigned> digits(std::string_view text) {
  return text.empty() ? std::nullopt : parse_number(text, 1'000'000);
}

std::optional<std::int64_t> parse_stamp(std::string_view text) {
  if (text.size() != kStampLength || text[0] != '-' || text[9] != 'T' || text[16] != 'Z')
    return std::nullopt;
  std::array<unsigned, 6> parts{};
  constexpr std::array<std::pair<std::size_t, std::size_t>, 6> kPlaces{
      {{1, 4}, {5, 2}, {7, 2}, {10, 2}, {12, 2}, {14, 2}}};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto part = digits(text.substr(kPlaces[i].first, kPlaces[i].second));
    if (!part) return std::nullopt;
    parts[i] = *part;
  }
  using namespace std::chrono;
  const year_month_day date{year{static_cast<int>(parts[0])}, month{parts[1]}, day{parts[2]}};
  if (!date.ok() || parts[3] > 23 || parts[4] > 59 || parts[5] > 60) return std::nullopt;
  return (sys_days{date} + hours{parts[3]} + minutes{parts[4]} + seconds{parts[5]})
      .time_since_epoch()
      .count();
}

}  // namespace

std::string SegmentName::text() const {
  std::string text =
      fmt::format("-{:%Y%m%dT%H%M%S}Z", std::chrono::sys_seconds{std::chrono::seconds{second}});
  if (number > 1) text += fmt::format("-{}", number);
  text += format == RecordFormat::kJson ? ".json" : ".log";
  if (compressed) text += kZstdEnding;
  return text;
}

std::optional<SegmentName> SegmentName::parse(std::string_view text) {
  SegmentName name;
  const auto second = parse_stamp(text.substr(0, std::min(text.size(), kStampLength)));
  if (!second) return std::nullopt;
  name.second = *second;
  text.remove_prefix(kStampLength);
  if (text.starts_with('-')) {
    const std::size_t dot = text.find('.');
    const auto number =
        dot == std::string_view::npos ? std::nullopt : digits(text.substr(1, dot - 1));
    if (!number || *number < 2) return std::nullopt;
    name.number = *number;
    text.remove_prefix(dot);
  }
  if (text.ends_with(kZstdEnding)) {
    name.compressed = true;
    text.remove_suffix(kZstdEnding.size());
  }
  if (text != ".log" && text != ".json") return std::nullopt;
  name.format = text == ".json" ? RecordFormat::kJson : RecordFormat::kText;
  return name;
}

std::vector<SegmentName> segments_of(const std::string& path) {
  const std::filesystem::path whole(path);
  const std::string prefix = whole.filename().string();
  std::vector<SegmentName> all;
  std::error_code error;
  for (std::filesystem::directory_iterator each(whole.parent_path(), error), end;
       !error && each != end; each.increment(error)) {
    const std::string name = each->path().filename().string();
    if (!name.starts_with(prefix)) continue;
    if (const auto segment = SegmentName::parse(std::string_view(name).substr(prefix.size())))
      all.push_back(*segment);
  }
  std::sort(all.begin(), all.end());
  // A plain one sorts in front of its compressed form.
  const auto same = [](const SegmentName& a, const SegmentName& b) {
    return a.second == b.second && a.number == b.number && a.format == b.format;
  };
  all.erase(std::unique(all.begin(), all.end(), same), all.end());
  return all;
}

}  // namespace lsn::control
