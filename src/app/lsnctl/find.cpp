#include "find.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <expected>
#include <optional>
#include <string_view>

#include "lsn/control/command/words.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/records/find.hpp"

namespace lsn::ctl {
namespace {

using control::complaint;
using control::FindQuestion;

constexpr int kWrong = 1;
constexpr int kNotSure = 2;
/// As config/lsnd.conf has it.
constexpr const char* kUsualPath = "/var/log/lsnd/records";

struct Asked {
  FindQuestion question;
  std::vector<std::string> files;
};

std::optional<std::int64_t> moment(std::string_view text) {
  if (const auto utc = control::parse_utc(text)) return utc;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  constexpr std::int64_t kLatest = 253'402'300'799;  // the year 9999
  if (error != std::errc{} || end != text.data() + text.size() || seconds < 0 || seconds > kLatest)
    return std::nullopt;
  return seconds * 1000;
}

std::optional<std::uint32_t> spi_of(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  const auto number = control::parse_number(text, 0xFFFFFFFF, hex ? 16 : 10);
  return number && *number != 0 ? std::optional<std::uint32_t>(*number) : std::nullopt;
}

/// Takes the value of one option. Error: one line.
std::expected<void, std::string> take(std::string_view option, const std::string& value,
                                      FindQuestion& q, std::int64_t& within) {
  const auto wrong = [&](std::string_view allowed) {
    return std::unexpected(complaint(fmt::format("find: {}", option), value, allowed));
  };
  if (control::same_word(option, "-natIP")) {
    const auto address = wire::parse_ipv4(value);
    if (!address) return wrong("an address A.B.C.D");
    q.nat = *address;
  } else if (control::same_word(option, "-natPort")) {
    const auto port = control::parse_number(value, 65535);
    if (!port) return wrong("0-65535");
    q.port = static_cast<std::uint16_t>(*port);
  } else if (control::same_word(option, "-spi")) {
    if (!(q.spi = spi_of(value))) return wrong("1-4294967295, or 0x and eight digits");
  } else if (control::same_word(option, "-protocol")) {
    q.protocol = value;
  } else if (control::same_word(option, "-at")) {
    const auto ms = moment(value);
    if (!ms) return wrong("2026-12-01T00:31:29Z, with +01:00 for Z as well, or seconds since 1970");
    q.from_ms = q.until_ms = *ms;
  } else if (control::same_word(option, "-within")) {
    const auto seconds = control::parse_number(value, 86400 * 366);
    if (!seconds) return wrong("0-31622400 s");
    within = std::int64_t{*seconds} * 1000;
  } else {
    return std::unexpected(
        complaint("find", option, "-natIP, -natPort, -spi, -protocol, -at, -within or a file"));
  }
  return {};
}

std::expected<Asked, std::string> parse(const std::vector<std::string>& words) {
  Asked asked;
  std::int64_t within = 0;
  bool has_address = false, has_time = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!words[i].starts_with('-')) {
      asked.files.push_back(words[i]);
      continue;
    }
    if (i + 1 == words.size())
      return std::unexpected(complaint(fmt::format("find: {}", words[i]), "nothing", "a value"));
    if (auto taken = take(words[i], words[i + 1], asked.question, within); !taken)
      return std::unexpected(taken.error());
    has_address = has_address || control::same_word(words[i], "-natIP");
    has_time = has_time || control::same_word(words[i], "-at");
    ++i;
  }
  if (!has_address || !has_time)
    return std::unexpected(
        complaint("find", has_address ? "no -at" : "no -natIP", "-natIP A and -at TIME, both"));
  if (asked.question.port && asked.question.spi)
    return std::unexpected(complaint("find", "-natPort and -spi", "one of them"));
  asked.question.from_ms -= within;
  asked.question.until_ms += within;
  if (asked.files.empty()) asked.files.emplace_back(kUsualPath);
  return asked;
}

}  // namespace

int find(const std::vector<std::string>& words, bool json) {
  const auto asked = parse(words);
  if (!asked) {
    fmt::print(stderr, "ERROR: {}\n", asked.error());
    return kWrong;
  }
  const auto answer = control::find_holders(asked->question, asked->files);
  if (!answer) {
    fmt::print(stderr, "ERROR: {}\n", answer.error());
    return kWrong;
  }
  fmt::print("{}", control::to_text(asked->question, *answer,
                                    json ? control::Format::kJson : control::Format::kText));
  return answer->holders.empty() && !answer->doubts.empty() ? kNotSure : 0;
}

}  // namespace lsn::ctl
