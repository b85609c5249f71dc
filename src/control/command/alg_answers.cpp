#include "lsn/control/command/alg_answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "lsn/control/command/counter_list.hpp"
#include "lsn/control/command/paged_answer.hpp"
#include "lsn/control/command/table.hpp"

namespace lsn::control {
namespace {

using counter_list::kIn;
using counter_list::kOut;
using datapath::Generation;
using datapath::ipsec_alg::AlgFilter;
using datapath::ipsec_alg::AlgFlush;
using datapath::ipsec_alg::EspPage;
using datapath::ipsec_alg::EspRow;
using datapath::ipsec_alg::GatePage;
using datapath::ipsec_alg::GateRow;
using datapath::ipsec_alg::GateState;
using enum Table::Align;

/// "255.255.255.255", "0xffffffff"
constexpr std::size_t kAddressWidth = 15;
constexpr std::size_t kSpiWidth = 10;
constexpr std::size_t kSecondsWidth = std::string_view("604800 s").size();
constexpr std::size_t kPacketsWidth = 12;
constexpr std::size_t kBytesWidth = 15;

std::string json_spi(std::uint32_t spi) {
  return spi == 0 ? "null" : fmt::format("\"0x{:08x}\"", spi);
}

std::string json_address(const std::optional<wire::Ipv4Address>& address) {
  return address ? fmt::format("\"{}\"", wire::to_string(*address)) : "null";
}

std::string or_dash(const std::optional<wire::Ipv4Address>& address) {
  return address ? wire::to_string(*address) : "-";
}

/// What both lists have in common.
class ListWriter {
 public:
  ListWriter(Format format, Table table, std::string_view key, std::string_view one,
             std::string_view many)
      : format_(format), table_(std::move(table)), key_(key), one_(one), many_(many) {}

  void begin(std::string& out) const {
    out += format_ == Format::kJson ? fmt::format("{{\"{}\":[", key_) : table_.print_head();
  }
  void end_page(std::string& out) {
    if (format_ == Format::kText) out += table_.print_rows();
  }
  void end(std::string& out) const {
    if (format_ == Format::kJson)
      out += fmt::format("{}],\"count\":{}}}\n", count_ == 0 ? "" : "\n", count_);
    else
      out += fmt::format("{} {}\n", count_, count_ == 1 ? one_ : many_);
  }

 protected:
  [[nodiscard]] bool is_json() const { return format_ == Format::kJson; }
  /// Before each row of JSON.
  [[nodiscard]] std::string_view separator() const { return count_ == 0 ? "\n" : ",\n"; }
  void counted() { ++count_; }
  Table& table() { return table_; }

 private:
  Format format_;
  Table table_;
  std::string_view key_, one_, many_;
  std::uint64_t count_ = 0;
};

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
      const auto& profiles = generation.alg_profiles;
      const bool known = row.profile < profiles.size() && profiles[row.profile].present;
      fmt::format_to(
          std::back_inserter(out),
          "{}{{\"source_ip\":\"{}\",\"nat_ip\":\"{}\",\"destination_ip\":\"{}\",\"spi_in\":{},"
          "\"spi_out\":{},\"half_open\":{},\"profile\":{},\"age\":{},\"idle\":{},"
          "\"outbound_packets\":{},\"outbound_bytes\":{},\"inbound_packets\":{},"
          "\"inbound_bytes\":{}}}",
          separator(), wire::to_string(row.client), wire::to_string(row.nat_ip),
          wire::to_string(row.server), json_spi(row.spi_in), json_spi(row.spi_out),
          row.spi_in == 0 || row.spi_out == 0,
          known ? nlohmann::json(profiles[row.profile].name).dump() : "null", row.age_seconds,
          row.idle_seconds, row.packets[kOut], row.bytes[kOut], row.packets[kIn], row.bytes[kIn]);
    } else {
      table().add({wire::to_string(row.client), wire::to_string(row.nat_ip),
                   wire::to_string(row.server), spi_text(row.spi_in), spi_text(row.spi_out),
                   fmt::format("{} s", row.age_seconds), fmt::format("{} s", row.idle_seconds),
                   std::to_string(row.packets[kOut]), std::to_string(row.bytes[kOut]),
                   std::to_string(row.packets[kIn]), std::to_string(row.bytes[kIn])});
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
                          {"lingering", kLeft, kAddressWidth},
                          {"last turn", kLeft, std::string_view("IKE-REKEY").size()}}),
                   "gates", "gate", "gates") {}

  void add(const GateRow& row, const Generation&, std::string& out) {
    const bool timed = row.holder || row.lingering;
    if (is_json()) {
      std::string waiting;
      for (std::size_t i = 0;
           i < std::min<std::size_t>(row.waiters, row.first_waiters.size()); ++i)
        waiting += fmt::format("{}\"{}\"", i == 0 ? "" : ",", wire::to_string(row.first_waiters[i]));
      fmt::format_to(
          std::back_inserter(out),
          "{}{{\"nat_ip\":\"{}\",\"server\":\"{}\",\"state\":\"{}\",\"holder\":{},"
          "\"out_half\":\"{}\",\"in_half\":\"{}\",\"left_ms\":{},\"waiters\":{},"
          "\"first_waiters\":[{}],\"lingering\":{},\"dangling\":{},\"last_turn\":{}}}",
          separator(), wire::to_string(row.nat_ip), wire::to_string(row.server),
          to_word(row.state), json_address(row.holder), to_word(row.halves[kOut]),
          to_word(row.halves[kIn]), timed ? std::to_string(row.left_ms) : "null", row.waiters,
          waiting, json_address(row.lingering), row.dangling,
          row.last_reason ? fmt::format("\"{}\"", to_word(*row.last_reason)) : "null");
    } else {
      table().add({wire::to_string(row.nat_ip), wire::to_string(row.server),
                   std::string(to_word(row.state)), or_dash(row.holder),
                   std::string(to_word(row.halves[kOut])), std::string(to_word(row.halves[kIn])),
                   timed ? fmt::format("{}.{} s", row.left_ms / 1000, row.left_ms % 1000 / 100)
                         : "-",
                   std::to_string(row.waiters), or_dash(row.lingering),
                   row.last_reason ? std::string(to_word(*row.last_reason)) : "-"});
    }
    counted();
  }
};

