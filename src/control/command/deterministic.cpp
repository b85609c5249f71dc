#include "lsn/control/command/deterministic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/list_writer.hpp"
#include "lsn/control/command/session_answers.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/port_blocks.hpp"

namespace lsn::control {
namespace {

using shared::DeterministicMap;
using shared::InsideAddress;
using shared::PortBlock;
using Json = nlohmann::ordered_json;
using enum Table::Align;

constexpr std::string_view kNatIp = "-natIP", kNatPort = "-natPort", kSubscrIp = "-subscrIP",
                           kClient = "-clientname";

class BlockOwnerWriter : public ListWriter {
 public:
  explicit BlockOwnerWriter(Format format)
      : ListWriter(format,
                   Table({{"subscriber", kLeft, kAddressWidth},
                          {"nat ip", kLeft, kAddressWidth},
                          {"ports", kLeft, std::string_view("65280-65535").size()},
                          {"group", kLeft}}),
                   "deterministic", "block", "blocks") {}

  void add(const InsideAddress& subscriber, const PortBlock& block, const std::string& group,
           std::string& out) {
    if (is_json()) {
      out += separator();
      Json json{{"subscrip", wire::to_string(subscriber.address)}};
      put_td(json, subscriber.td);
      json["natip"] = wire::to_string(block.nat_ip);
      json["firstport"] = block.first;
      json["lastport"] = block.last;
      json["group"] = group;
      out += line_of(json);
    } else {
      table().add({to_text(subscriber), wire::to_string(block.nat_ip),
                   fmt::format("{}-{}", block.first, block.last), group});
    }
    counted();
  }
};

/// Blocks of a group, by subscriber.
struct WantedBlocks {
  DeterministicGroup group;
  std::vector<InsideAddress> subscribers{};  ///< these, or ...
  std::uint64_t next = 0;                    ///< ... all from that one on
  std::uint64_t end = 0;
};

/// The rows, a page at a time.
class BlockOwners final : public Answer {
 public:
  BlockOwners(Format format, std::vector<WantedBlocks> wanted)
      : writer_(format), wanted_(std::move(wanted)) {}

  Progress next(std::string& out) override {
    if (!std::exchange(begun_, true)) writer_.begin(out);
    constexpr unsigned kRows = 2048;
    for (unsigned rows = 0; rows < kRows; ++rows) {
      while (at_ < wanted_.size() && wanted_[at_].next == wanted_[at_].end) ++at_;
      if (at_ == wanted_.size()) {
        writer_.end_page(out);
        writer_.end(out);
        return Progress::kDone;
      }
      WantedBlocks& wanted = wanted_[at_];
      const std::uint64_t number = wanted.next++;
      const InsideAddress subscriber = wanted.subscribers.empty()
                                           ? wanted.group.map->subscribers().at(number)
                                           : wanted.subscribers[number];
      if (const auto block = wanted.group.map->forward(subscriber))
        writer_.add(subscriber, *block, wanted.group.name, out);
    }
    writer_.end_page(out);
    return Progress::kMore;
  }

