#include "lsn/control/command/alg_answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/list_writer.hpp"
#include "lsn/control/command/paged_answer.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::AdvicePage;
using shared::AdviceRow;
using shared::AlgFilter;
using shared::AlgFlush;
using shared::Direction;
using shared::EspPage;
using shared::EspRow;
using shared::GatePage;
using shared::GateRow;
using shared::GateState;
using shared::Generation;
using shared::IkePage;
using shared::IkeRow;
using shared::counter_list::kIn;
using shared::counter_list::kOut;
using enum Table::Align;

/// "0xffffffff"
constexpr std::size_t kSpiWidth = 10;
constexpr std::size_t kIkeSpiWidth = 16;
constexpr std::size_t kSecondsWidth = std::string_view("604800 s").size();
constexpr std::size_t kPacketsWidth = 12;
constexpr std::size_t kBytesWidth = 15;

std::string json_spi(std::uint32_t spi) {
  return spi == 0 ? "null" : fmt::format("\"0x{:08x}\"", spi);
}

std::string json_client(const std::optional<shared::InsideAddress>& client) {
  return client ? fmt::format("\"{}\"", to_text(*client)) : "null";
}

std::string json_profile(const Generation& generation, std::uint16_t id) {
  const auto& profiles = generation.alg_profiles;
  const bool known = id < profiles.size() && profiles[id].present;
  return known ? nlohmann::json(profiles[id].name).dump() : "null";
}

std::string or_dash(const std::optional<shared::InsideAddress>& client) {
  return client ? to_text(*client) : "-";
}

std::string client_of(const auto& row) {
  return to_text(shared::InsideAddress{row.client, row.td});
}

class EspWriter : public ListWriter {
 public:
  explicit EspWriter(Format format)
      : ListWriter(format,
                   Table({{"source ip", kLeft, kAddressWidth},
                          {"nat ip", kLeft, kAddressWidth},
                          {"destination ip", kLeft, kAddressWidth},
                          {"spi in", kLeft, kSpiWidth},
                          {"spi out", kLeft, kSpiWidth},
                          {"age", kRight, kSecondsWidth},
                          {"idle", kRight, kSecondsWidth},
                          {"packets out", kRight, kPacketsWidth},
                          {"bytes out", kRight, kBytesWidth},
                          {"packets in", kRight, kPacketsWidth},
                          {"bytes in", kRight, kBytesWidth}}),
                   "sessions", "session", "sessions") {}

  void add(const EspRow& row, const Generation& generation, std::string& out) {
    if (is_json()) {
      fmt::format_to(
          std::back_inserter(out),
          "{}{{\"source_ip\":\"{}\"{},\"nat_ip\":\"{}\",\"destination_ip\":\"{}\",\"spi_in\":{},"
          "\"spi_out\":{},\"half_open\":{},\"profile\":{},\"age\":{},\"idle\":{},"
          "\"outbound_packets\":{},\"outbound_bytes\":{},\"inbound_packets\":{},"
          "\"inbound_bytes\":{}}}",
          separator(), wire::to_string(row.client), json_td(row.td), wire::to_string(row.nat_ip),
          wire::to_string(row.server), json_spi(row.spi_in), json_spi(row.spi_out),
          row.spi_in == 0 || row.spi_out == 0, json_profile(generation, row.profile),
          row.age_seconds, row.idle_seconds, row.packets[kOut], row.bytes[kOut], row.packets[kIn],
          row.bytes[kIn]);
    } else {
      table().add({client_of(row), wire::to_string(row.nat_ip), wire::to_string(row.server),
                   spi_text(row.spi_in), spi_text(row.spi_out),
                   fmt::format("{} s", row.age_seconds), fmt::format("{} s", row.idle_seconds),
                   std::to_string(row.packets[kOut]), std::to_string(row.bytes[kOut]),
                   std::to_string(row.packets[kIn]), std::to_string(row.bytes[kIn])});
    }
    counted();
  }
};

