// Ownership: the shard that a NAT address belongs to, and the shard of a subscriber.
//
// Pure data built from the configuration and the NICs' tables, the same on all cores. Addresses
// fall into classes by a hash that NICs compute, too (address_class.hpp), and classes belong to
// shards: the tables here are what redirection tables are programmed with, so that the NIC brings a
// packet to its owner.
//
// A NAT address belongs to one shard for as long as it is configured. OutsideTable deals the
// classes pool by pool, so that each shard has as many addresses of each as the others; a class
// stays where it is while an address of it is configured, and a reload moves no address.
//
// A subscriber belongs to a shard that owns addresses of its group's pools: each of these shards
// has the share of subscribers that it has of the addresses, so that none is exhausted long before
// another (OwnerTable). ShardMap::inside() has the shares of all groups together and is the NICs';
// a group's table follows it as far as its own shares allow. A change of the shares moves the
// classes that a shard has too many of; where NICs follow inside(), also those of other groups.
//
// A subscriber whose NAT address the configuration names is pinned (Pins): it belongs to the shard
// of that address, wherever the NIC brings its packets.
//
// Subscribers of one address in several traffic domains belong to the same shard if they are of
// one group, as the class does not depend on the domain (a NIC does not know it); pins, and groups
// with other shares, may tell them apart.
//
// If a reload gives a subscriber with live state to another shard, it is displaced: it stays with
// the shard that has its state until the state is gone. DisplacedSubscribers says which shards may
// have such a one, however many reloads ago it came there; while the shards still go through their
// subscribers after a reload, so does the map before. Packets are handed off to these shards first,
// to each one once; the shard that has the subscriber serves it, and if none has it the present
// owner does (lsn44::steer_outbound).
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "lsn/shared/address_class.hpp"
#include "lsn/shared/deterministic.hpp"
#include "lsn/shared/domain.hpp"
#include "lsn/shared/interval_map.hpp"
#include "lsn/shared/outside_table.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

/// A bit per shard.
using ShardSet = std::uint64_t;

/// A NAT address' place: its pool, its owner, and a number among all NAT addresses of the
/// generation (0..count-1) by which per-generation arrays find it.
struct NatAddressPlace {
  std::uint16_t pool;  ///< stable pool id
  ShardId owner;
  std::uint32_t number;
};

class NatAddressMap {
 public:
  NatAddressMap() = default;

  /// The addresses of disjoint pools for `shards` shards (1..kMaxShards), with the owners that
  /// `before` gave them.
  NatAddressMap(std::span<const PoolRanges> pools, unsigned shards,
                const NatAddressMap* before = nullptr,
                const AddressClasses& classes = kFinestClasses)
      : table_(pools, shards, classes, [before, shards](wire::Ipv4Address address) {
          return keeper_of(address, before, shards);
        }) {
    std::uint32_t number = 0;
    std::vector<IntervalMap<NatAddressPlace>::Range> ranges;
    for_each_address(pools, [&](std::uint16_t pool, wire::Ipv4Address address) {
      const ShardId keeper = keeper_of(address, before, shards);
      const ShardId owner = keeper != kNoShard ? keeper : table_.owner_of(address);
      ranges.push_back({address.value, address.value, {pool, owner, number++}});
    });
    all_ = IntervalMap<NatAddressPlace>(std::move(ranges)).ranges();
    std::vector<IntervalMap<std::uint32_t>::Range> runs;
    for (std::uint32_t i = 0; i < all_.size(); ++i) {
      if (i != 0 && all_[i].first == all_[i - 1].first + 1)
        runs.back().last = all_[i].first;
      else
        runs.push_back({all_[i].first, all_[i].first, i});
    }
    runs_ = IntervalMap<std::uint32_t>(std::move(runs));
  }

