#include "lsn/control/alg_log.hpp"

#include <endian.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "lsn/control/command/alg_answers.hpp"
#include "lsn/shared/alg_states.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::AlgEnd;
using shared::CloseReason;
using shared::Event;
using shared::EventKind;
using shared::SessionEnd;
using shared::counter_list::kIn;
using shared::counter_list::kOut;

std::string text_of(wire::Be32 address) {
  return wire::to_string(wire::Ipv4Address{address});
}

std::string_view end_word(AlgEnd why) {
  switch (why) {
    case AlgEnd::kExpired:
      return "expired";
    case AlgEnd::kReplaced:
      return "replaced";
    case AlgEnd::kFloated:
      return "moved to UDP 4500";
    case AlgEnd::kFlushed:
      return "flushed";
    case AlgEnd::kReload:
      return "ended by a reload";
  }
  return "?";
}

std::string_view end_word(SessionEnd why) {
  switch (why) {
    case SessionEnd::kExpired:
      return "expired";
    case SessionEnd::kFlushed:
      return "flushed";
    case SessionEnd::kReload:
      return "ended by a reload";
    case SessionEnd::kWithdrawn:
      return "withdrawn";
  }
  return "?";
}

std::string client_of(const Event& event) {
  return text_of(event.client) + td_text(event.td);
}

/// The client, its NAT address, the server, and the profile.
std::string parties(const Event& event, const std::string& profile) {
  return fmt::format("source {}, nat {}, destination {}{}{}", client_of(event),
                     text_of(event.nat_ip), text_of(event.server),
                     profile.empty() ? "" : ", profile ", profile);
}

std::string spis(const Event& event) {
  return fmt::format("spi out {}, spi in {}", spi_text(event.spi_out.host()),
                     spi_text(event.spi_in.host()));
}

/// As it stands in the packet.
std::string initiator(const Event& event) {
  return fmt::format("initiator spi 0x{:016x}", be64toh(event.initiator));
}

bool is_warning(EventKind kind) {
  return kind == EventKind::kSpiCollision || kind == EventKind::kAhRefused ||
         kind == EventKind::kStateRemoved;
}

}  // namespace

bool LineBudget::take(Time now) {
  if (now > refilled_) {
    const std::chrono::duration<double> passed = now - refilled_;
    left_ = std::min(most_, left_ + passed.count() * per_second_);
    refilled_ = now;
  }
  if (left_ < 1) return false;
  left_ -= 1;
  return true;
}

std::string line_of(const Event& event, const std::string& profile) {
  switch (event.kind) {
    case EventKind::kIkeSessionCreated:
      return fmt::format("ipsecalg: IKE session created: {}, {}", parties(event, profile),
                         initiator(event));
    case EventKind::kIkeSessionEnded:
      return fmt::format("ipsecalg: IKE session {}: {}, {}",
                         end_word(static_cast<AlgEnd>(event.why)), parties(event, profile),
                         initiator(event));
    case EventKind::kEspSessionCreated:
      return fmt::format("ipsecalg: ESP session created: {}, {}", parties(event, profile),
                         spis(event));
    case EventKind::kEspSpiLearned:
      return fmt::format("ipsecalg: ESP session complete: {}, {}", parties(event, profile),
                         spis(event));
    case EventKind::kEspSessionEnded:
      return fmt::format(
          "ipsecalg: ESP session {}: {}, {}, out {} packets {} bytes, in {} packets {} bytes",
          end_word(static_cast<SessionEnd>(event.why)), parties(event, profile), spis(event),
          event.packets[kOut], event.bytes[kOut], event.packets[kIn], event.bytes[kIn]);
    case EventKind::kTurnEnded:
      return fmt::format("ipsecalg: gate closed ({}): {}",
                         to_word(static_cast<CloseReason>(event.detail)), parties(event, profile));
    case EventKind::kSpiCollision:
      return fmt::format(
          "ipsecalg: two clients seem to have chosen the same SPI: {}, spi in {}; "
          "packets go on to this one, {} waits for its own",
          parties(event, profile), spi_text(event.spi_in.host()),
          text_of(event.other) + td_text(event.other_td));
    case EventKind::kAhRefused:
      return fmt::format(
          "ipsecalg: AH of source {} to destination {} dropped: it cannot cross a NAT",
          client_of(event), text_of(event.server));
    case EventKind::kStateRemoved:
      return fmt::format(
          "ipsecalg: a reload has removed the IPsec sessions of source {}, nat {}{}{}",
          client_of(event), text_of(event.nat_ip), profile.empty() ? "" : ", profile ", profile);
  }
  return "ipsecalg: an event that this log does not know";
}

bool AlgLog::logs_sessions(const shared::InsideAddress& client) {
  const shared::Generation& generation = config_.generation();
  if (logging_generation_ != generation.number) {
    logging_generation_ = generation.number;
    logging_groups_.assign(generation.groups.size(), false);
    for (std::size_t id = 0; id < generation.groups.size(); ++id) {
      const shared::Group& group = generation.groups[id];
      const GroupConfig* config = find_by_name(config_.model().lsn.group, group.name);
      logging_groups_[id] = group.present && config != nullptr &&
                            config->logging == Switch::kEnabled &&
                            config->session_logging == Switch::kEnabled;
    }
  }
  // A client that a reload has removed from the configuration logs nothing any more.
  const std::uint16_t* group = generation.maps.front()->group_of(client);
  return group != nullptr && *group < logging_groups_.size() && logging_groups_[*group];
}

void AlgLog::write(const Event& event, Time now) {
  const bool warning = is_warning(event.kind);
  spdlog::level::level_enum level = spdlog::level::warn;
  if (!warning) {
    // Nothing is looked up for lines below the log's level.
    if (!spdlog::should_log(spdlog::level::info)) return;
    const bool session_log = event.kind != EventKind::kTurnEnded &&
                             logs_sessions({wire::Ipv4Address{event.client}, event.td});
    level = session_log ? spdlog::level::info : spdlog::level::debug;
  }
  if (!spdlog::should_log(level)) return;
  if (!(warning ? warnings_ : session_lines_).take(now)) {
    ++left_out_;
    return;
  }
  const auto& profiles = config_.generation().alg_profiles;
  spdlog::log(level, "{}",
              line_of(event, event.profile < profiles.size() ? profiles[event.profile].name : ""));
}

void AlgLog::report_missing(Time now) {
  if (now < next_report_) return;
  std::uint64_t lost = 0;
  for (unsigned shard = 0; shard < dataplane_.workers(); ++shard)
    lost += dataplane_.alg_events(shard).lost();
  if (lost == lost_told_ && left_out_ == 0) return;
  next_report_ = now + kReportInterval;
  if (lost != lost_told_)
    spdlog::warn("ipsecalg: {} events were lost: there were more than the log takes",
                 lost - lost_told_);
  if (left_out_ != 0)
    spdlog::warn(
        "ipsecalg: {} lines were left out: there were more than {} per second, or {} "
        "warnings",
        left_out_, kSessionLinesPerSecond, kWarningsPerSecond);
  lost_told_ = lost;
  left_out_ = 0;
}

void AlgLog::tick(Time now) {
  Event event;
  for (unsigned shard = 0; shard < dataplane_.workers(); ++shard) {
    shared::EventRing& events = dataplane_.alg_events(shard);
    for (unsigned n = 0; n < kEventsPerTick && events.take(event); ++n) write(event, now);
  }
  report_missing(now);
}

}  // namespace lsn::control
