#include "lsn/control/command/subscriber_answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "lsn/control/command/alg_answers.hpp"
#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/list_writer.hpp"
#include "lsn/control/command/paged_answer.hpp"
#include "lsn/control/command/router_answers.hpp"
#include "lsn/control/command/session_answers.hpp"
#include "lsn/control/command/static_answers.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::BlockPage;
using shared::BlockRow;
using shared::Direction;
using shared::Generation;
using shared::Group;
using shared::kPortProtocols;
using shared::kProtocols;
using shared::MappingPage;
using shared::MappingRow;
using shared::Protocol;
using shared::SubscriberFilter;
using shared::SubscriberPage;
using shared::SubscriberRow;
using Json = nlohmann::ordered_json;
using enum Table::Align;

constexpr std::size_t kUseWidth = std::string_view("65535/65535").size();
constexpr std::size_t kNameWidth = 16;

std::uint64_t sum(const auto& values) {
  std::uint64_t total = 0;
  for (const auto value : values) total += value;
  return total;
}

// ── usage against quotas ────────────────────────────────────────────────────────────────────────

/// 0: no limit.
std::uint32_t session_quota(const Generation& generation, const Group* group, std::size_t p) {
  if (group == nullptr) return 0;
  if (p < kPortProtocols) return group->transport[p].session_quota;
  return group->alg_profile < generation.alg_profiles.size()
             ? generation.alg_profiles[group->alg_profile].esp_session_quota
             : 0;
}

std::uint32_t port_quota(const Group* group, std::size_t p) {
  return group == nullptr ? 0 : group->transport[p].port_quota;
}

/// "12/100", "12".
std::string use(std::uint64_t used, std::uint32_t quota) {
  return quota == 0 ? std::to_string(used) : fmt::format("{}/{}", used, quota);
}

Json to_json(const SubscriberRow& row, const Generation& generation, bool with_bytes) {
  const Group* const group = generation.group(row.group);
  Json json{{"subscriber", wire::to_string(row.ip)}};
  put_td(json, row.td);
  put_group(json, group);
  json["nat_ip"] = row.nat_ip ? Json(wire::to_string(*row.nat_ip)) : Json();
  for (std::size_t p = 0; p < kProtocols; ++p) {
    const std::string name = lower(name_of(static_cast<Protocol>(p)));
    json["sessions"][name] = row.sessions[p];
    json["session_quota"][name] = session_quota(generation, group, p);
    if (p >= kPortProtocols) continue;
    json["ports"][name] = row.ports[p];
    json["port_quota"][name] = port_quota(group, p);
  }
  if (with_bytes) {
    json["outbound_bytes"] = row.bytes[Direction::kOutbound];
    json["inbound_bytes"] = row.bytes[Direction::kInbound];
  }
  return json;
}

class SubscriberWriter : public ListWriter {
 public:
  SubscriberWriter(Format format, bool with_bytes)
      : ListWriter(format, Table(columns(with_bytes)), "subscribers", "subscriber", "subscribers"),
        with_bytes_(with_bytes) {}

  void add(const SubscriberRow& row, const Generation& generation, std::string& out) {
    if (is_json()) {
      out += separator();
      out += line_of(to_json(row, generation, with_bytes_));
    } else {
      const Group* const group = generation.group(row.group);
      std::vector<std::string> cells{to_text(shared::InsideAddress{row.ip, row.td}),
                                     group == nullptr ? "-" : group->name,
                                     row.nat_ip ? wire::to_string(*row.nat_ip) : "-"};
      for (std::size_t p = 0; p < kProtocols; ++p)
        cells.push_back(use(row.sessions[p], session_quota(generation, group, p)));
      for (std::size_t p = 0; p < kPortProtocols; ++p)
        cells.push_back(use(row.ports[p], port_quota(group, p)));
      if (with_bytes_) cells.push_back(std::to_string(8 * (row.bytes[0] + row.bytes[1])));
      table().add(std::move(cells));
    }
    counted();
  }

 private:
  static std::vector<Table::Column> columns(bool with_bytes) {
    std::vector<Table::Column> all{
        {"subscriber", kLeft, kAddressWidth}, {"group", kLeft, kNameWidth},
        {"nat ip", kLeft, kAddressWidth},     {"TCP sessions", kRight, kUseWidth},
        {"UDP sessions", kRight, kUseWidth},  {"ICMP sessions", kRight, kUseWidth},
        {"ESP sessions", kRight, kUseWidth},  {"TCP ports", kRight, kUseWidth},
        {"UDP ports", kRight, kUseWidth},     {"ICMP ids", kRight, kUseWidth}};
    if (with_bytes) all.push_back({"bits", kRight, std::string_view("1000000000000").size()});
    return all;
  }