  /// nullptr: not a NAT address.
  [[nodiscard]] const NatAddressPlace* find(wire::Ipv4Address address) const {
    const auto* run = runs_.find_range(address.value);
    return run == nullptr ? nullptr : &all_[run->value + (address.value - run->first)].value;
  }
  [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(all_.size()); }

  /// All of them, ascending: one range per address.
  [[nodiscard]] const std::vector<IntervalMap<NatAddressPlace>::Range>& all() const { return all_; }
  /// The owners by class.
  [[nodiscard]] const OutsideTable& table() const { return table_; }

 private:
  /// The shard that has an address already and stays its owner, or kNoShard.
  [[nodiscard]] static ShardId keeper_of(wire::Ipv4Address address, const NatAddressMap* before,
                                         unsigned shards) {
    const NatAddressPlace* const old = before == nullptr ? nullptr : before->find(address);
    return old != nullptr && old->owner < shards ? old->owner : kNoShard;
  }

  OutsideTable table_;
  std::vector<IntervalMap<NatAddressPlace>::Range> all_;
  /// Addresses without a gap between them, by the place of the first in all_: there are few such
  /// runs, however many addresses, and a new session looks up several.
  IntervalMap<std::uint32_t> runs_;
};

/// How many NAT addresses of a group's pools each shard owns.
using ShardShares = std::array<std::uint32_t, kMaxShards>;

/// Subscribers by shard: their addresses fall into classes, and a shard has as many classes as it
/// has of the NAT addresses.
///
/// A shard's classes lie side by side: the lowest bits of an address decide about the highest of
/// its class, so that a shard has its share also of a few consecutive subscribers, give or take a
/// few; a random choice would miss it by the root of their number.
class OwnerTable {
 public:
  static constexpr unsigned kClasses = AddressClasses::kFinest;
  using Quotas = std::array<std::uint16_t, kMaxShards>;

  /// `count` dealt by shares, rounded so that all are given; none if no shard has a share.
  [[nodiscard]] static Quotas quotas_of(const ShardShares& shares, unsigned count = kClasses) {
    std::uint64_t total = 0;
    for (const std::uint32_t share : shares) total += share;
    Quotas quotas{};
    if (total == 0) return quotas;
    std::array<std::uint64_t, kMaxShards> remainder{};
    unsigned given = 0;
    for (unsigned shard = 0; shard < kMaxShards; ++shard) {
      const std::uint64_t exact = std::uint64_t{shares[shard]} * count;
      quotas[shard] = static_cast<std::uint16_t>(exact / total);
      remainder[shard] = exact % total;
      given += quotas[shard];
    }
    for (; given < count; ++given) {
      const auto most = std::max_element(remainder.begin(), remainder.end());
      ++quotas[static_cast<std::size_t>(most - remainder.begin())];
      *most = 0;
    }
    return quotas;
  }

  /// Of all subscribers, in whole classes of a NIC. `before`: the predecessor; of its classes only
  /// those move of which a shard has too many.
  OwnerTable(const ShardShares& shares, const AddressClasses& classes, const OwnerTable* before)
      : quotas_(quotas_of(shares, classes.count())), unit_(classes.unit()) {
    owners_.fill(kNoShard);
    Quotas missing = quotas_;
    if (before != nullptr && before->unit_ == unit_)
      take(missing, [before](unsigned at) { return before->owners_[at]; });
    fill(missing);
  }

