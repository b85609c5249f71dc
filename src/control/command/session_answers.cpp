#include "lsn/control/command/session_answers.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "lsn/control/command/alg_answers.hpp"
#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/paged_answer.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::Direction;
using shared::Protocol;
using shared::SessionFilter;
using shared::SessionPage;
using shared::SessionRow;
using enum Table::Align;

/// Group ids go by name and stay; kNoId means any group, so "none" is an id that no group has.
constexpr std::uint16_t kNobodysGroup = shared::kNoId - 1;

/// ESP's SPI stands in place of the receiver's port. So the subscriber's, also of packets to its
/// NAT address, is the inbound one.
std::string esp_endpoint(wire::Ipv4Address address, std::uint32_t spi) {
  return fmt::format("{}:{}", wire::to_string(address), spi_text(spi));
}

std::string subscriber_of(const SessionRow& row) {
  return row.protocol == Protocol::kEsp ? esp_endpoint(row.subscriber_ip, row.spi_in)
                                        : endpoint(row.subscriber_ip, row.subscriber_port);
}

std::string nat_of(const SessionRow& row) {
  return row.protocol == Protocol::kEsp ? esp_endpoint(row.nat_ip, row.spi_in)
                                        : endpoint(row.nat_ip, row.nat_port);
}

/// An ICMP query has one identifier, which is the subscriber's side's.
std::string destination_of(const SessionRow& row) {
  if (row.protocol == Protocol::kEsp) return esp_endpoint(row.remote_ip, row.spi_out);
  return row.protocol == Protocol::kIcmp ? wire::to_string(row.remote_ip)
                                         : endpoint(row.remote_ip, row.remote_port);
}

std::string_view direction_of(const SessionRow& row) {
  return row.direction == Direction::kOutbound ? "OUTBOUND" : "INBOUND";
}

class SessionWriter : public ListWriter {
 public:
  SessionWriter(Format format, Rows rows, bool with_bytes)
      : ListWriter(format, Table(columns(with_bytes)), "sessions", "session", "sessions", rows),
        with_bytes_(with_bytes) {}

  void add(const SessionRow& row, const shared::Generation& generation, std::string& out) {
    if (is_shown()) {
      if (is_json())
        add_json(row, generation.group(row.group), out);
      else
        table().add(cells(row));
    }
    counted();
  }

 private:
  void add_json(const SessionRow& row, const shared::Group* group, std::string& out) {
    using shared::counter_list::kIn, shared::counter_list::kOut;
    // By hand: there may be millions of them, and only names need escaping.
    fmt::format_to(
        std::back_inserter(out),
        "{}{{\"protocol\":\"{}\",\"subscriber\":\"{}\"{},\"nat\":\"{}\",\"destination\":\"{}\","
        "\"direction\":\"{}\",\"state\":\"{}\",\"idle\":{},\"age\":{},\"hairpin\":{},\"static\":{},"
        "\"client\":{},\"group\":{},\"outbound_packets\":{},\"outbound_bytes\":{},"
        "\"inbound_packets\":{},\"inbound_bytes\":{}}}",
        separator(), name_of(row.protocol), subscriber_of(row), json_td(row.td), nat_of(row),
        destination_of(row), direction_of(row), to_word(row.state), row.idle_seconds,
        row.age_seconds, row.hairpin, row.by_static,
        group == nullptr ? "null" : quoted(group->client),
        group == nullptr ? "null" : quoted(group->name), row.packets[kOut], row.bytes[kOut],
        row.packets[kIn], row.bytes[kIn]);
  }

  static std::string quoted(const std::string& name) { return nlohmann::json(name).dump(); }

  static std::vector<Table::Column> columns(bool with_bytes) {
    std::vector<Table::Column> all{{"subscriber", kLeft, kEndpointWidth},
                                   {"nat", kLeft, kEndpointWidth},
                                   {"destination", kLeft, kEndpointWidth},
                                   {"protocol", kLeft},
                                   {"direction", kLeft},
                                   {"state", kLeft, std::string_view("SYN-RECEIVED").size()},
                                   {"idle", kRight, std::string_view("604800 s").size()}};
    if (with_bytes) {
      all.push_back({"bytes out", kRight, std::string_view("1000000000").size()});
      all.push_back({"bytes in", kRight, std::string_view("1000000000").size()});
    }
    return all;
  }

