#include "repeat.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "lsn/control/command/table.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::ctl {
namespace {

using Json = nlohmann::ordered_json;
using Values = std::vector<std::pair<std::string, double>>;

/// The option, or its beginning: stat has no others.
bool is_meant(std::string_view text, std::string_view option) {
  return text.size() >= 2 && control::begins_with(option, text);
}

bool take_number(const std::string& text, unsigned& number) {
  number = control::parse_number(text, 1'000'000).value_or(0);
  return number >= 1;
}

/// Every number of a document by its path; elements of a list by their name, if they have one.
void flatten(const Json& json, const std::string& path, Values& out) {
  if (json.is_number()) out.emplace_back(path, json.get<double>());
  const std::string before = path.empty() ? "" : path + ".";
  if (json.is_object())
    for (const auto& [key, value] : json.items()) flatten(value, before + key, out);
  if (json.is_array())
    for (std::size_t i = 0; i < json.size(); ++i) {
      std::string name = std::to_string(i);
      for (const char* key :
           {"name", "reason", "protocol", "profile", "worker", "interface", "device"})
        if (json[i].is_object() && json[i].contains(key)) {
          name = json[i][key].is_string() ? json[i][key].get<std::string>() : json[i][key].dump();
          break;
        }
      flatten(json[i], before + name, out);
    }
}

std::string rates(const Values& before, const Values& after, double seconds) {
  const std::map<std::string, double> earlier(before.begin(), before.end());
  control::Table table({{"what has moved"},
                        {"now", control::Table::Align::kRight},
                        {"change", control::Table::Align::kRight},
                        {"per second", control::Table::Align::kRight}});
  bool any = false;
  for (const auto& [path, value] : after) {
    const auto there = earlier.find(path);
    const double change = value - (there == earlier.end() ? 0 : there->second);
    if (change == 0) continue;
    any = true;
    const int digits = value == std::floor(value) && change == std::floor(change) ? 0 : 3;
    table.add({path, fmt::format("{:.{}f}", value, digits), fmt::format("{:+.{}f}", change, digits),
               fmt::format("{:.1f}", change / seconds)});
  }
  return any ? table.print() : "nothing has moved\n";
}

}  // namespace

std::optional<Repetition> repetition_of(std::string_view line) {
  const auto words = control::split_words(line);
  // "st" is no other command's beginning.
  if (!words || words->empty() || !is_meant((*words)[0].text, "stat")) return std::nullopt;
  Repetition repetition;
  std::vector<std::string> rest;
  bool repeated = false, counts = false, interval_given = false;
  for (std::size_t i = 0; i < words->size(); ++i) {
    const std::string& text = (*words)[i].text;
    const bool times = is_meant(text, "-ntimes");
    const bool interval = is_meant(text, "-interval");
    if (!times && !interval) {
      rest.push_back(text);
      continue;
    }
    if (times ? counts : interval_given)
      repetition.error = control::complaint(times ? "-ntimes" : "-interval", "twice", "once");
    interval_given = interval_given || interval;
    repeated = true;
    counts = counts || times;
    if (i + 1 == words->size() ||
        !take_number((*words)[i + 1].text, times ? repetition.times : repetition.interval))
      repetition.error = control::complaint(
          times ? "stat: -ntimes" : "stat: -interval",
          i + 1 == words->size() ? "no value" : (*words)[i + 1].text, "1-1000000");
    ++i;
  }
  if (!repeated) return std::nullopt;
  if (!counts && repetition.error.empty())
    repetition.error = control::complaint("-interval", "without -ntimes", "together with it");
  repetition.command = control::join_words(rest);
  return repetition;
}

int run_repeatedly(control::CommandClient& client, const Repetition& repetition, bool json) {
  if (!repetition.error.empty()) {
    fmt::print(stderr, "ERROR: {}\n", repetition.error);
    return 1;
  }
  Values before;
  Json cleared;  // when the counters were cleared
  auto then = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < repetition.times; ++i) {
    if (i != 0) std::this_thread::sleep_for(std::chrono::seconds{repetition.interval});
    std::string answer;
    const auto status = client.run("--json " + repetition.command,
                                   [&](control::Stream stream, std::string_view text) {
                                     if (stream == control::Stream::kOut)
                                       answer += text;
                                     else
                                       std::fwrite(text.data(), 1, text.size(), stderr);
                                     return true;
                                   });
    if (!status) {
      fmt::print(stderr, "ERROR: {}\n", status.error());
      return 1;
    }
    if (*status != 0) return *status;
    const auto now = std::chrono::steady_clock::now();
    if (json) {
      fmt::print("{}", answer);
    } else {
      Values after;
      Json cleared_now;
      if (const Json document = Json::parse(answer, nullptr, false); !document.is_discarded()) {
        flatten(document, "", after);
        if (document.is_object()) cleared_now = document.value("cleared", Json());
      }
      if (i != 0 && cleared_now != cleared)
        fmt::print("\n{} cleared the counters: what moves is counted from there\n",
                   cleared_now.value("by", "somebody"));
      else if (i == 0) {
        if (const auto shown = client.run(repetition.command, stdout, stderr);
            !shown || *shown != 0)
          return 1;
      } else {
        fmt::print("\n{}", rates(before, after, std::chrono::duration<double>(now - then).count()));
      }
      before = std::move(after);
      cleared = std::move(cleared_now);
    }
    then = now;
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace lsn::ctl