  /// Of one group: where `inside` has them, as far as the group's quotas allow; a class of a NIC
  /// more is allowed if that is no more than an eighth.
  OwnerTable(const Quotas& quotas, const OwnerTable& inside, const OwnerTable* before)
      : quotas_(quotas) {
    owners_.fill(kNoShard);
    Quotas allowed{};
    for (unsigned shard = 0; shard < kMaxShards; ++shard)
      allowed[shard] = static_cast<std::uint16_t>(
          quotas[shard] + std::min<unsigned>(inside.unit_ - 1U, quotas[shard] / 8U));
    const auto same_as_before = [&](unsigned at) {
      const ShardId owner = inside.owners_[at];
      return before != nullptr && before->owners_[at] != owner ? kNoShard : owner;
    };
    take(allowed, same_as_before);
    if (before != nullptr) take(allowed, [&](unsigned at) { return inside.owners_[at]; });

    ShardShares lacking{};
    for (unsigned shard = 0; shard < kMaxShards; ++shard) lacking[shard] = quotas[shard];
    unsigned left = 0;
    for (const ShardId owner : owners_)
      if (owner == kNoShard)
        ++left;
      else if (lacking[owner] != 0)
        --lacking[owner];
    Quotas missing = quotas_of(lacking, left);
    if (before != nullptr) take(missing, [before](unsigned at) { return before->owners_[at]; });
    fill(missing);
  }

  /// By AddressClasses::finest_of().
  [[nodiscard]] ShardId owner_of(unsigned finest_class) const { return owners_[finest_class]; }
  /// Its shards' shares; a successor with the same ones would be the same table.
  [[nodiscard]] const Quotas& quotas() const { return quotas_; }
  friend bool operator==(const OwnerTable&, const OwnerTable&) = default;

 private:
  /// Gives classes that nobody has to the shard that `wanted` says, while it may have more.
  template <class Wanted>
  void take(Quotas& more, Wanted&& wanted) {
    for (unsigned at = 0; at < kClasses; at += unit_) {
      if (owners_[at] != kNoShard) continue;
      const ShardId shard = wanted(at);
      if (shard == kNoShard || more[shard] == 0) continue;
      --more[shard];
      std::fill_n(owners_.begin() + at, unit_, shard);
    }
  }
  /// The rest, side by side.
  void fill(Quotas& missing) {
    unsigned next = 0;
    take(missing, [&](unsigned) {
      while (next < kMaxShards && missing[next] == 0) ++next;
      return next == kMaxShards ? kNoShard : static_cast<ShardId>(next);
    });
  }

  Quotas quotas_;
  unsigned unit_ = 1;  ///< finest classes that stay together
  std::array<ShardId, kClasses> owners_;
};

/// Subscribers whose shard follows from the NAT address that the configuration gives them.
struct Pins {
  /// Of a deterministic group: the owners of its map's NAT addresses, by their number there.
  struct OfGroup {
    std::shared_ptr<const DeterministicMap> map;
    std::vector<ShardId> owners;

    [[nodiscard]] ShardId owner_of(const InsideAddress& subscriber) const {
      const auto number = map->nat_number_of(subscriber);
      return number ? owners[*number] : kNoShard;
    }
    friend bool operator==(const OfGroup& a, const OfGroup& b) {
      return a.owners == b.owners && (a.map == b.map || *a.map == *b.map);
    }
  };

  ByDomain<IntervalMap<ShardId>> subscribers;      ///< single ones, of any group
  std::map<std::uint16_t, OfGroup> deterministic;  ///< by stable group id

  [[nodiscard]] bool empty() const { return subscribers.all().empty() && deterministic.empty(); }
  /// kNoShard: the subscriber is not pinned.
  [[nodiscard]] ShardId owner_of(const InsideAddress& subscriber, std::uint16_t group) const {
    if (const ShardId* const owner = subscribers[subscriber.td].find(subscriber.address.value))
      return *owner;
    const auto of_group = deterministic.find(group);
    return of_group == deterministic.end() ? kNoShard : of_group->second.owner_of(subscriber);
  }
  friend bool operator==(const Pins& a, const Pins& b) {
    return a.subscribers == b.subscribers && a.deterministic == b.deterministic;
  }
};

/// Client networks by traffic domain -> stable group id.
using ClientNetworks = ByDomain<IntervalMap<std::uint16_t>>;