class IkeWriter : public ListWriter {
 public:
  explicit IkeWriter(Format format)
      : ListWriter(format,
                   Table({{"source ip", kLeft, kAddressWidth},
                          {"port", kRight, 5},
                          {"nat ip", kLeft, kAddressWidth},
                          {"nat port", kRight},
                          {"destination ip", kLeft, kAddressWidth},
                          {"version", kLeft},
                          {"initiator spi", kLeft, kIkeSpiWidth},
                          {"responder spi", kLeft, kIkeSpiWidth},
                          {"answered", kLeft},
                          {"exchanges", kRight},
                          {"esp sessions", kRight},
                          {"idle", kRight, kSecondsWidth}}),
                   "ike_sessions", "IKE session", "IKE sessions") {}

  void add(const IkeRow& row, const Generation& generation, std::string& out) {
    if (is_json()) {
      fmt::format_to(
          std::back_inserter(out),
          "{}{{\"source_ip\":\"{}\"{},\"source_port\":{},\"nat_ip\":\"{}\",\"nat_port\":{},"
          "\"destination_ip\":\"{}\",\"version\":{},\"initiator_spi\":\"{:016x}\","
          "\"responder_spi\":\"{:016x}\",\"answered\":{},\"keeps_port\":{},\"exchanges\":{},"
          "\"esp_sessions\":{},\"profile\":{},\"idle\":{}}}",
          separator(), wire::to_string(row.client), json_td(row.td), row.client_port,
          wire::to_string(row.nat_ip), row.nat_port, wire::to_string(row.server), row.version,
          row.initiator, row.responder, row.answered, row.keeps_port, row.exchanges, row.esp,
          json_profile(generation, row.profile), row.idle_seconds);
    } else {
      table().add({client_of(row), std::to_string(row.client_port), wire::to_string(row.nat_ip),
                   std::to_string(row.nat_port), wire::to_string(row.server),
                   fmt::format("IKEv{}", row.version), fmt::format("{:016x}", row.initiator),
                   row.responder == 0 ? "-" : fmt::format("{:016x}", row.responder),
                   row.answered ? "yes" : "no", std::to_string(row.exchanges),
                   std::to_string(row.esp), fmt::format("{} s", row.idle_seconds)});
    }
    counted();
  }
};

class GateWriter : public ListWriter {
 public:
  explicit GateWriter(Format format)
      : ListWriter(format,
                   Table({{"nat ip", kLeft, kAddressWidth},
                          {"server", kLeft, kAddressWidth},
                          {"state", kLeft, std::string_view("EXCHANGE").size()},
                          {"holder", kLeft, kAddressWidth},
                          {"out half", kLeft, std::string_view("TIMED-OUT").size()},
                          {"in half", kLeft, std::string_view("TIMED-OUT").size()},
                          {"time left", kRight, std::string_view("1200.0 s").size()},
                          {"waiters", kRight},
                          {"first waiting", kLeft, kAddressWidth},
                          {"lingering", kLeft, kAddressWidth},
                          {"last turn", kLeft, std::string_view("IKE-REKEY").size()}}),
                   "gates", "gate", "gates") {}

  void add(const GateRow& row, const Generation&, std::string& out) {
    const bool timed = row.holder || row.lingering;
    if (is_json()) {
      std::string waiting;
      for (std::size_t i = 0; i < std::min<std::size_t>(row.waiters, row.first_waiters.size()); ++i)
        waiting += fmt::format("{}\"{}\"", i == 0 ? "" : ",", to_text(row.first_waiters[i]));
      fmt::format_to(std::back_inserter(out),
                     "{}{{\"nat_ip\":\"{}\",\"server\":\"{}\",\"state\":\"{}\",\"holder\":{},"
                     "\"out_half\":\"{}\",\"in_half\":\"{}\",\"left_ms\":{},\"waiters\":{},"
                     "\"first_waiters\":[{}],\"lingering\":{},\"dangling\":{},\"last_turn\":{}}}",
                     separator(), wire::to_string(row.nat_ip), wire::to_string(row.server),
                     to_word(row.state), json_client(row.holder), to_word(row.halves[kOut]),
                     to_word(row.halves[kIn]), timed ? std::to_string(row.left_ms) : "null",
                     row.waiters, waiting, json_client(row.lingering), row.dangling,
                     row.last_reason ? fmt::format("\"{}\"", to_word(*row.last_reason)) : "null");
    } else {
      table().add(
          {wire::to_string(row.nat_ip), wire::to_string(row.server),
           std::string(to_word(row.state)), or_dash(row.holder),
           std::string(to_word(row.halves[kOut])), std::string(to_word(row.halves[kIn])),
           timed ? fmt::format("{}.{} s", row.left_ms / 1000, row.left_ms % 1000 / 100) : "-",
           std::to_string(row.waiters), row.waiters == 0 ? "-" : to_text(row.first_waiters[0]),
           or_dash(row.lingering), row.last_reason ? std::string(to_word(*row.last_reason)) : "-"});
    }
    counted();
  }
};