  [[nodiscard]] std::vector<std::string> cells(const SessionRow& row) const {
    std::vector<std::string> all{subscriber_of(row) + td_text(row.td),
                                 nat_of(row),
                                 destination_of(row),
                                 std::string(name_of(row.protocol)),
                                 std::string(direction_of(row)),
                                 std::string(to_word(row.state)),
                                 fmt::format("{} s", row.idle_seconds)};
    if (with_bytes_) {
      all.push_back(std::to_string(row.bytes[shared::counter_list::kOut]));
      all.push_back(std::to_string(row.bytes[shared::counter_list::kIn]));
    }
    return all;
  }

  bool with_bytes_;
};

class FlushSessions final : public Answer {
 public:
  FlushSessions(Format format, const CommandContext& context, const SessionFilter& filter)
      : format_(format) {
    shared::SessionFlush flush;
    flush.filter = filter;
    flushed_.ask(context.dataplane.workers(), [&](unsigned shard, auto done) {
      context.dataplane.flush(shard, flush, std::move(done));
    });
  }

  Progress next(std::string& out) override {
    if (!flushed_.take([this](unsigned, std::uint64_t sessions) { total_ += sessions; }))
      return Progress::kWaiting;
    out += format_ == Format::kJson
               ? fmt::format("{{\"result\":\"Done\",\"flushed\":{}}}\n", total_)
               : fmt::format("{} session{} flushed\nDone\n", total_, total_ == 1 ? "" : "s");
    return Progress::kDone;
  }

 private:
  Format format_;
  std::uint64_t total_ = 0;
  AwaitedOfAll<std::uint64_t> flushed_;
};

std::expected<std::uint16_t, std::string> group_of_client(const std::string& name,
                                                          const CommandContext& context,
                                                          std::string_view what) {
  const auto& clients = context.config.model().lsn.client;
  if (find_by_name(clients, name) == nullptr) {
    std::vector<std::string_view> known;
    for (const ClientConfig& client : clients) known.push_back(client.name);
    std::string allowed = "the name of a client";
    constexpr std::size_t kMostNames = 8;
    for (std::size_t i = 0; i < std::min(known.size(), kMostNames); ++i)
      allowed += fmt::format("{}{}", i == 0 ? ": " : ", ", known[i]);
    if (known.size() > kMostNames) allowed += ", ...";
    return std::unexpected(
        complaint_about_word(fmt::format("{}: -clientname", what), name, known, allowed));
  }
  const auto& groups = context.config.generation().groups;
  for (std::size_t id = 0; id < groups.size(); ++id)
    if (groups[id].present && groups[id].client == name) return static_cast<std::uint16_t>(id);
  return kNobodysGroup;
}

}  // namespace

std::expected<SessionFilter, std::string> session_filter_of(const Command& command,
                                                            const CommandContext& context) {
  SessionFilter filter;
  filter.td = command.td();
  if (const auto* name = command.get<std::string>("-clientname")) {
    const auto group = group_of_client(*name, context, command.spec->words);
    if (!group) return std::unexpected(group.error());
    filter.group = *group;
  }
  if (const auto* network = command.get<wire::Ipv4Address>("-network")) {
    filter.network = wire::Ipv4Prefix{*network, 32};
    if (const auto* mask = command.get<wire::Ipv4Address>("-netmask")) filter.netmask = mask->value;
  }
  if (const auto* subscriber = command.get<wire::Ipv4Address>("-subscrIP")) {
    if (filter.network)
      return std::unexpected(complaint(fmt::format("{}: -subscrIP", command.spec->words),
                                       "with -network", "one of them"));
    filter.network = wire::Ipv4Prefix{*subscriber, 32};
  }
  if (const auto* destination = command.get<wire::Ipv4Address>("-destIP"))
    filter.destination_ip = *destination;
  if (const auto* protocol = command.get<std::string>("-protocol"))
    filter.protocol = protocol_named(*protocol);
  if (const auto* nat_ip = command.get<wire::Ipv4Address>("-natIP")) filter.nat_ip = *nat_ip;
  if (const auto* nat_port = command.get<std::uint32_t>("-natPort"))
    filter.nat_port = static_cast<std::uint16_t>(*nat_port);
  return filter;
}

const ValueSyntax kProtocolName{"TCP|UDP|ICMP|ESP", "TCP, UDP, ICMP or ESP",
                                [](std::string_view text) -> std::optional<Value> {
                                  const auto known = protocol_named(text);
                                  if (!known) return std::nullopt;
                                  return std::string(name_of(*known));
                                }};

