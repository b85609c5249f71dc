#include "lsn/control/config/static_rules.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "lsn/shared/interval_map.hpp"

namespace lsn::control {
namespace {

using shared::StaticScope;

/// Problems of one kind that are reported one by one.
constexpr std::size_t kMostProblems = 100;

/// Whose address it is: the group of a subscriber.
class GroupsBySubscriber {
 public:
  explicit GroupsBySubscriber(const Model& model) {
    const ByName acls(model.lsn.acl);
    const ByName clients(model.lsn.client);
    std::map<shared::DomainId, std::vector<Groups::Range>> all;
    for (std::size_t g = 0; g < model.lsn.group.size(); ++g)
      if (const ClientConfig* const client = clients.find(model.lsn.group[g].clientname))
        for (const shared::InsideRange& range : subscriber_ranges(acls, *client))
          all[range.td].push_back({range.addresses.first.value, range.addresses.last.value, g});
    for (auto& [td, ranges] : all) groups_.make(td) = Groups(std::move(ranges));
  }
  /// Its number in the model; nullptr: of no client, or one that is in no group.
  [[nodiscard]] const std::size_t* find(const shared::InsideAddress& subscriber) const {
    return groups_[subscriber.td].find(subscriber.address.value);
  }

 private:
  using Groups = shared::IntervalMap<std::size_t>;
  shared::ByDomain<Groups> groups_;
};

/// Pools by NAT address; addresses that no host can have are in none.
shared::IntervalMap<std::size_t> pools_by_address(const Model& model) {
  std::vector<shared::IntervalMap<std::size_t>::Range> ranges;
  for (std::size_t p = 0; p < model.lsn.pool.size(); ++p)
    for (const wire::Ipv4Range& range : nat_ranges(model, model.lsn.pool[p]))
      ranges.push_back({range.first.value, range.last.value, p});
  return shared::IntervalMap<std::size_t>(std::move(ranges));
}

shared::IntervalMap<bool> draining_addresses(const Model& model) {
  std::vector<shared::IntervalMap<bool>::Range> ranges;
  for (const PoolConfig& pool : model.lsn.pool)
    for (const wire::Ipv4Range& range : pool.drain)
      ranges.push_back({range.first.value, range.last.value, true});
  return shared::IntervalMap<bool>(std::move(ranges));
}

// ── the choice ──────────────────────────────────────────────────────────────────────────────────

/// A number that is the same on every machine and in every version.
std::uint32_t mixed(std::uint32_t a, std::uint32_t b) {
  std::uint64_t x = (std::uint64_t{a} << 32 | b) + 0x9E3779B97F4A7C15;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return static_cast<std::uint32_t>(x ^ x >> 31);
}

bool is_complete(const StaticConfig& mapping) {
  return mapping.nat_ip && mapping.nat_port;
}

/// The NAT endpoints that mappings have.
class TakenEndpoints {
 public:
  void take(const StaticConfig& mapping) {
    used_.insert(mapping.nat_ip->value);
    if (mapping.nat_port->is_any) {
      whole_.insert(mapping.nat_ip->value);
      return;
    }
    for (std::uint64_t p = 0; p < shared::kPortProtocols; ++p)
      if (mapping.transportprotocol == StaticScope::kAll ||
          static_cast<std::uint64_t>(mapping.transportprotocol) == p)
        ports_.insert(p << 48 | std::uint64_t{mapping.nat_ip->value} << 16 |
                      mapping.nat_port->number);
  }
  [[nodiscard]] bool is_used(wire::Ipv4Address nat) const { return used_.contains(nat.value); }
  [[nodiscard]] bool is_whole(wire::Ipv4Address nat) const { return whole_.contains(nat.value); }
  [[nodiscard]] bool has(StaticScope scope, wire::Ipv4Address nat, std::uint32_t port) const {
    return ports_.contains(static_cast<std::uint64_t>(scope) << 48 |
                           std::uint64_t{nat.value} << 16 | port);
  }

 private:
  std::unordered_set<std::uint32_t> used_, whole_;
  std::unordered_set<std::uint64_t> ports_;
};

class Choice {
 public:
  explicit Choice(Model& model)
      : model_(model), groups_(model), draining_(draining_addresses(model)) {
    for (const StaticConfig& mapping : model.lsn.statics) {
      if (is_complete(mapping)) taken_.take(mapping);
      if (mapping.nat_ip) address_of_.try_emplace(mapping.subscriber(), *mapping.nat_ip);
    }
  }