class FlushAlgSessions final : public Answer {
 public:
  FlushAlgSessions(Format format, const CommandContext& context, const AlgFilter& filter)
      : format_(format) {
    AlgFlush flush;
    flush.filter = filter;
    flushed_.ask(context.dataplane.workers(), [&](unsigned shard, auto done) {
      context.dataplane.flush_alg(shard, flush, std::move(done));
    });
  }

  Progress next(std::string& out) override {
    const bool all = flushed_.take([this](unsigned, const AlgFlush& done) {
      esp_sessions_ += done.esp_sessions;
      ike_sessions_ += done.ike_sessions;
    });
    if (!all) return Progress::kWaiting;
    out += format_ == Format::kJson
               ? fmt::format("{{\"result\":\"Done\",\"flushed\":{},\"ike_sessions\":{}}}\n",
                             esp_sessions_, ike_sessions_)
               : fmt::format("{} ESP session{} and {} IKE session{} flushed\nDone\n", esp_sessions_,
                             esp_sessions_ == 1 ? "" : "s", ike_sessions_,
                             ike_sessions_ == 1 ? "" : "s");
    return Progress::kDone;
  }

 private:
  Format format_;
  std::uint64_t esp_sessions_ = 0;
  std::uint64_t ike_sessions_ = 0;
  AwaitedOfAll<AlgFlush> flushed_;
};

/// What to tell whom.
std::string advice_of(const AdviceRow& row) {
  const bool client = row.offers_nat_t[Direction::kOutbound];
  const bool server = row.offers_nat_t[Direction::kInbound];
  std::string text;
  if (row.esp != 0 && client && server)
    text = "both offer NAT-Traversal and send raw ESP: at one of them UDP encapsulation is off";
  else if (row.esp != 0 && client)
    text = "the client offers NAT-Traversal: switch it on at the server (RFC 3947, RFC 7296)";
  else if (row.esp != 0 && server)
    text = "the server offers NAT-Traversal: switch it on at the client (RFC 3947, RFC 7296)";
  if (row.deadlines >= shared::kManyDeadlines)
    text += fmt::format(
        "{}its last {} turns ended by espGateTimeout: the server's ESP does not "
        "come, look at the client's tunnel",
        text.empty() ? "" : "; ", row.deadlines);
  return text;
}

class AdviceWriter : public ListWriter {
 public:
  explicit AdviceWriter(Format format)
      : ListWriter(format,
                   Table({{"source ip", kLeft, kAddressWidth},
                          {"nat ip", kLeft, kAddressWidth},
                          {"destination ip", kLeft, kAddressWidth},
                          {"esp sessions", kRight},
                          {"advice", kLeft}}),
                   "advice", "pair", "pairs") {}

  void add(const AdviceRow& row, const Generation& generation, std::string& out) {
    if (is_json()) {
      fmt::format_to(std::back_inserter(out),
                     "{}{{\"source_ip\":\"{}\"{},\"nat_ip\":\"{}\",\"destination_ip\":\"{}\","
                     "\"esp_sessions\":{},\"client_offers_nat_t\":{},\"server_offers_nat_t\":{},"
                     "\"deadlines\":{},\"profile\":{},\"advice\":\"{}\"}}",
                     separator(), wire::to_string(row.client), json_td(row.td),
                     wire::to_string(row.nat_ip), wire::to_string(row.server), row.esp,
                     row.offers_nat_t[Direction::kOutbound], row.offers_nat_t[Direction::kInbound],
                     row.deadlines, json_profile(generation, row.profile), advice_of(row));
    } else {
      table().add({client_of(row), wire::to_string(row.nat_ip), wire::to_string(row.server),
                   std::to_string(row.esp), advice_of(row)});
    }
    counted();
  }
};

