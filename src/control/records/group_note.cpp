#include "lsn/control/records/group_note.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "lsn/control/config/port_blocks.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

constexpr std::string_view kGroup = "group ", kInForce = "in force: ", kBetween = ", ";
constexpr std::string_view kRemoved = "removed", kNothing = "nothing is recorded";
constexpr std::string_view kSessDeletion = "logSessDeletion", kNatType = "nattype",
                           kAllocPolicy = "allocPolicy", kBlockSize = "portblocksize",
                           kNetwork = "network", kLsnIp = "lsnip";

void add(std::string& words, std::string_view setting, std::string_view value) {
  words += fmt::format("{}{} {}", words.empty() ? "" : kBetween, setting, value);
}

void add_map(std::string& words, const Model& model, const GroupConfig& group) {
  add(words, kNatType, to_word(group.nattype));
  add(words, kAllocPolicy, to_word(group.alloc_policy));
  add(words, kBlockSize, fmt::format("{}", port_block_size(model, group)));
  if (const ClientConfig* client = find_by_name(model.lsn.client, group.clientname)) {
    for (const ClientNetwork& network : client->network)
      add(words, kNetwork, ClientNetworkSyntax::format(network));
    for (const auto& [range, td] : acl_ranges(ByName(model.lsn.acl), *client))
      add(words, kNetwork, AddressRangeSyntax::format(range) + td_text(td));
  }
  // The addresses that are given out, not all that are configured.
  for (const std::string& name : group.poolname)
    if (const PoolConfig* pool = find_by_name(model.lsn.pool, name))
      for (const wire::Ipv4Range& range : nat_ranges(model, *pool))
        add(words, kLsnIp, AddressRangeSyntax::format(range));
}

std::optional<wire::Ipv4Range> addresses_of(std::string_view text) {
  if (text.find('-') != std::string_view::npos) return AddressRangeSyntax::parse(text);
  const auto prefix = NetworkSyntax::parse(text);
  if (!prefix) return std::nullopt;
  return wire::Ipv4Range{prefix->first(), prefix->last()};
}

/// "192.0.2.0/24", "192.0.2.0/24 td 5", "198.18.0.7-198.18.0.9 td 5"
std::optional<shared::InsideRange> network_of(std::string_view text) {
  constexpr std::string_view kDomain = " td ";
  const std::size_t between = text.find(kDomain);
  const auto addresses = addresses_of(text.substr(0, between));
  const auto td = between == std::string_view::npos
                      ? std::optional(0U)
                      : parse_number(text.substr(between + kDomain.size()), shared::kLastDomain);
  if (!addresses || !td) return std::nullopt;
  return shared::InsideRange{*addresses, static_cast<shared::DomainId>(*td)};
}

/// Gives each "setting value" to `see`.
void each_setting(std::string_view settings, auto&& see) {
  while (!settings.empty()) {
    const std::string_view one = settings.substr(0, settings.find(kBetween));
    settings.remove_prefix(std::min(settings.size(), one.size() + kBetween.size()));
    const std::size_t blank = one.find(' ');
    see(one.substr(0, blank),
        blank == std::string_view::npos ? std::string_view() : one.substr(blank + 1));
  }
}

/// Collects what a map is made of, setting by setting.
class MapReader {
 public:
  void take(std::string_view setting, std::string_view value) {
    if (setting == kNetwork)
      add(subscribers_, network_of(value));
    else if (setting == kLsnIp)
      add(addresses_, AddressRangeSyntax::parse(value));
    else if (setting == kBlockSize)
      block_size_ = parse_number(value, shared::kPortsForBlocks);
    else if (setting == kAllocPolicy)
      policy_ = parse_word<AllocPolicy>(value);
  }

  [[nodiscard]] std::optional<shared::DeterministicMap> map() const {
    if (!is_sound_ || subscribers_.empty() || addresses_.empty() || !block_size_ || !policy_)
      return std::nullopt;
    // Versions that wrote 0 had the default for it.
    return shared::DeterministicMap(subscribers_, addresses_,
                                    *block_size_ == 0 ? kDefaultBlockSize : *block_size_,
                                    block_order(*policy_));
  }

 private:
  template <class Range>
  void add(std::vector<Range>& ranges, const std::optional<Range>& range) {
    is_sound_ = is_sound_ && range.has_value();
    if (range) ranges.push_back(*range);
  }

  std::vector<shared::InsideRange> subscribers_;
  std::vector<wire::Ipv4Range> addresses_;
  std::optional<std::uint32_t> block_size_;
  std::optional<AllocPolicy> policy_;
  bool is_sound_ = true;
};

}  // namespace

std::string group_settings(const Model& model, const GroupConfig& group) {
  std::string words;
  if (group.logging == Switch::kEnabled) {
    add(words, "logging", to_word(group.logging));
    add(words, "sessionLogging", to_word(group.session_logging));
    add(words, kSessDeletion, to_word(log_profile(model, group).log_sess_deletion));
  }
  if (group.nattype == NatType::kDeterministic) add_map(words, model, group);
  return words;
}

std::string group_note(std::string_view name, std::string_view settings) {
  return fmt::format("{}{}: {}", kGroup, name, settings.empty() ? kNothing : settings);
}

std::string removed_note(std::string_view name) {
  return group_note(name, kRemoved);
}

std::string repeated_note(std::string_view note) {
  return fmt::format("{}{}", kInForce, note);
}

std::optional<GroupNote> GroupNote::parse(std::string_view text) {
  GroupNote note;
  note.is_repeated = text.starts_with(kInForce);
  if (note.is_repeated) text.remove_prefix(kInForce.size());
  // A name may have a colon, settings have none.
  const std::size_t colon = text.rfind(": ");
  if (!text.starts_with(kGroup) || colon == std::string_view::npos || colon < kGroup.size())
    return std::nullopt;
  note.text = text;
  note.group = text.substr(kGroup.size(), colon - kGroup.size());
  note.settings = text.substr(colon + 2);
  note.has_settings = note.settings != kRemoved && note.settings != kNothing;
  each_setting(note.settings, [&note](std::string_view setting, std::string_view value) {
    if (setting == kSessDeletion)
      note.has_ends = parse_word<Switch>(value) != Switch::kDisabled;
    else if (setting == kNatType)
      note.is_deterministic = parse_word<NatType>(value) == NatType::kDeterministic;
  });
  return note;
}

std::optional<shared::DeterministicMap> GroupNote::map() const {
  MapReader reader;
  each_setting(settings, [&reader](std::string_view setting, std::string_view value) {
    reader.take(setting, value);
  });
  return reader.map();
}

}  // namespace lsn::control