  void complete_all() {
    std::vector<StaticConfig*> open;
    for (StaticConfig& mapping : model_.lsn.statics)
      if (!is_complete(mapping)) open.push_back(&mapping);
    std::sort(open.begin(), open.end(),
              [](const auto* a, const auto* b) { return a->name < b->name; });
    for (StaticConfig* mapping : open) {
      choose(*mapping);
      if (!is_complete(*mapping)) continue;
      taken_.take(*mapping);
      address_of_.try_emplace(mapping->subscriber(), *mapping->nat_ip);
    }
  }

 private:
  void choose(StaticConfig& mapping) {
    const bool is_whole = mapping.subscr_port.is_any;
    if (is_whole) mapping.nat_port = StaticPort{0, true};
    if (mapping.nat_ip) return choose_port(mapping, *mapping.nat_ip);
    const std::vector<wire::Ipv4Address>& all = addresses_for(mapping.subscriber());
    // A subscriber's mappings share an address, which may drain: it belongs to one worker.
    if (const auto known = address_of_.find(mapping.subscriber());
        !is_whole && known != address_of_.end() && !taken_.is_whole(known->second) &&
        std::binary_search(all.begin(), all.end(), known->second) &&
        take_address(mapping, known->second))
      return;
    // Those that drain keep their places, so that the choice of others stays what it was.
    const std::uint32_t start = mixed(mapping.subscr_ip.value, mapping.td);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const wire::Ipv4Address nat = all[(start + i) % all.size()];
      if (draining_.find(nat.value) != nullptr) continue;
      if (is_whole ? taken_.is_used(nat) : taken_.is_whole(nat)) continue;
      if (take_address(mapping, nat)) return;
    }
  }

  /// Gives the mapping that address if it has a port for it.
  bool take_address(StaticConfig& mapping, wire::Ipv4Address nat) {
    if (mapping.nat_port && !mapping.nat_port->is_any) {
      if (taken_.has(mapping.transportprotocol, nat, mapping.nat_port->number)) return false;
    } else {
      choose_port(mapping, nat);
    }
    if (mapping.nat_port) mapping.nat_ip = nat;
    return mapping.nat_port.has_value();
  }

  void choose_port(StaticConfig& mapping, wire::Ipv4Address nat) {
    if (mapping.nat_port) return;
    constexpr std::uint32_t kFirst = 1024, kPorts = 65536 - kFirst;
    const std::uint32_t start =
        mixed(mapping.subscr_ip.value, static_cast<std::uint32_t>(mapping.transportprotocol) << 16 |
                                           mapping.subscr_port.number);
    for (std::uint32_t i = 0; i < kPorts; ++i) {
      const std::uint32_t port = kFirst + (start % kPorts + i) % kPorts;
      if (taken_.has(mapping.transportprotocol, nat, port)) continue;
      mapping.nat_port = StaticPort{static_cast<std::uint16_t>(port), false};
      return;
    }
  }

  /// Of the pools of the subscriber's group, ascending.
  const std::vector<wire::Ipv4Address>& addresses_for(const shared::InsideAddress& subscriber) {
    static const std::vector<wire::Ipv4Address> kNone;
    const std::size_t* const group = groups_.find(subscriber);
    if (group == nullptr) return kNone;
    const auto [there, is_new] = addresses_.try_emplace(*group);
    if (!is_new) return there->second;
    const ByName pools(model_.lsn.pool);
    for (const std::string& name : model_.lsn.group[*group].poolname) {
      const PoolConfig* const pool = pools.find(name);
      if (pool == nullptr || pool->nattype != NatType::kDynamic) continue;
      for (const wire::Ipv4Range& range : nat_ranges(model_, *pool))
        for (std::uint64_t a = range.first.value; a <= range.last.value; ++a)
          there->second.emplace_back(static_cast<std::uint32_t>(a));
    }
    std::sort(there->second.begin(), there->second.end());
    return there->second;
  }

