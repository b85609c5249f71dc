#include "lsn/control/command/capture_answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "lsn/control/capture/packet_capture.hpp"
#include "lsn/control/command/explain.hpp"
#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/router_answers.hpp"
#include "lsn/control/command/session_answers.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFileParameter = "FILE", kDroppedOption = "-dropped",
                           kMaxOption = "-max", kSecondsOption = "-seconds";

const ValueSyntax kCaptureFile{
    "FILE",
    "the name of a new file in control.captureDirectory: 1-100 letters, digits and . _ -, the "
    "first a letter or a digit",
    [](std::string_view text) -> std::optional<Value> {
      constexpr std::size_t kLongest = 100;
      const auto is_plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      };
      const bool good = !text.empty() && text.size() <= kLongest && is_plain(text.front()) &&
                        std::ranges::all_of(text, [&](char c) {
                          return is_plain(c) || c == '.' || c == '_' || c == '-';
                        });
      if (!good) return std::nullopt;
      return std::string(text);
    }};

template <std::uint32_t most>
std::optional<Value> from_one(std::string_view text) {
  const auto number = parse_number(text, most);
  if (!number || *number == 0) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}
const ValueSyntax kPacketCount{"N", "1-10000000", &from_one<10'000'000>};
const ValueSyntax kCaptureTime{"S", "1-86400 seconds", &from_one<86'400>};

std::string_view word_of(const CaptureStatus& status) {
  switch (status.state) {
    case CaptureStatus::State::kStarting:
      return "STARTING";
    case CaptureStatus::State::kRunning:
      return "RUNNING";
    case CaptureStatus::State::kStopping:
      return "STOPPING";
    case CaptureStatus::State::kEnded:
      break;
  }
  return status.failed ? "FAILED" : "ENDED";
}

Json json_of(const CaptureStatus& status) {
  Json json{{"state", word_of(status)},
            {"file", status.path},
            {"command", status.request.line},
            {"by", status.request.by},
            {"seconds", status.runs.count()},
            {"max_packets", status.request.max},
            {"max_seconds", status.request.seconds.count()},
            {"written", status.written},
            {"lost", status.lost},
            {"seen", status.seen},
            {"bytes", status.bytes}};
  json["ended_by"] = status.ended_by.empty() ? Json() : Json(status.ended_by);
  return json;
}

std::string lost_text(const CaptureStatus& status) {
  if (status.lost == 0) return "";
  return fmt::format(", {} packet{} not written", status.lost,
                     status.lost == 1 ? " was" : "s were");
}

/// Waits for a state, then says what there is to say.
class CaptureAnswer final : public Answer {
 public:
  enum class Until : std::uint8_t { kStarted, kEnded };
  CaptureAnswer(Format format, const PacketCapture& capture, Until until)
      : format_(format), capture_(capture), until_(until) {}

  Progress next(std::string& out) override {
    const CaptureStatus status = *capture_.status();
    const bool ends = until_ == Until::kEnded;
    if (status.state == CaptureStatus::State::kStarting ||
        (ends && status.state != CaptureStatus::State::kEnded))
      return Progress::kWaiting;
    if (status.failed) {
      errors_.push_back(fmt::format("{} capture: {}{}", ends ? "stop" : "start", status.ended_by,
                                    ends ? said(status) : ""));
      return Progress::kFailed;
    }
    if (format_ == Format::kJson) {
      Json json{{"result", "Done"}};
      json.update(json_of(status));
      out += document(json);
    } else if (ends) {
      out += fmt::format("{}: {}\nDone\n", status.path, said(status).substr(2));
    } else {
      out += fmt::format("{}: at most {} packets, {} s\nDone\n", status.path, status.request.max,
                         status.request.seconds.count());
    }
    return Progress::kDone;
  }

 private:
  static std::string said(const CaptureStatus& status) {
    return fmt::format("; {} packet{} written{}; {} frame{} seen in {} s", status.written,
                       status.written == 1 ? "" : "s", lost_text(status), status.seen,
                       status.seen == 1 ? "" : "s", status.runs.count());
  }

  Format format_;
  const PacketCapture& capture_;
  Until until_;
};

CaptureRequest request_of(const Command& command) {
  CaptureRequest request;
  request.file = *command.get<std::string>(kFileParameter);
  request.line = command.line;
  request.by = command.by;
  const auto address = [&command](std::string_view option) -> std::optional<wire::Ipv4Address> {
    const auto* const given = command.get<wire::Ipv4Address>(option);
    return given == nullptr ? std::nullopt : std::optional(*given);
  };
  shared::CaptureFilter& filter = request.filter;
  filter.subscriber = address("-subscrIP");
  filter.nat = address("-natIP");
  filter.remote = address("-destIP");
  if (const auto* const protocol = command.get<std::string>("-protocol"))
    filter.protocol = protocol_named(*protocol);
  if (const auto* const spi = command.get<std::uint32_t>("-esp")) filter.spi = *spi;
  if (const auto* const reason = command.get<std::string>(kDroppedOption)) {
    filter.dropped = true;
    filter.reason = reason_named(*reason);
  }
  if (const auto* const max = command.get<std::uint32_t>(kMaxOption)) request.max = *max;
  if (const auto* const seconds = command.get<std::uint32_t>(kSecondsOption))
    request.seconds = std::chrono::seconds{*seconds};
  return request;
}

}  // namespace