std::optional<Protocol> protocol_named(std::string_view name) {
  for (const Protocol each : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp, Protocol::kEsp})
    if (same_word(name_of(each), name)) return each;
  return std::nullopt;
}

const ValueSyntax kTopNumber{"N", "1-1000", [](std::string_view text) -> std::optional<Value> {
                               const auto number = parse_number(text, 1000);
                               if (!number || *number == 0) return std::nullopt;
                               return *number;
                             }};

std::uint32_t top_of(const Command& command) {
  constexpr std::uint32_t kUnlessGiven = 20;
  const auto* const top = command.get<std::uint32_t>("-top");
  return top == nullptr ? kUnlessGiven : *top;
}

const ValueSyntax kClientName{"NAME", "the name of an existing lsn client", kNameSyntax.parse};

namespace {

const ValueSyntax kSessionOrder{"idle|bytes", "idle or bytes", [](std::string_view text) {
                                  return one_of({"idle", "bytes"}, text);
                                }};

constexpr std::size_t kFilterOptions = 9;
constexpr std::string_view kCountOption = "-count";

/// The filter, and the further options of show.
const std::array<OptionSpec, kFilterOptions + 3>& session_options() {
  static const std::array<OptionSpec, kFilterOptions + 3> kOptions{{
      {"-clientname", &kClientName, "of subscribers of this client"},
      {"-subscrIP", &kAnyAddress, "of this subscriber"},
      {"-network", &kAnyAddress, "of subscribers in this network"},
      {"-netmask", &kNetmask, "the network's mask, 255.255.255.255 without it", "-network"},
      {"-td", &kDomainNumber, "of subscribers in this traffic domain"},
      {"-natIP", &kAnyAddress, "with this NAT address"},
      {"-natPort", &kPortNumber, "with this NAT port, or ICMP identifier"},
      {"-destIP", &kAnyAddress, "with this destination"},
      {"-protocol", &kProtocolName, "of this protocol"},
      {kCountOption, nullptr, "only how many there are"},
      {"-sort", &kSessionOrder, "those with the most of it, the first ones of them"},
      {"-top", &kTopNumber, "how many of them, 20 without it", "-sort"},
  }};
  return kOptions;
}

}  // namespace

ListWriter::Rows rows_of(const Command& command) {
  return command.has(kCountOption) ? ListWriter::Rows::kCounted : ListWriter::Rows::kShown;
}

std::span<const OptionSpec> session_filter_options() {
  return std::span(session_options()).first(kFilterOptions);
}

std::span<const OptionSpec> session_show_options() {
  return session_options();
}

std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_session(
    const Command& command, const CommandContext& context) {
  auto filter = session_filter_of(command, context);
  if (!filter) return std::unexpected(std::move(filter.error()));
  if (const auto* const order = command.get<std::string>("-sort")) {
    if (command.has(kCountOption))
      return std::unexpected(complaint("show lsn session: -count", "with -sort", "one of them"));
    const bool by_idle = *order == "idle";
    return std::make_unique<TopAnswer<SessionPage, SessionWriter>>(
        context, std::move(*filter),
        SessionWriter(command.format, ListWriter::Rows::kShown, !by_idle), top_of(command),
        [by_idle](const SessionRow& row) {
          return by_idle ? row.idle_seconds : row.bytes[0] + row.bytes[1];
        });
  }
  return std::make_unique<PagedAnswer<SessionPage, SessionWriter>>(
      context, std::move(*filter), SessionWriter(command.format, rows_of(command), false));
}

std::expected<std::unique_ptr<Answer>, std::string> begin_flush_lsn_session(
    const Command& command, const CommandContext& context) {
  const auto filter = session_filter_of(command, context);
  if (!filter) return std::unexpected(filter.error());
  return std::make_unique<FlushSessions>(command.format, context, *filter);
}

std::string_view to_word(shared::SessionState state) {
  using enum shared::SessionState;
  switch (state) {
    case kSynSent:
      return "SYN-SENT";
    case kSynReceived:
      return "SYN-RECEIVED";
    case kEstablished:
      return "ESTABLISHED";
    case kFinOutbound:
      return "FIN-OUTBOUND";
    case kFinInbound:
      return "FIN-INBOUND";
    case kClosing:
      return "CLOSING";
    case kActive:
      return "ACTIVE";
  }
  return "?";
}

}  // namespace lsn::control