  bool with_bytes_;
};

const ValueSyntax kSubscriberOrder{
    "sessions|ports|bits", "sessions, ports or bits",
    [](std::string_view text) { return one_of({"sessions", "ports", "bits"}, text); }};

// ── mappings ────────────────────────────────────────────────────────────────────────────────────

std::string destination_of(const MappingRow& row) {
  if (!row.remote_ip) return "any";
  return row.remote_port ? endpoint(*row.remote_ip, *row.remote_port)
                         : wire::to_string(*row.remote_ip);
}

class MappingWriter : public ListWriter {
 public:
  MappingWriter(Format format, Rows rows)
      : ListWriter(format,
                   Table({{"subscriber", kLeft, kEndpointWidth},
                          {"nat", kLeft, kEndpointWidth},
                          {"destination", kLeft, kEndpointWidth},
                          {"protocol", kLeft},
                          {"mapping", kLeft, kDependenceWidth},
                          {"filtering", kLeft, kDependenceWidth},
                          {"sessions", kRight},
                          {"left", kRight, std::string_view("1200 s").size()}}),
                   "mappings", "mapping", "mappings", rows) {}

  void add(const MappingRow& row, const Generation& generation, std::string& out) {
    const Group* const group = generation.group(row.group);
    if (!is_shown()) {
      // -count: no row is written
    } else if (is_json()) {
      out += separator();
      Json json{{"protocol", name_of(row.protocol)},
                {"subscriber", endpoint(row.subscriber_ip, row.subscriber_port)}};
      put_td(json, row.td);
      json["nat"] = endpoint(row.nat_ip, row.nat_port);
      json["destination"] = row.remote_ip ? Json(destination_of(row)) : Json();
      json["mapping"] = to_word(row.mapping);
      json["filtering"] = to_word(row.filtering);
      put_group(json, group);
      json["sessions"] = row.sessions;
      json["left"] = row.sessions != 0 ? Json() : Json(row.left_seconds);
      out += line_of(json);
    } else {
      table().add({endpoint(row.subscriber_ip, row.subscriber_port) + td_text(row.td),
                   endpoint(row.nat_ip, row.nat_port), destination_of(row),
                   std::string(name_of(row.protocol)), std::string(to_word(row.mapping)),
                   std::string(to_word(row.filtering)), std::to_string(row.sessions),
                   row.sessions != 0 ? "-" : fmt::format("{} s", row.left_seconds)});
    }
    counted();
  }

 private:
  static constexpr std::size_t kDependenceWidth = std::string_view("ADDRESS-PORT-DEPENDENT").size();
};

std::unique_ptr<Answer> list_of_mappings(Format format, const CommandContext& context,
                                         const shared::SessionFilter& filter,
                                         ListWriter::Rows rows) {
  return std::make_unique<PagedAnswer<MappingPage, MappingWriter>>(context, filter,
                                                                   MappingWriter(format, rows));
}

// ── port blocks ─────────────────────────────────────────────────────────────────────────────────

class BlockWriter : public ListWriter {
 public:
  BlockWriter(Format format, Rows rows)
      : ListWriter(format,
                   Table({{"subscriber", kLeft, kAddressWidth},
                          {"nat ip", kLeft, kAddressWidth},
                          {"ports", kLeft, std::string_view("65280-65535").size()},
                          {"TCP ports", kRight},
                          {"UDP ports", kRight},
                          {"ICMP ids", kRight},
                          {"group", kLeft, kNameWidth}}),
                   "blocks", "block", "blocks", rows) {}

  void add(const BlockRow& row, const Generation& generation, std::string& out) {
    const Group* const group = generation.group(row.group);
    if (is_shown() && is_json()) {
      out += separator();
      Json json{{"subscriber", wire::to_string(row.subscriber_ip)}};
      put_td(json, row.td);
      json["nat_ip"] = wire::to_string(row.ports.nat_ip);
      json["first_port"] = row.ports.first;
      json["last_port"] = row.ports.last;
      for (std::size_t p = 0; p < kPortProtocols; ++p)
        json["ports"][lower(name_of(static_cast<Protocol>(p)))] = row.used[p];
      put_group(json, group);
      out += line_of(json);
    } else if (is_shown()) {
      std::vector<std::string> cells{to_text(shared::InsideAddress{row.subscriber_ip, row.td}),
                                     wire::to_string(row.ports.nat_ip),
                                     fmt::format("{}-{}", row.ports.first, row.ports.last)};
      for (const std::uint32_t used : row.used) cells.push_back(std::to_string(used));
      cells.push_back(group == nullptr ? "-" : group->name);
      table().add(std::move(cells));
    }
    counted();
  }
};