  Model& model_;
  GroupsBySubscriber groups_;
  shared::IntervalMap<bool> draining_;
  TakenEndpoints taken_;
  std::map<shared::InsideAddress, wire::Ipv4Address> address_of_;    ///< by subscriber
  std::map<std::size_t, std::vector<wire::Ipv4Address>> addresses_;  ///< by group
};

// ── the rules ───────────────────────────────────────────────────────────────────────────────────

std::string setting(std::size_t i, std::string_view name) {
  return fmt::format("lsn.static[{}].{}", i, name);
}

std::string label(const StaticConfig& mapping, std::string_view name) {
  return fmt::format("static {}: {}", mapping.name, name);
}

std::string endpoint_text(wire::Ipv4Address address, StaticPort port) {
  return fmt::format("{}:{}", wire::to_string(address), StaticPortSyntax::format(port));
}

bool is_sound(const Findings& findings, std::size_t i, std::string_view name) {
  return findings.empty() || findings.sound(setting(i, name));
}

/// Protocol and ports have to fit each other.
void check_ports(const StaticConfig& mapping, std::size_t i, Findings& findings) {
  if (!is_sound(findings, i, "subscrPort") || !is_sound(findings, i, "natPort") ||
      !is_sound(findings, i, "transportprotocol"))
    return;
  const auto report = [&](std::string_view name, StaticPort given, std::string_view allowed) {
    findings.report(setting(i, name), label(mapping, name), StaticPortSyntax::format(given),
                    allowed);
  };
  const bool has_zero = mapping.transportprotocol == StaticScope::kIcmp;
  if (mapping.transportprotocol == StaticScope::kAll && !mapping.subscr_port.is_any)
    report("subscrPort", mapping.subscr_port,
           "* with transportprotocol ALL; one port is of TCP, UDP or ICMP");
  else if (!mapping.subscr_port.is_any && mapping.subscr_port.number == 0 && !has_zero)
    report("subscrPort", mapping.subscr_port, "1-65535, or * for the whole address");
  if (!mapping.nat_port) return;
  if (mapping.nat_port->is_any != mapping.subscr_port.is_any)
    report("natPort", *mapping.nat_port,
           mapping.subscr_port.is_any ? "* as the subscriber's: all ports keep their numbers"
                                      : "a port, as the subscriber's is one");
  else if (!mapping.nat_port->is_any && mapping.nat_port->number == 0 && !has_zero)
    report("natPort", *mapping.nat_port, "1-65535, or * for the whole address");
}

/// The subscriber is a client's that is in a group, and the NAT address of a pool that its group
/// may share with it.
class AddressRules {
 public:
  AddressRules(const Model& model, Findings& findings)
      : model_(model),
        findings_(findings),
        groups_(model),
        pools_(pools_by_address(model)),
        users_(model.lsn.pool.size()) {
    std::map<std::string_view, std::size_t> number_of;
    for (std::size_t p = 0; p < model.lsn.pool.size(); ++p)
      number_of.emplace(model.lsn.pool[p].name, p);
    for (std::size_t g = 0; g < model.lsn.group.size(); ++g)
      for (const std::string& name : model.lsn.group[g].poolname)
        if (const auto pool = number_of.find(name); pool != number_of.end())
          users_[pool->second].push_back(g);
  }

  void check(const StaticConfig& mapping, std::size_t i) {
    check_destination(mapping, i);
    if (!is_sound(findings_, i, "subscrIP")) return;
    if (mapping.td != 0 && !has_inside(model_, mapping.td))
      return findings_.report(setting(i, "td"), label(mapping, "td"), fmt::format("{}", mapping.td),
                              "the td of an inside interface: " + domains_of_interfaces());
    const std::size_t* const group = groups_.find(mapping.subscriber());
    if (group == nullptr)
      findings_.report(
          setting(i, "subscrIP"), label(mapping, "subscrIP"),
          wire::to_string(mapping.subscr_ip) + td_text(mapping.td),
          "the address of a subscriber: in the network of a client that is in a group");
    if (group == nullptr) return;
    check_subscriber(mapping, i);
    check_scope(mapping, i, *group);
    if (!is_sound(findings_, i, "natIP")) return;
    if (!mapping.nat_ip || !mapping.nat_port) return report_unchosen(mapping, i, *group);
    check_pool(mapping, i, *group);
  }