using ShowEspSessions = PagedAnswer<EspPage, EspWriter, &Dataplane::esp_sessions>;
using ShowGates = PagedAnswer<GatePage, GateWriter, &Dataplane::gates>;

class FlushAlgSessions final : public Answer {
 public:
  FlushAlgSessions(Format format, const CommandContext& context, const AlgFilter& filter)
      : format_(format), missing_(context.dataplane.workers()) {
    for (unsigned shard = 0; shard < context.dataplane.workers(); ++shard) {
      AlgFlush flush;
      flush.filter = filter;
      flushed_.emplace_back();
      context.dataplane.flush_alg(shard, flush, flushed_.back().ask());
    }
  }

  Progress next(std::string& out) override {
    for (auto& flushed : flushed_)
      if (const auto done = flushed.take()) {
        esp_sessions_ += done->esp_sessions;
        ike_sessions_ += done->ike_sessions;
        --missing_;
      }
    if (missing_ != 0) return Progress::kWaiting;
    out += format_ == Format::kJson
               ? fmt::format("{{\"result\":\"Done\",\"flushed\":{},\"ike_sessions\":{}}}\n",
                             esp_sessions_, ike_sessions_)
               : "Done\n";
    return Progress::kDone;
  }

 private:
  Format format_;
  unsigned missing_;
  std::uint64_t esp_sessions_ = 0;
  std::uint64_t ike_sessions_ = 0;
  std::vector<Awaited<AlgFlush>> flushed_;
};

AlgFilter filter_of(const Command& command) {
  const auto address = [&](std::string_view option) -> std::optional<wire::Ipv4Address> {
    const auto* given = command.get<wire::Ipv4Address>(option);
    return given == nullptr ? std::nullopt : std::optional(*given);
  };
  const auto subscriber = address("-subscrIP");
  return {subscriber ? subscriber : address("-sourceIP"), address("-natIP"), address("-destIP")};
}

}  // namespace

std::span<const OptionSpec> alg_filter_options() {
  static const std::array<OptionSpec, 4> kOptions{{
      {"-subscrIP", &kAnyAddress, "of this client"},
      {"-sourceIP", &kAnyAddress, "the same, as published"},
      {"-natIP", &kAnyAddress, "with this NAT address"},
      {"-destIP", &kAnyAddress, "with this IPsec server"},
  }};
  return kOptions;
}

BegunAnswer begin_show_ipsecalg_session(const Command& command, const CommandContext& context) {
  return std::make_unique<ShowEspSessions>(context, filter_of(command), EspWriter(command.format));
}

BegunAnswer begin_show_ipsecalg_gate(const Command& command, const CommandContext& context) {
  return std::make_unique<ShowGates>(context, filter_of(command), GateWriter(command.format));
}

BegunAnswer begin_flush_ipsecalg_session(const Command& command, const CommandContext& context) {
  return std::make_unique<FlushAlgSessions>(command.format, context, filter_of(command));
}

std::string spi_text(std::uint32_t spi) { return spi == 0 ? "-" : fmt::format("0x{:08x}", spi); }

std::string_view to_word(datapath::ipsec_alg::GateState state) {
  using enum datapath::ipsec_alg::GateState;
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

std::string_view to_word(datapath::ipsec_alg::HalfGate half) {
  using enum datapath::ipsec_alg::HalfGate;
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

std::string_view to_word(datapath::ipsec_alg::CloseReason reason) {
  using enum datapath::ipsec_alg::CloseReason;
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
