#include "deterministic.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "lsn/control/command/deterministic.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/load.hpp"

namespace lsn::ctl {
namespace {

constexpr std::string_view kFile = "FILE";

const control::ValueSyntax kConfigurationFile{
    "FILE", "the path of a configuration file",
    [](std::string_view text) -> std::optional<control::Value> { return std::string(text); }};

int fail(const std::string& error) {
  fmt::print(stderr, "ERROR: {}\n", error);
  return 1;
}

}  // namespace

int deterministic(const std::vector<std::string>& words, control::Format format) {
  static const std::array<control::PositionalSpec, 1> kParameters{
      {{kFile, &kConfigurationFile, control::Occurs::kOnce}}};
  static const std::array<control::CommandSpec, 1> kCommands{
      {{"deterministic", "who has which NAT address and ports", nullptr,
        control::deterministic_options(), kParameters}}};
  auto parsed = control::Grammar(kCommands).parse(control::join_words(words));
  if (!parsed) return fail(parsed.error());
  control::Command& command = **parsed;
  if (format == control::Format::kJson) command.format = format;
  const auto model = control::load_config(*command.get<std::string>(kFile));
  if (!model) {
    for (const control::Problem& problem : model.error())
      fmt::print(stderr, "{}\n", control::to_string(problem));
    return 1;
  }
  auto answer = control::begin_deterministic(command, control::deterministic_groups(*model));
  if (!answer) return fail(answer.error());
  for (auto progress = control::Answer::Progress::kMore;
       progress == control::Answer::Progress::kMore;) {
    std::string text;
    progress = (*answer)->next(text);
    fmt::print("{}", text);
  }
  return 0;
}

}  // namespace lsn::ctl
