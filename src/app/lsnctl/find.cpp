#include "find.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/grammar.hpp"
#include "lsn/control/command/session_answers.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/records/find.hpp"
#include "lsn/control/records/segment_name.hpp"

namespace lsn::ctl {
namespace {

using control::complaint;
using control::FindQuestion;

constexpr int kWrong = 1;
constexpr int kNotSure = 2;

constexpr std::string_view kNatIp = "-natIP", kNatPort = "-natPort", kSpi = "-spi",
                           kProtocol = "-protocol", kDestIp = "-destIP", kAt = "-at",
                           kWithin = "-within", kSegments = "FILE";

struct Asked {
  FindQuestion question;
  std::vector<std::string> files;
};

/// From its first millisecond to its last: whole seconds are all of their second.
struct Moment {
  std::int64_t first_ms;
  std::int64_t last_ms;
};

std::optional<Moment> moment(std::string_view text) {
  constexpr std::int64_t kRest = 999;
  if (const auto utc = control::parse_utc(text))
    return Moment{*utc, text.find('.') == std::string_view::npos ? *utc + kRest : *utc};
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  constexpr std::int64_t kLatest = 253'402'300'799;  // the year 9999
  if (error != std::errc{} || seconds < 0 || seconds > kLatest) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.empty()) return Moment{seconds * 1000, seconds * 1000 + kRest};
  const auto ms = text.size() == 4 && text[0] == '.' ? control::parse_number(text.substr(1), 999)
                                                     : std::nullopt;
  if (!ms) return std::nullopt;
  return Moment{seconds * 1000 + *ms, seconds * 1000 + *ms};
}

const control::ValueSyntax kMoment{
    "TIME",
    "2026-12-01T00:31:29Z or 2026-12-01T00:31:29.120Z, with +01:00 for Z as well, or seconds since "
    "1970, with or without .120",
    [](std::string_view text) -> std::optional<control::Value> {
      if (!moment(text)) return std::nullopt;
      return std::string(text);
    }};
const control::ValueSyntax kSeconds{"S", "0-31622400 s",
                                    [](std::string_view text) -> std::optional<control::Value> {
                                      return control::parse_number(text, 86400 * 366);
                                    }};
const control::ValueSyntax kSpiNumber{
    "S", "1-4294967295, or 0x and eight digits",
    [](std::string_view text) -> std::optional<control::Value> {
      const bool hex = text.starts_with("0x") || text.starts_with("0X");
      if (hex) text.remove_prefix(2);
      const auto number = control::parse_number(text, 0xFFFFFFFF, hex ? 16 : 10);
      return number && *number != 0 ? std::optional<control::Value>(*number) : std::nullopt;
    }};

const control::ValueSyntax kSegmentPath{
    "FILE", "a segment or the path of a sink (records.file.path)",
    [](std::string_view text) -> std::optional<control::Value> { return std::string(text); }};

std::span<const control::CommandSpec> commands() {
  static const std::array<control::OptionSpec, 7> kOptions{{
      {kNatIp, &control::kAnyAddress, "whose this NAT address was"},
      {kNatPort, &control::kPortNumber, "whose this port of it was", kNatIp},
      {kSpi, &kSpiNumber, "whose this SPI of ESP was", kNatIp},
      {kProtocol, &control::kProtocolName, "of this protocol", kNatIp},
      {kDestIp, &control::kAnyAddress, "towards this destination, of records that have one",
       kNatIp},
      {kAt, &kMoment, "when"},
      {kWithin, &kSeconds, "seconds before and after it", kAt},
  }};
  static const std::array<control::PositionalSpec, 1> kFiles{
      {{kSegments, &kSegmentPath, control::Occurs::kAnyTimes}}};
  static const std::array<control::CommandSpec, 1> kCommands{
      {{"find", "whose a NAT address was, out of the records", nullptr, kOptions, kFiles}}};
  return kCommands;
}

/// Error: one line.
std::expected<Asked, std::string> asked_by(const control::Command& command) {
  Asked asked;
  FindQuestion& q = asked.question;
  if (!command.has(kNatIp) || !command.has(kAt))
    return std::unexpected(complaint("find", command.has(kNatIp) ? "no -at" : "no -natIP",
                                     "-natIP A and -at TIME, both"));
  if (command.has(kNatPort) && command.has(kSpi))
    return std::unexpected(complaint("find", "-natPort and -spi", "one of them"));
  q.nat = *command.get<wire::Ipv4Address>(kNatIp);
  if (const auto* const port = command.get<std::uint32_t>(kNatPort))
    q.port = static_cast<std::uint16_t>(*port);
  if (const auto* const spi = command.get<std::uint32_t>(kSpi)) q.spi = *spi;
  if (const auto* const protocol = command.get<std::string>(kProtocol)) q.protocol = *protocol;
  if (const auto* const to = command.get<wire::Ipv4Address>(kDestIp)) q.destination = *to;
  if (q.port && control::same_word(q.protocol, "ESP"))
    return std::unexpected(complaint("find", "-natPort with -protocol ESP", "-spi with it"));
  if (q.spi && !q.protocol.empty() && !control::same_word(q.protocol, "ESP"))
    return std::unexpected(complaint("find", "-spi with -protocol " + q.protocol,
                                     "-spi alone, or with -protocol ESP"));
  const Moment at = *moment(*command.get<std::string>(kAt));
  const auto* const within = command.get<std::uint32_t>(kWithin);
  const std::int64_t within_ms = within == nullptr ? 0 : std::int64_t{*within} * 1000;
  q.from_ms = at.first_ms - within_ms;
  q.until_ms = at.last_ms + within_ms;
  for (const auto& argument : command.arguments)
    if (argument.name == kSegments) asked.files.push_back(std::get<std::string>(argument.value));
  if (asked.files.empty()) asked.files.emplace_back(control::kUsualRecordPath);
  return asked;
}

}  // namespace

int find(const std::vector<std::string>& words, control::Format format) {
  if (std::ranges::find(words, "--json") != words.end()) format = control::Format::kJson;
  const auto fail = [format](const std::string& error) {
    if (format == control::Format::kJson)
      fmt::print("{}", control::document({{"errors", nlohmann::ordered_json::array({error})}}));
    fmt::print(stderr, "ERROR: {}\n", error);
    return kWrong;
  };
  auto parsed = control::Grammar(commands()).parse(control::join_words(words));
  if (!parsed) return fail(parsed.error());
  const control::Command& command = **parsed;
  const auto asked = asked_by(command);
  if (!asked) return fail(asked.error());
  const auto answer = control::find_holders(asked->question, asked->files);
  if (!answer) return fail(answer.error());
  if (command.format == control::Format::kJson) format = command.format;
  fmt::print("{}", control::to_text(asked->question, *answer, format));
  return answer->holders.empty() && !answer->doubts.empty() ? kNotSure : 0;
}

}  // namespace lsn::ctl