 private:
  /// A packet to the box itself is never translated.
  void check_destination(const StaticConfig& mapping, std::size_t i) {
    if (!mapping.dest_ip || !is_sound(findings_, i, "destIP")) return;
    for (const InterfaceConfig& interface : model_.interfaces)
      if (interface.address.address == *mapping.dest_ip &&
          (interface.td == mapping.td || interface.role == shared::Side::kOutside))
        return findings_.report(
            setting(i, "destIP"), label(mapping, "destIP"), wire::to_string(*mapping.dest_ip),
            fmt::format("another host's address; this is that of interface {}", interface.name));
  }

  /// Of a link's addresses the box has one, and no host has the first and the last.
  void check_subscriber(const StaticConfig& mapping, std::size_t i) {
    const auto report = [&](std::string_view what) {
      findings_.report(setting(i, "subscrIP"), label(mapping, "subscrIP"),
                       wire::to_string(mapping.subscr_ip) + td_text(mapping.td),
                       fmt::format("the address of a subscriber; {}", what));
    };
    for (const InterfaceConfig& interface : model_.interfaces) {
      const wire::Ipv4Prefix& link = interface.address;
      if (interface.role != shared::Side::kInside || interface.td != mapping.td) continue;
      if (link.address == mapping.subscr_ip)
        return report(fmt::format("this is that of interface {}", interface.name));
      if (link.length < 31 &&
          (mapping.subscr_ip == link.first() || mapping.subscr_ip == link.last()))
        return report(fmt::format("no host can have this one of the network of interface {}",
                                  interface.name));
    }
  }

  /// What of a deterministic group's subscriber a mapping may translate.
  void check_scope(const StaticConfig& mapping, std::size_t i, std::size_t group) {
    if (!is_sound(findings_, i, "transportprotocol") || !is_deterministic(group) ||
        model_.dataplane.workers.size() < 2 || has_all_traffic(mapping))
      return;
    findings_.report(
        setting(i, "transportprotocol"), label(mapping, "transportprotocol"),
        fmt::format("{}{}", to_word(mapping.transportprotocol),
                    mapping.dest_ip ? " with destIP " + wire::to_string(*mapping.dest_ip) : ""),
        fmt::format("ALL{} for a subscriber of deterministic group {}: with several workers its "
                    "own NAT address may be another worker's",
                    mapping.dest_ip ? " without destIP" : "", model_.lsn.group[group].name));
  }

  [[nodiscard]] bool is_deterministic(std::size_t group) const {
    return model_.lsn.group[group].nattype == NatType::kDeterministic;
  }

  void report_unchosen(const StaticConfig& mapping, std::size_t i, std::size_t group) {
    const std::string& name = model_.lsn.group[group].name;
    if (!mapping.nat_ip && is_deterministic(group))
      return findings_.report(
          setting(i, "natIP"), label(mapping, "natIP"), "nothing",
          fmt::format("an address of a dynamic pool that no group has; for a subscriber of "
                      "deterministic group {} none is chosen, as all ports of its pools are "
                      "somebody's",
                      name));
    findings_.report(
        setting(i, "natIP"), label(mapping, "natIP"),
        mapping.nat_ip ? wire::to_string(*mapping.nat_ip) + " without natPort" : "nothing",
        fmt::format("a NAT endpoint that is free; {} has none left{}{}",
                    mapping.nat_ip ? "it" : "group " + name,
                    mapping.subscr_port.is_any ? ", an address without a static mapping" : "",
                    mapping.nat_ip || !drains(group) ? "" : ", and what drains is not chosen"));
  }

  [[nodiscard]] bool drains(std::size_t group) const {
    const ByName pools(model_.lsn.pool);
    const auto& names = model_.lsn.group[group].poolname;
    return std::any_of(names.begin(), names.end(), [&pools](const std::string& name) {
      const PoolConfig* const pool = pools.find(name);
      return pool != nullptr && !pool->drain.empty();
    });
  }

  [[nodiscard]] std::string domains_of_interfaces() const {
    std::set<shared::DomainId> all;
    for (const InterfaceConfig& interface : model_.interfaces)
      if (interface.role == shared::Side::kInside) all.insert(interface.td);
    return fmt::format("{}", fmt::join(all, ", "));
  }