std::span<const OptionSpec> capture_options() {
  static const std::array<OptionSpec, 8> kOptions{{
      {"-subscrIP", &kAnyAddress, "from or to this subscriber"},
      {"-natIP", &kAnyAddress, "with this NAT address"},
      {"-destIP", &kAnyAddress, "to or from this remote address"},
      {"-protocol", &kProtocolName, "of this protocol"},
      {"-esp", &kSpiSyntax, "ESP with this SPI"},
      {kDroppedOption,
       &kDropReason,
       "only packets that are dropped, for this reason or any",
       {},
       true},
      {kMaxOption, &kPacketCount, "ends after so many packets, 100000 without it"},
      {kSecondsOption, &kCaptureTime, "ends after this time, 300 without it"},
  }};
  return kOptions;
}

std::span<const PositionalSpec> capture_parameters() {
  static const std::array<PositionalSpec, 1> kParameters{{{kFileParameter, &kCaptureFile}}};
  return kParameters;
}

std::expected<std::unique_ptr<Answer>, std::string> begin_start_capture(
    const Command& command, const CommandContext& context) {
  if (context.capture == nullptr) return std::unexpected("start capture: nothing can be captured");
  const CaptureRequest request = request_of(command);
  const auto& filter = request.filter;
  if (filter.spi && filter.protocol && filter.protocol != shared::Protocol::kEsp)
    return std::unexpected(
        complaint("start capture", fmt::format("-esp with -protocol {}", to_word(*filter.protocol)),
                  "-esp alone, or with -protocol ESP"));
  if (auto started = context.capture->start(request, context.config.model()); !started)
    return std::unexpected(started.error());
  return std::make_unique<CaptureAnswer>(command.format, *context.capture,
                                         CaptureAnswer::Until::kStarted);
}

std::expected<std::unique_ptr<Answer>, std::string> begin_stop_capture(
    const Command& command, const CommandContext& context) {
  if (context.capture == nullptr) return std::unexpected("stop capture: no capture runs");
  if (auto stopped = context.capture->stop(); !stopped) return std::unexpected(stopped.error());
  return std::make_unique<CaptureAnswer>(command.format, *context.capture,
                                         CaptureAnswer::Until::kEnded);
}

std::string report_capture(Format format, const CommandContext& context) {
  const auto status = context.capture == nullptr ? std::nullopt : context.capture->status();
  if (format == Format::kJson)
    return document(Json{{"capture", status ? json_of(*status) : Json()}});
  if (!status) return "no capture since lsnd began\n";
  std::string text;
  const auto say = [&text](std::string_view what, const std::string& value) {
    fmt::format_to(std::back_inserter(text), "{:<10}{}\n", what, value);
  };
  say("file", status->path);
  say("command", status->request.line);
  say("by", status->request.by);
  say("state", lower(word_of(*status)) +
                   (status->ended_by.empty() || status->state != CaptureStatus::State::kEnded
                        ? ""
                        : fmt::format(" by {}", status->ended_by)));
  say("time", fmt::format("{} s of {} s", status->runs.count(), status->request.seconds.count()));
  say("written", fmt::format("{} packets of {}, {} bytes", status->written, status->request.max,
                             status->bytes));
  say("lost", fmt::format("{} packets", status->lost));
  say("seen", fmt::format("{} frames", status->seen));
  return text;
}

}  // namespace lsn::control
