#include "lsn/control/capture/capture_comment.hpp"

#include <fmt/format.h>

#include <string_view>

#include "lsn/wire/ipv4.hpp"
#include "lsn/wire/ipv4_address.hpp"
#include "lsn/wire/protocol_name.hpp"

namespace lsn::control {
namespace {

using shared::CapturedFlow;
using shared::CaptureRecord;
using shared::CaptureVerdict;

std::string verdict_of(const CaptureRecord& record) {
  switch (record.verdict) {
    case CaptureVerdict::kForwarded:
      return "forwarded";
    case CaptureVerdict::kCut:
      return "forwarded in fragments";
    case CaptureVerdict::kHairpin:
      return "forwarded to another subscriber, by another worker";
    case CaptureVerdict::kLater:
      return "forwarded after it had waited, or a fragment of one that was cut";
    case CaptureVerdict::kTaken:
      return "taken: it waits, or was for the NAT itself";
    case CaptureVerdict::kOwn:
      return "sent by the NAT itself";
    case CaptureVerdict::kDropped: {
      const auto& words = shared::text_of(record.reason);
      std::string_view meaning = words.meaning;
      if (meaning.ends_with('.')) meaning.remove_suffix(1);
      return fmt::format("dropped, {}: {}", words.name, meaning);
    }
    case CaptureVerdict::kVoid:
      break;
  }
  return "nothing";
}

std::string protocol_of(const CapturedFlow& flow) {
  const std::string_view name = wire::protocol_name(flow.protocol);
  if (name.empty()) return fmt::format("protocol {}", flow.protocol);
  if (flow.protocol == wire::kProtocolEsp && flow.spi != wire::Be32{})
    return fmt::format("{} SPI 0x{:08x}", name, flow.spi.host());
  return std::string(name);
}

/// "subscriber 192.0.2.10:4000, NAT ..., remote ... TCP"
std::string whom(const CapturedFlow& flow) {
  std::string text;
  const auto add = [&](std::string_view what, const wire::Endpoint& end, bool has_port) {
    if (end.address == wire::Be32{}) return;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", what,
                        wire::to_string(wire::Ipv4Address{end.address}));
    if (has_port) text += fmt::format(":{}", end.port.host());
  };
  add("subscriber", flow.subscriber, flow.has_ports);
  add("NAT", flow.nat, flow.has_ports);
  add("remote", flow.remote,
      flow.has_ports &&
          (flow.protocol != wire::kProtocolIcmp || flow.peer.address != wire::Be32{}));
  add("its subscriber", flow.peer, flow.has_ports);
  return text;
}

}  // namespace

std::string comment_of(const CaptureRecord& record) {
  std::string text = verdict_of(record);
  const CapturedFlow& flow = record.flow;
  const std::string concerned = whom(flow);
  if (concerned.empty()) return text;
  return fmt::format("{}{} {}{} {}{}", text, text.find(':') == std::string::npos ? ":" : ";",
                     flow.is_error ? "ICMP error about " : "", concerned, protocol_of(flow),
                     flow.is_fragment ? " fragment" : "");
}

}  // namespace lsn::control