  void check_pool(const StaticConfig& mapping, std::size_t i, std::size_t group) {
    const auto report = [&](std::string_view allowed) {
      findings_.report(setting(i, "natIP"), label(mapping, "natIP"),
                       wire::to_string(*mapping.nat_ip), allowed);
    };
    const std::size_t* const pool = pools_.find(mapping.nat_ip->value);
    if (pool == nullptr) return report("an address of a pool" + what_it_is(*mapping.nat_ip));
    const PoolConfig& of = model_.lsn.pool[*pool];
    if (of.nattype != NatType::kDynamic)
      return report(
          fmt::format("an address of a pool with nattype DYNAMIC; all ports of pool {} are "
                      "its subscribers'",
                      of.name));
    const std::vector<std::size_t>& users = users_[*pool];
    if (!users.empty() && std::find(users.begin(), users.end(), group) == users.end())
      report(
          fmt::format("an address of a pool of group {}, or of a pool that no group has; pool {} "
                      "is that of group {}",
                      model_.lsn.group[group].name, of.name, model_.lsn.group[users.front()].name));
  }

  /// Why an address is in no pool.
  [[nodiscard]] std::string what_it_is(wire::Ipv4Address address) const {
    for (const InterfaceConfig& interface : model_.interfaces)
      if (interface.address.address == address)
        return fmt::format("; this is that of interface {}", interface.name);
    for (const PoolConfig& pool : model_.lsn.pool)
      for (const wire::Ipv4Range& range : pool.lsnip)
        if (range.contains(address))
          return fmt::format("; no host can have this one of pool {}", pool.name);
    return "";
  }

  const Model& model_;
  Findings& findings_;
  GroupsBySubscriber groups_;
  shared::IntervalMap<std::size_t> pools_;
  std::vector<std::vector<std::size_t>> users_;  ///< groups by pool
};

/// A mapping as it is seen from one side: an address with its port, of one protocol.
struct Seen {
  std::uint64_t address;  ///< with its domain
  std::uint8_t protocol;  ///< of shared::Protocol; one more: all others
  bool is_port;           ///< false: the whole address, which comes first
  std::uint16_t port;
  std::uint32_t destination;  ///< 0: any
  std::uint32_t mapping;

  [[nodiscard]] auto order() const {
    return std::tuple(address, protocol, is_port, port, destination, mapping);
  }
  [[nodiscard]] bool is_of_same(const Seen& other) const {
    return address == other.address && protocol == other.protocol;
  }
  [[nodiscard]] bool shares_destination(const Seen& other) const {
    return destination == 0 || other.destination == 0 || destination == other.destination;
  }
};

/// Finds two mappings that one packet would fit, from one side. `collide(a, b)`: b is the later one
/// of the model.
class Collisions {
 public:
  enum class Side : std::uint8_t { kInside, kNat };

  Collisions(const Model& model, Side side) {
    constexpr std::uint8_t kOthers = shared::kPortProtocols;
    for (std::uint32_t i = 0; i < model.lsn.statics.size(); ++i) {
      const StaticConfig& m = model.lsn.statics[i];
      if (side == Side::kNat && !is_complete(m)) continue;
      const StaticPort port = side == Side::kInside ? m.subscr_port : *m.nat_port;
      const std::uint64_t address =
          side == Side::kInside ? m.subscriber().number() : m.nat_ip->value;
      for (std::uint8_t p = 0; p <= kOthers; ++p)
        if (m.transportprotocol == StaticScope::kAll ||
            p == static_cast<std::uint8_t>(m.transportprotocol))
          all_.push_back(
              {address, p, !port.is_any, port.number, m.dest_ip ? m.dest_ip->value : 0, i});
    }
    std::sort(all_.begin(), all_.end(),
              [](const Seen& a, const Seen& b) { return a.order() < b.order(); });
  }

  template <class Collide>
  void find(Collide&& collide) const {
    const auto both = [&](const Seen& a, const Seen& b) {
      if (a.mapping != b.mapping)
        collide(std::min(a.mapping, b.mapping), std::max(a.mapping, b.mapping));
    };
    for (std::size_t first = 0; first < all_.size();) {
      std::size_t end = first;
      while (end < all_.size() && all_[end].is_of_same(all_[first])) ++end;
      // A whole address is held against all others of it; there are few such, as a rule one.
      std::size_t ports = first;
      for (; ports < end && !all_[ports].is_port; ++ports)
        for (std::size_t other = ports + 1; other < end; ++other)
          if (all_[ports].shares_destination(all_[other])) both(all_[ports], all_[other]);
      // Of one port the mapping for any destination comes first, then equal destinations.
      for (std::size_t i = ports + 1, any = ports; i < end; ++i) {
        if (all_[i].port != all_[any].port) any = i;
        if (any == i) continue;
        if (all_[any].destination == 0)
          both(all_[any], all_[i]);
        else if (all_[i].destination == all_[i - 1].destination)
          both(all_[i - 1], all_[i]);
      }
      first = end;
    }
  }