std::unique_ptr<Answer> list_of_blocks(Format format, const CommandContext& context,
                                       const shared::SessionFilter& filter, ListWriter::Rows rows) {
  return std::make_unique<PagedAnswer<BlockPage, BlockWriter>>(context, filter,
                                                               BlockWriter(format, rows));
}

// ── one subscriber ──────────────────────────────────────────────────────────────────────────────

/// The subscriber's identity and usage, a line each.
class SubscriberAnswer final : public Answer {
 public:
  SubscriberAnswer(Format format, const CommandContext& context,
                   const shared::InsideAddress& subscriber)
      : format_(format),
        context_(context),
        subscriber_(subscriber),
        pages_(context.dataplane, filter_of(subscriber)) {}

  Progress next(std::string& out) override {
    if (!pages_.take([this](const SubscriberRow& row) { add(row); })) return Progress::kWaiting;
    format_ == Format::kJson ? say_json(out) : say_text(out);
    return Progress::kDone;
  }

 private:
  /// What two workers have of it is one answer: after a change of its static mapping its older
  /// sessions live on at the former worker.
  void add(const SubscriberRow& row) {
    const auto same = std::ranges::find_if(rows_, [&row](const SubscriberRow& other) {
      return other.group == row.group &&
             (!other.nat_ip || !row.nat_ip || *other.nat_ip == *row.nat_ip);
    });
    if (same == rows_.end()) {
      rows_.push_back(row);
      return;
    }
    if (!same->nat_ip) same->nat_ip = row.nat_ip;
    for (std::size_t p = 0; p < kProtocols; ++p) same->sessions[p] += row.sessions[p];
    for (std::size_t p = 0; p < kPortProtocols; ++p) same->ports[p] += row.ports[p];
    for (std::size_t d = 0; d < row.bytes.size(); ++d) same->bytes[d] += row.bytes[d];
  }

  static SubscriberFilter filter_of(const shared::InsideAddress& subscriber) {
    SubscriberFilter filter;
    filter.td = subscriber.td;
    filter.network = wire::Ipv4Prefix{subscriber.address, 32};
    filter.with_bytes = true;
    return filter;
  }

  [[nodiscard]] const Group* configured_group() const {
    return context_.config.generation().group_of(subscriber_);
  }

  [[nodiscard]] std::optional<shared::PortBlock> deterministic_block(const Group* group) const {
    return group == nullptr || group->deterministic == nullptr
               ? std::nullopt
               : group->deterministic->forward(subscriber_);
  }

  /// The text for an address that is in no group.
  [[nodiscard]] std::string nobodys() const {
    const Generation& generation = context_.config.generation();
    if (const auto* const place = generation.nat_addresses.find(subscriber_.address))
      return fmt::format("none: it is a NAT address of {}", generation.pools[place->pool].name);
    if (generation.is_own_address(subscriber_)) return "none: it is lsnd's own address";
    const std::string client = client_without_group(context_.config.model(), subscriber_);
    return client.empty()
               ? fmt::format("none: no client has a network with this address{}",
                             subscriber_.td == 0 ? "" : fmt::format(" in td {}", subscriber_.td))
               : fmt::format("{}, which is in no group (bind or add one: add lsn group)", client);
  }

  void say_json(std::string& out) const {
    Json list = Json::array();
    for (const SubscriberRow& row : rows_)
      list.push_back(to_json(row, context_.config.generation(), true));
    const Group* const group = configured_group();
    Json json{{"address", wire::to_string(subscriber_.address)}};
    put_td(json, subscriber_.td);
    put_group(json, group);
    const auto block = deterministic_block(group);
    json["deterministic"] = block ? Json{{"nat_ip", wire::to_string(block->nat_ip)},
                                         {"first_port", block->first},
                                         {"last_port", block->last}}
                                  : Json();
    json["subscribers"] = std::move(list);
    out += document(json);
  }