/// Client networks, and the shards on which each group has NAT addresses.
class ShardMap {
 public:
  ShardMap() = default;
  /// `groups`: client networks -> stable group id; `shares[id]`: where that group has addresses;
  /// `before`: the map that this one follows; `draining[id]`: shards that serve subscribers of the
  /// group who live there, and get no others.
  ShardMap(ClientNetworks groups, const std::vector<ShardShares>& shares,
           const ShardMap* before = nullptr, const AddressClasses& classes = kFinestClasses,
           Pins pins = {}, const std::vector<ShardSet>& draining = {})
      : groups_(std::move(groups)), classes_(classes), pins_(std::move(pins)) {
    ShardShares all{};
    for (const ShardShares& group : shares)
      for (unsigned shard = 0; shard < kMaxShards; ++shard) all[shard] += group[shard];
    const OwnerTable* const old_inside = before == nullptr ? nullptr : before->inside_.get();
    inside_ = std::make_shared<const OwnerTable>(all, classes, old_inside);
    const bool same_inside = old_inside != nullptr && *old_inside == *inside_;
    // Groups of the same shares have one table.
    std::map<std::pair<const OwnerTable*, OwnerTable::Quotas>, std::shared_ptr<const OwnerTable>>
        made;
    for (std::size_t id = 0; id < shares.size(); ++id) {
      const OwnerTable::Quotas quotas = OwnerTable::quotas_of(shares[id]);
      const OwnerTable* old =
          before == nullptr || id >= before->tables_.size() ? nullptr : before->tables_[id].get();
      std::shared_ptr<const OwnerTable>& table = made[{old, quotas}];
      if (table == nullptr)
        // Without NICs to follow, a group whose shares stay moves nobody.
        table = (same_inside || classes.unit() == 1) && old != nullptr && old->quotas() == quotas
                    ? before->tables_[id]
                    : std::make_shared<const OwnerTable>(quotas, *inside_, old);
      tables_.push_back(table);
      ShardSet set = id < draining.size() ? draining[id] : 0;
      for (unsigned shard = 0; shard < kMaxShards; ++shard)
        if (shares[id][shard] != 0) set |= ShardSet{1} << shard;
      shards_of_group_.push_back(set);
    }
  }

  /// The group of a source address, or nullptr: not of a configured client.
  [[nodiscard]] const std::uint16_t* group_of(const InsideAddress& source) const {
    return groups_[source.td].find(source.address.value);
  }
  [[nodiscard]] ShardSet shards_of(std::uint16_t group) const {
    return group < shards_of_group_.size() ? shards_of_group_[group] : 0;
  }
  /// kNoShard: no client's, or a group without addresses.
  [[nodiscard]] ShardId owner_of(const InsideAddress& subscriber) const {
    const std::uint16_t* group = group_of(subscriber);
    return group == nullptr ? kNoShard : owner_of(subscriber, *group);
  }
  /// The same if its group is known.
  [[nodiscard]] ShardId owner_of(const InsideAddress& subscriber, std::uint16_t group) const {
    if (!pins_.empty()) [[unlikely]]
      if (const ShardId owner = pins_.owner_of(subscriber, group); owner != kNoShard) return owner;
    return group < tables_.size() ? tables_[group]->owner_of(classes_.finest_of(subscriber.address))
                                  : kNoShard;
  }
  /// Whether only one shard can serve it, as that one has the subscriber's NAT address.
  [[nodiscard]] bool is_pinned(const InsideAddress& subscriber, std::uint16_t group) const {
    return !pins_.empty() && pins_.owner_of(subscriber, group) != kNoShard;
  }
  [[nodiscard]] const AddressClasses& classes() const { return classes_; }
  /// All groups together, in whole classes: what NICs are programmed with; nullptr: there is no
  /// map.
  [[nodiscard]] const OwnerTable* inside() const { return inside_.get(); }

  friend bool same_owners(const ShardMap& a, const ShardMap& b) {
    return a.pins_ == b.pins_ && a.groups_ == b.groups_ &&
           std::equal(a.tables_.begin(), a.tables_.end(), b.tables_.begin(), b.tables_.end(),
                      [](const auto& p, const auto& q) { return p == q || *p == *q; });
  }