AlgFilter filter_of(const Command& command) {
  const auto address = [&](std::string_view option) -> std::optional<wire::Ipv4Address> {
    const auto* given = command.get<wire::Ipv4Address>(option);
    return given == nullptr ? std::nullopt : std::optional(*given);
  };
  const auto subscriber = address("-subscrIP");
  return {subscriber ? subscriber : address("-sourceIP"), command.td(), address("-natIP"),
          address("-destIP")};
}

}  // namespace

std::span<const OptionSpec> alg_filter_options() {
  static const std::array<OptionSpec, 5> kOptions{{
      {"-subscrIP", &kAnyAddress, "of this client"},
      {"-sourceIP", &kAnyAddress, "the same, as published"},
      {"-td", &kDomainNumber, "of clients in this traffic domain"},
      {"-natIP", &kAnyAddress, "with this NAT address"},
      {"-destIP", &kAnyAddress, "with this IPsec server"},
  }};
  return kOptions;
}

std::unique_ptr<Answer> list_of_esp_sessions(Format format, const CommandContext& context,
                                             const AlgFilter& filter) {
  return std::make_unique<PagedAnswer<EspPage, EspWriter>>(context, filter, EspWriter(format));
}
std::unique_ptr<Answer> list_of_ike_sessions(Format format, const CommandContext& context,
                                             const AlgFilter& filter) {
  return std::make_unique<PagedAnswer<IkePage, IkeWriter>>(context, filter, IkeWriter(format));
}
std::unique_ptr<Answer> list_of_gates(Format format, const CommandContext& context,
                                      const AlgFilter& filter) {
  return std::make_unique<PagedAnswer<GatePage, GateWriter>>(context, filter, GateWriter(format));
}

BegunAnswer begin_show_ipsecalg_session(const Command& command, const CommandContext& context) {
  return list_of_esp_sessions(command.format, context, filter_of(command));
}

BegunAnswer begin_show_ipsecalg_ike(const Command& command, const CommandContext& context) {
  return list_of_ike_sessions(command.format, context, filter_of(command));
}

BegunAnswer begin_show_ipsecalg_gate(const Command& command, const CommandContext& context) {
  return list_of_gates(command.format, context, filter_of(command));
}

BegunAnswer begin_show_ipsecalg_advice(const Command& command, const CommandContext& context) {
  return std::make_unique<PagedAnswer<AdvicePage, AdviceWriter>>(context, filter_of(command),
                                                                 AdviceWriter(command.format));
}

BegunAnswer begin_flush_ipsecalg_session(const Command& command, const CommandContext& context) {
  return std::make_unique<FlushAlgSessions>(command.format, context, filter_of(command));
}

std::string spi_text(std::uint32_t spi) {
  return spi == 0 ? "-" : fmt::format("0x{:08x}", spi);
}

std::string_view to_word(shared::GateState state) {
  using enum shared::GateState;
  switch (state) {
    case kClosed:
      return "CLOSED";
    case kExchange:
      return "EXCHANGE";
    case kArmed:
      return "ARMED";
  }
  return "?";
}

std::string_view to_word(shared::HalfGate half) {
  using enum shared::HalfGate;
  switch (half) {
    case kUnarmed:
      return "UNARMED";
    case kArmed:
      return "ARMED";
    case kPassed:
      return "PASSED";
    case kTimedOut:
      return "TIMED-OUT";
  }
  return "?";
}

std::string_view to_word(shared::CloseReason reason) {
  using enum shared::CloseReason;
  switch (reason) {
    case kPaired:
      return "PAIRED";
    case kDeadline:
      return "DEADLINE";
    case kIkeRekey:
      return "IKE-REKEY";
    case kRestart:
      return "RESTART";
    case kFloat:
      return "FLOAT";
    case kOldSpi:
      return "OLD-SPI";
    case kYield:
      return "YIELD";
    case kRefused:
      return "REFUSED";
    case kFlush:
      return "FLUSH";
  }
  return "?";
}

}  // namespace lsn::control