  void say_text(std::string& out) const {
    const Group* const group = configured_group();
    out += fmt::format("subscriber {}\n", to_text(subscriber_));
    if (group == nullptr) {
      out += fmt::format("  client     {}\n", nobodys());
    } else {
      out += fmt::format("  client     {}\n  group      {}\n", group->client, group->name);
      if (const auto block = deterministic_block(group))
        out += fmt::format("  ports      {}, its deterministic block\n", range_text(*block));
    }
    if (rows_.empty()) out += "  in use     nothing: it has neither sessions nor mappings\n";
    for (const SubscriberRow& row : rows_) say_use(row, out);
  }

  void say_use(const SubscriberRow& row, std::string& out) const {
    const Generation& generation = context_.config.generation();
    const Group* const group = generation.group(row.group);
    out += fmt::format("  nat ip     {}\n",
                       row.nat_ip ? wire::to_string(*row.nat_ip) + " (PAIRED)" : "none of its own");
    std::string sessions, ports;
    for (std::size_t p = 0; p < kProtocols; ++p) {
      const std::string_view name = name_of(static_cast<Protocol>(p));
      sessions += fmt::format("{}{} {}", p == 0 ? "" : ", ", name,
                              use(row.sessions[p], session_quota(generation, group, p)));
      if (p < kPortProtocols)
        ports += fmt::format("{}{} {}", p == 0 ? "" : ", ", name,
                             use(row.ports[p], port_quota(group, p)));
    }
    out += fmt::format("  sessions   {}\n  nat ports  {}\n", sessions, ports);
    out += fmt::format("  carried    {} bytes out, {} bytes in, by its present sessions\n",
                       row.bytes[0], row.bytes[1]);
  }

  Format format_;
  const CommandContext& context_;
  shared::InsideAddress subscriber_;
  Pages<SubscriberPage> pages_;
  std::vector<SubscriberRow> rows_;
};

/// Several answers about one subscriber, which are short: one after the other with titles, or as
/// one JSON document.
class SequenceAnswer final : public Answer {
 public:
  struct Part {
    std::string title;  ///< the first one has none
    std::string key;    ///< of its list, in JSON
    std::unique_ptr<Answer> answer;
  };

  SequenceAnswer(Format format, std::vector<Part> parts)
      : format_(format), parts_(std::move(parts)) {}

  Progress next(std::string& out) override {
    for (; at_ < parts_.size(); ++at_) {
      Part& part = parts_[at_];
      for (Progress progress; (progress = part.answer->next(text_)) != Progress::kDone;) {
        if (progress == Progress::kWaiting) return Progress::kWaiting;
        if (progress == Progress::kFailed) {
          errors_ = part.answer->errors();
          return Progress::kFailed;
        }
      }
      if (format_ == Format::kText) {
        if (!part.title.empty()) out += fmt::format("\n{}\n\n", part.title);
        out += text_;
      } else {
        Json json = Json::parse(text_);
        if (part.key.empty())
          json_ = std::move(json);
        else
          json_[part.key] = json.front();  // its list, before the count
      }
      text_.clear();
    }
    if (format_ == Format::kJson) out += document(json_);
    return Progress::kDone;
  }

 private:
  Format format_;
  std::vector<Part> parts_;
  std::size_t at_ = 0;
  std::string text_;
  Json json_;
};

}  // namespace

std::string client_without_group(const Model& model, const shared::InsideAddress& subscriber) {
  const ByName acls(model.lsn.acl);
  for (const ClientConfig& client : model.lsn.client) {
    const bool is_in_group = std::ranges::any_of(
        model.lsn.group, [&](const GroupConfig& group) { return group.clientname == client.name; });
    const bool has_it =
        std::ranges::any_of(subscriber_ranges(acls, client), [&](const shared::InsideRange& range) {
          return range.td == subscriber.td && range.addresses.contains(subscriber.address);
        });
    if (has_it && !is_in_group) return client.name;
  }
  return {};
}

std::span<const OptionSpec> subscriber_options() {
  static const std::array<OptionSpec, 8> kOptions{{
      {"-clientname", &kClientName, "of this client"},
      {"-subscrIP", &kAnyAddress, "this one"},
      {"-network", &kAnyAddress, "in this network"},
      {"-netmask", &kNetmask, "the network's mask, 255.255.255.255 without it", "-network"},
      {"-td", &kDomainNumber, "in this traffic domain"},
      {"-natIP", &kAnyAddress, "paired with this NAT address"},
      {"-sort", &kSubscriberOrder, "those with the most of it, the first ones of them"},
      {"-top", &kTopNumber, "how many of them, 20 without it", "-sort"},
  }};
  return kOptions;
}