 private:
  std::vector<Seen> all_;
};

/// Mappings of which nothing was reported: the others are not held against each other.
std::vector<bool> sound_mappings(const Model& model, const Findings& findings) {
  std::vector<bool> sound(model.lsn.statics.size(), true);
  if (!findings.empty())
    for (std::size_t i = 0; i < sound.size(); ++i)
      sound[i] = findings.sound(fmt::format("lsn.static[{}]", i));
  return sound;
}

void check_collisions(const Model& model, const std::vector<bool>& sound, Findings& findings) {
  const auto& all = model.lsn.statics;
  std::unordered_set<std::size_t> reported;
  const auto report = [&](std::size_t a, std::size_t b, std::string_view name,
                          const std::string& given) {
    if (reported.size() >= kMostProblems || !sound[a] || !sound[b]) return;
    if (!reported.insert(b).second) return;
    findings.report(
        setting(b, name), label(all[b], name), given,
        fmt::format("what no other static mapping has; static {} collides", all[a].name));
  };
  Collisions(model, Collisions::Side::kInside).find([&](std::size_t a, std::size_t b) {
    report(a, b, "subscrPort",
           endpoint_text(all[b].subscr_ip, all[b].subscr_port) + td_text(all[b].td));
  });
  Collisions(model, Collisions::Side::kNat).find([&](std::size_t a, std::size_t b) {
    report(a, b, "natPort", endpoint_text(*all[b].nat_ip, *all[b].nat_port));
  });
}

/// A NAT address belongs to one worker, and so does a subscriber.
void check_workers(const Model& model, const std::vector<bool>& sound, Findings& findings) {
  if (model.dataplane.workers.size() < 2) return;
  const auto& all = model.lsn.statics;
  std::vector<std::uint32_t> order(all.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return all[a].subscriber() < all[b].subscriber();
  });
  std::size_t reported = 0;
  for (std::size_t first = 0, i = 0; i < order.size(); ++i) {
    const StaticConfig& mapping = all[order[i]];
    if (mapping.subscriber() != all[order[first]].subscriber()) first = i;
    const StaticConfig& other = all[order[first]];
    if (!mapping.nat_ip || !other.nat_ip || mapping.nat_ip == other.nat_ip) continue;
    if (!sound[order[i]] || !sound[order[first]]) continue;
    if (++reported > kMostProblems) return;
    findings.report(
        setting(order[i], "natIP"), label(mapping, "natIP"), wire::to_string(*mapping.nat_ip),
        fmt::format(
            "{} as in static {}: with several workers all mappings of a subscriber have one "
            "NAT address, which is one worker's",
            wire::to_string(*other.nat_ip), other.name));
  }
}

void check_static_names(const Model& model, Findings& findings) {
  std::unordered_set<std::string_view> seen;
  seen.reserve(model.lsn.statics.size());
  for (std::size_t i = 0; i < model.lsn.statics.size(); ++i) {
    const std::string& name = model.lsn.statics[i].name;
    if (!name.empty() && !seen.insert(name).second)
      findings.report(setting(i, "name"), fmt::format("static {}: name", name), "it a second time",
                      "one static of a name");
  }
}

}  // namespace

void complete(Model& model) {
  const auto& all = model.lsn.statics;
  if (!std::all_of(all.begin(), all.end(), is_complete)) Choice(model).complete_all();
}

void check_statics(const Model& model, Findings& findings) {
  const auto& all = model.lsn.statics;
  if (all.empty()) return;
  check_static_names(model, findings);
  if (!findings.sound("lsn.client") || !findings.sound("lsn.pool") ||
      !findings.sound("lsn.group") || !findings.sound("interfaces"))
    return;  // whose the addresses are is not known
  AddressRules addresses(model, findings);
  for (std::size_t i = 0; i < all.size(); ++i) {
    check_ports(all[i], i, findings);
    addresses.check(all[i], i);
  }
  const std::vector<bool> sound = sound_mappings(model, findings);
  check_collisions(model, sound, findings);
  check_workers(model, sound, findings);
}

}  // namespace lsn::control
