#include "lsn/control/records/group_note.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "lsn/control/config/port_blocks.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

constexpr std::string_view kLogging = "logging", kSessionLogging = "sessionLogging",
                           kSessDeletion = "logSessDeletion", kNatType = "nattype",
                           kAllocPolicy = "allocPolicy", kBlockSize = "portblocksize",
                           kNetwork = "network", kLsnIp = "lsnip";

void add_map(std::string& words, const Model& model, const GroupConfig& group) {
  add_setting(words, kNatType, to_word(group.nattype));
  add_setting(words, kAllocPolicy, to_word(group.alloc_policy));
  add_setting(words, kBlockSize, fmt::format("{}", port_block_size(model, group)));
  if (const ClientConfig* client = find_by_name(model.lsn.client, group.clientname)) {
    for (const ClientNetwork& network : client->network)
      add_setting(words, kNetwork, ClientNetworkSyntax::format(network));
    for (const auto& [range, td] : acl_ranges(ByName(model.lsn.acl), *client))
      add_setting(words, kNetwork, AddressRangeSyntax::format(range) + td_text(td));
  }
}

/// A group that logs nothing has that pool, too: not all that its addresses translate is recorded.
bool is_shared_unrecorded(const Model& model, const std::string& pool) {
  return std::any_of(model.lsn.group.begin(), model.lsn.group.end(), [&](const GroupConfig& each) {
    return each.logging != Switch::kEnabled && each.nattype != NatType::kDeterministic &&
           std::find(each.poolname.begin(), each.poolname.end(), pool) != each.poolname.end();
  });
}

/// The addresses that are given out, not all that are configured.
void add_nat_addresses(std::string& words, const Model& model, const GroupConfig& group) {
  for (const std::string& name : group.poolname)
    if (const PoolConfig* pool = find_by_name(model.lsn.pool, name);
        pool != nullptr && !is_shared_unrecorded(model, name))
      for (const wire::Ipv4Range& range : nat_ranges(model, *pool))
        add_setting(words, kLsnIp, AddressRangeSyntax::format(range));
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
    add_setting(words, kLogging, to_word(group.logging));
    add_setting(words, kSessionLogging, to_word(group.session_logging));
    add_setting(words, kSessDeletion, to_word(log_profile(model, group).log_sess_deletion));
  }
  if (group.nattype == NatType::kDeterministic) add_map(words, model, group);
  if (!words.empty()) add_nat_addresses(words, model, group);
  return words;
}

std::string group_subject(std::string_view name) {
  return fmt::format("{}{}", kGroupSubject, name);
}

std::optional<GroupNote> GroupNote::parse(std::string_view text) {
  const auto note = ConfigNote::parse(text);
  return note ? of(*note) : std::nullopt;
}

std::optional<GroupNote> GroupNote::of(const ConfigNote& of_any) {
  const auto name = of_any.name_of(kGroupSubject);
  if (!name) return std::nullopt;
  GroupNote note{of_any, *name};
  note.each_setting([&note](std::string_view setting, std::string_view value) {
    if (setting == kLogging)
      note.is_logging = parse_word<Switch>(value) == Switch::kEnabled;
    else if (setting == kSessionLogging)
      note.has_sessions = parse_word<Switch>(value) == Switch::kEnabled;
    else if (setting == kSessDeletion)
      note.has_ends = parse_word<Switch>(value) != Switch::kDisabled;
    else if (setting == kNatType)
      note.is_deterministic = parse_word<NatType>(value) == NatType::kDeterministic;
  });
  return note;
}

std::vector<wire::Ipv4Range> GroupNote::nat_addresses() const {
  std::vector<wire::Ipv4Range> all;
  each_setting([&all](std::string_view setting, std::string_view value) {
    if (setting != kLsnIp) return;
    if (const auto range = AddressRangeSyntax::parse(value)) all.push_back(*range);
  });
  return all;
}

std::optional<shared::DeterministicMap> GroupNote::map() const {
  MapReader reader;
  each_setting(
      [&reader](std::string_view setting, std::string_view value) { reader.take(setting, value); });
  return reader.map();
}

}  // namespace lsn::control