std::span<const OptionSpec> mapping_options() {
  // As of sessions, but a mapping has no destination.
  static const std::vector<OptionSpec> kOptions = [] {
    std::vector<OptionSpec> all;
    for (const OptionSpec& option : session_show_options())
      if (option.name != "-destIP" && option.name != "-sort" && option.name != "-top")
        all.push_back(option);
    return all;
  }();
  return kOptions;
}

std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_subscriber(
    const Command& command, const CommandContext& context) {
  auto given = session_filter_of(command, context);
  if (!given) return std::unexpected(std::move(given.error()));
  SubscriberFilter filter{std::move(*given)};
  const auto* const order = command.get<std::string>("-sort");
  filter.with_bytes = order != nullptr && *order == "bits";
  SubscriberWriter writer(command.format, filter.with_bytes);
  if (order == nullptr)
    return std::make_unique<PagedAnswer<SubscriberPage, SubscriberWriter>>(
        context, std::move(filter), std::move(writer));
  return std::make_unique<TopAnswer<SubscriberPage, SubscriberWriter>>(
      context, std::move(filter), std::move(writer), top_of(command),
      [order = *order](const SubscriberRow& row) -> std::uint64_t {
        if (order == "sessions") return sum(row.sessions);
        return order == "ports" ? sum(row.ports) : row.bytes[0] + row.bytes[1];
      });
}

std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_mapping(
    const Command& command, const CommandContext& context) {
  auto filter = session_filter_of(command, context);
  if (!filter) return std::unexpected(std::move(filter.error()));
  return list_of_mappings(command.format, context, *filter, rows_of(command));
}

std::span<const OptionSpec> block_options() {
  static const std::array<OptionSpec, 7> kOptions{{
      {"-clientname", &kClientName, "of this client"},
      {"-subscrIP", &kAnyAddress, "of this subscriber"},
      {"-network", &kAnyAddress, "of subscribers in this network"},
      {"-netmask", &kNetmask, "the network's mask, 255.255.255.255 without it", "-network"},
      {"-td", &kDomainNumber, "of subscribers in this traffic domain"},
      {"-natIP", &kAnyAddress, "of this NAT address"},
      {"-count", nullptr, "only their number"},
  }};
  return kOptions;
}

std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_portblock(
    const Command& command, const CommandContext& context) {
  auto filter = session_filter_of(command, context);
  if (!filter) return std::unexpected(std::move(filter.error()));
  return list_of_blocks(command.format, context, *filter, rows_of(command));
}

std::span<const PositionalSpec> show_subscriber_parameters() {
  static const std::array<PositionalSpec, 1> kParameters{{{"ADDRESS", &kAnyAddress}}};
  return kParameters;
}

std::span<const OptionSpec> show_subscriber_options() {
  static const std::array<OptionSpec, 1> kOptions{{
      {"-td", &kDomainNumber, "its traffic domain, 0 without it"},
  }};
  return kOptions;
}

std::expected<std::unique_ptr<Answer>, std::string> begin_show_subscriber(
    const Command& command, const CommandContext& context) {
  const wire::Ipv4Address address = *command.get<wire::Ipv4Address>("ADDRESS");
  const shared::InsideAddress subscriber{address, command.td().value_or(0)};
  const Format format = command.format;
  shared::SessionFilter sessions;
  sessions.td = subscriber.td;
  sessions.network = wire::Ipv4Prefix{address, 32};
  const shared::AlgFilter alg{.source_ip = address, .td = subscriber.td};
  std::vector<SequenceAnswer::Part> parts;
  parts.push_back({"", "", std::make_unique<SubscriberAnswer>(format, context, subscriber)});
  parts.push_back({"mappings", "mappings",
                   list_of_mappings(format, context, sessions, ListWriter::Rows::kShown)});
  parts.push_back(
      {"static mappings", "static", list_of_statics(format, context, {.subscriber = subscriber})});
  parts.push_back({"port blocks", "blocks",
                   list_of_blocks(format, context, sessions, ListWriter::Rows::kShown)});
  parts.push_back({"IKE sessions", "ike_sessions", list_of_ike_sessions(format, context, alg)});
  parts.push_back({"ESP sessions", "esp_sessions", list_of_esp_sessions(format, context, alg)});
  parts.push_back({"gates of its servers", "gates", list_of_gates(format, context, alg)});
  parts.push_back({"last drops", "drops",
                   list_of_recent_drops(format, context, {.address = address, .reason = {}})});
  return std::make_unique<SequenceAnswer>(format, std::move(parts));
}

}  // namespace lsn::control