 private:
  ClientNetworks groups_;
  AddressClasses classes_;
  Pins pins_;
  std::vector<ShardSet> shards_of_group_;
  std::shared_ptr<const OwnerTable> inside_;
  std::vector<std::shared_ptr<const OwnerTable>> tables_;  ///< by group
};

/// The present map and the one before it, if that differs; [0] is the present one.
using ShardMaps = std::vector<std::shared_ptr<const ShardMap>>;

/// Which shards may have a subscriber that the present map gives to another one.
///
/// A set of shards for each of kBuckets buckets of addresses: a shard's bit is set as long as one
/// of its displaced subscribers falls into the bucket, of whatever domain. The set may name a shard
/// in vain, which costs a packet one handoff; it never leaves one out. Memory is fixed, and not
/// touched before a subscriber is displaced. Each shard writes its own bits and counts; all read.
class DisplacedSubscribers {
 public:
  static constexpr unsigned kBucketBits = 18;
  static constexpr std::uint32_t kBuckets = 1u << kBucketBits;

  explicit DisplacedSubscribers(unsigned shards)
      : sets_(zeroed<ShardSet>(kBuckets)),
        counts_(zeroed<std::uint32_t>(std::size_t{kBuckets} * shards)) {}

  [[nodiscard]] ShardSet shards_of(wire::Ipv4Address subscriber) const {
    if (displaced_.load(std::memory_order_relaxed) == 0) return 0;
    return std::atomic_ref{sets_[bucket(subscriber)]}.load(std::memory_order_relaxed);
  }

  /// On the shard's own thread, once for each displaced subscriber that it has.
  void add(wire::Ipv4Address subscriber, ShardId shard) {
    const std::uint32_t at = bucket(subscriber);
    if (counts_[std::size_t{shard} * kBuckets + at]++ == 0)
      std::atomic_ref{sets_[at]}.fetch_or(ShardSet{1} << shard, std::memory_order_relaxed);
    displaced_.fetch_add(1, std::memory_order_relaxed);
  }
  void remove(wire::Ipv4Address subscriber, ShardId shard) {
    const std::uint32_t at = bucket(subscriber);
    if (--counts_[std::size_t{shard} * kBuckets + at] == 0)
      std::atomic_ref{sets_[at]}.fetch_and(~(ShardSet{1} << shard), std::memory_order_relaxed);
    displaced_.fetch_sub(1, std::memory_order_relaxed);
  }

  /// Every shard has gone through its subscribers since it adopted that generation: from now on all
  /// displaced ones are known here, and the map before need not be looked at.
  void note_sweep_end(std::uint64_t generation) {
    swept_.store(generation, std::memory_order_release);
  }
  [[nodiscard]] bool are_all_known(std::uint64_t generation) const {
    return swept_.load(std::memory_order_acquire) >= generation;
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  template <class T>
  using Array = std::unique_ptr<T[], Free>;
  /// Pages that were never written take no memory.
  template <class T>
  static Array<T> zeroed(std::size_t count) {
    auto* memory = static_cast<T*>(std::calloc(count, sizeof(T)));
    if (memory == nullptr) throw std::bad_alloc();
    return Array<T>(memory);
  }

  /// One to one in all 32 bits: of all addresses the same number falls into each bucket, and fits
  /// its count in all domains together.
  static std::uint32_t bucket(wire::Ipv4Address address) {
    return address.value * 0x9E3779B1u >> (32 - kBucketBits);
  }
  static_assert(32 - kBucketBits + 12 < 32);

  Array<ShardSet> sets_;
  Array<std::uint32_t> counts_;  ///< by shard, then bucket
  alignas(64) std::atomic<std::uint64_t> displaced_{0};
  std::atomic<std::uint64_t> swept_{0};
};

}  // namespace lsn::shared