 private:
  BlockOwnerWriter writer_;
  std::vector<WantedBlocks> wanted_;
  std::size_t at_ = 0;
  bool begun_ = false;
};

WantedBlocks some(const DeterministicGroup& group, std::vector<InsideAddress> subscribers) {
  const std::uint64_t count = subscribers.size();
  return {group, std::move(subscribers), 0, count};
}

WantedBlocks all_of(const DeterministicGroup& group) {
  return {group, {}, 0, std::min(group.map->subscribers().count(), group.map->blocks())};
}

/// Who has the address, or one port of it.
std::expected<WantedBlocks, std::string> owners_of(const std::vector<DeterministicGroup>& groups,
                                                   const Command& command) {
  const auto nat_ip = *command.get<wire::Ipv4Address>(kNatIp);
  const auto group = std::find_if(groups.begin(), groups.end(), [nat_ip](const auto& each) {
    return each.map->nat_addresses().number_of({nat_ip}).has_value();
  });
  if (group == groups.end())
    return std::unexpected(complaint(fmt::format("{}: {}", command.spec->words, kNatIp),
                                     wire::to_string(nat_ip),
                                     "a NAT address of a deterministic group"));
  const DeterministicMap& map = *group->map;
  if (const auto* const port = command.get<std::uint32_t>(kNatPort)) {
    const auto subscriber = map.reverse(nat_ip, static_cast<std::uint16_t>(*port));
    if (subscriber) return some(*group, {*subscriber});
    return std::unexpected(
        complaint(fmt::format("{}: {}", command.spec->words, kNatPort),
                  fmt::format("{}, which is nobody's on {}", *port, wire::to_string(nat_ip)),
                  "a port of a subscriber's block"));
  }
  return some(*group, subscribers_at(map, nat_ip));
}

std::expected<WantedBlocks, std::string> block_of(const std::vector<DeterministicGroup>& groups,
                                                  const Command& command) {
  const InsideAddress subscriber{*command.get<wire::Ipv4Address>(kSubscrIp),
                                 command.td().value_or(0)};
  for (const DeterministicGroup& group : groups)
    if (group.map->forward(subscriber)) return some(group, {subscriber});
  return std::unexpected(complaint(fmt::format("{}: {}", command.spec->words, kSubscrIp),
                                   to_text(subscriber), "a subscriber of a deterministic group"));
}

std::expected<WantedBlocks, std::string> blocks_of_client(
    const std::vector<DeterministicGroup>& groups, const Command& command) {
  const std::string& client = *command.get<std::string>(kClient);
  std::vector<std::string_view> known;
  for (const DeterministicGroup& group : groups) {
    if (group.client == client) return all_of(group);
    known.push_back(group.client);
  }
  return std::unexpected(complaint_about_word(fmt::format("{}: {}", command.spec->words, kClient),
                                              client, known,
                                              "the client of a deterministic group"));
}

}  // namespace

std::span<const OptionSpec> deterministic_options() {
  static const std::array<OptionSpec, 5> kOptions{{
      {kNatIp, &kAnyAddress, "who has this NAT address"},
      {kNatPort, &kPortNumber, "who has this port of it", kNatIp},
      {kSubscrIp, &kAnyAddress, "what this subscriber has"},
      {"-td", &kDomainNumber, "the subscriber's traffic domain, 0 without it", kSubscrIp},
      {kClient, &kClientName, "what all subscribers of this client have"},
  }};
  return kOptions;
}

std::vector<DeterministicGroup> deterministic_groups(const Model& model) {
  std::vector<DeterministicGroup> groups;
  for (const GroupConfig& group : model.lsn.group)
    if (group.nattype == NatType::kDeterministic)
      groups.push_back({group.name, group.clientname,
                        std::make_shared<const DeterministicMap>(deterministic_map(model, group))});
  return groups;
}

std::expected<std::unique_ptr<Answer>, std::string> begin_deterministic(
    const Command& command, std::vector<DeterministicGroup> groups) {
  const int given = (command.has(kNatIp) ? 1 : 0) + (command.has(kSubscrIp) ? 1 : 0) +
                    (command.has(kClient) ? 1 : 0);
  if (given > 1)
    return std::unexpected(complaint(std::string(command.spec->words), "several things to look for",
                                     "one of -natIP, -subscrIP, -clientname"));
  std::vector<WantedBlocks> all;
  if (given == 0) {
    for (const DeterministicGroup& group : groups) all.push_back(all_of(group));
    return std::make_unique<BlockOwners>(command.format, std::move(all));
  }
  auto wanted = command.has(kNatIp)      ? owners_of(groups, command)
                : command.has(kSubscrIp) ? block_of(groups, command)
                                         : blocks_of_client(groups, command);
  if (!wanted) return std::unexpected(std::move(wanted.error()));
  all.push_back(std::move(*wanted));
  return std::make_unique<BlockOwners>(command.format, std::move(all));
}

std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_deterministic(
    const Command& command, const CommandContext& context) {
  std::vector<DeterministicGroup> groups;
  for (const shared::Group& group : context.config.generation().groups)
    if (group.present && group.deterministic != nullptr)
      groups.push_back({group.name, group.client, group.deterministic});
  return begin_deterministic(command, std::move(groups));
}

}  // namespace lsn::control
