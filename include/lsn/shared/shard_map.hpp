// Ownership: the shard that a NAT address belongs to, and the shard of a subscriber.
//
// Pure data built from the configuration, the same on all cores. A NAT address belongs to one shard
// for as long as it is configured: the addresses of a pool are dealt round-robin to the shards; a
// reload gives new ones to the shards with the fewest of that pool and moves none. A subscriber
// belongs to a shard that owns addresses of its group's pools: each of these shards has the share
// of subscribers that it has of the addresses, so that none is exhausted long before another
// (OwnerTable), and a change of the shares moves only as many subscribers as it must.
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

#include "lsn/shared/interval_map.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

using ShardId = std::uint8_t;
inline constexpr unsigned kMaxShards = 64;
inline constexpr ShardId kNoShard = 0xFF;
/// A bit per shard.
using ShardSet = std::uint64_t;

/// A NAT address' place: its pool, its owner, and a number among all NAT addresses of the
/// generation (0..count-1) by which per-generation arrays find it.
struct NatAddressPlace {
  std::uint16_t pool;  ///< stable pool id
  ShardId owner;
  std::uint32_t number;
};

/// A pool's ranges, as the configuration has them.
struct PoolRanges {
  std::uint16_t pool;  ///< stable id
  std::vector<wire::Ipv4Range> ranges;
};

class NatAddressMap {
 public:
  NatAddressMap() = default;

  /// Deals the addresses of disjoint pools to `shards` shards (1..kMaxShards), keeping the owners
  /// that `before` gave them. Each pool evenly; the remainder goes to the shards with the fewest in
  /// all.
  NatAddressMap(std::span<const PoolRanges> pools, unsigned shards,
                const NatAddressMap* before = nullptr) {
    std::uint32_t number = 0;
    std::vector<IntervalMap<NatAddressPlace>::Range> ranges;
    std::array<std::uint32_t, kMaxShards> in_all{};
    for (const PoolRanges& pool : pools) {
      std::array<std::uint32_t, kMaxShards> owned{};
      if (before != nullptr) {
        for (const wire::Ipv4Range& range : pool.ranges)
          for (std::uint64_t a = range.first.value; a <= range.last.value; ++a)
            if (const auto* old = before->find(wire::Ipv4Address{static_cast<std::uint32_t>(a)});
                old != nullptr && old->owner < shards)
              ++owned[old->owner];
      }
      for (const wire::Ipv4Range& range : pool.ranges) {
        for (std::uint64_t a = range.first.value; a <= range.last.value; ++a) {
          const wire::Ipv4Address address{static_cast<std::uint32_t>(a)};
          const auto* old = before == nullptr ? nullptr : before->find(address);
          ShardId owner = old != nullptr && old->owner < shards ? old->owner : kNoShard;
          if (owner == kNoShard) {
            owner = 0;
            for (unsigned shard = 1; shard < shards; ++shard)
              if (std::pair{owned[shard], in_all[shard]} < std::pair{owned[owner], in_all[owner]})
                owner = static_cast<ShardId>(shard);
            ++owned[owner];
          }
          ++in_all[owner];
          ranges.push_back({address.value, address.value, {pool.pool, owner, number++}});
        }
      }
    }
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

 private:
  std::vector<IntervalMap<NatAddressPlace>::Range> all_;
  /// Addresses without a gap between them, by the place of the first in all_: there are few such
  /// runs, however many addresses, and a new session looks up several.
  IntervalMap<std::uint32_t> runs_;
};

/// How many NAT addresses of a group's pools each shard owns.
using ShardShares = std::array<std::uint32_t, kMaxShards>;

/// A group's subscribers by shard: their addresses fall into classes, and a shard has as many
/// classes as it has of the group's NAT addresses.
///
/// The classes are those of multiplication by the golden ratio: any addresses at the same distance
/// from one another (a network's hosts, every fourth one) fall into classes that are spread evenly
/// over all. A shard's classes lie side by side, so that it has its share also of a few
/// subscribers, give or take a few; a random choice would miss it by the root of their number.
class OwnerTable {
 public:
  static constexpr unsigned kClasses = 4096;
  using Quotas = std::array<std::uint16_t, kMaxShards>;

  [[nodiscard]] static unsigned class_of(wire::Ipv4Address subscriber) {
    return subscriber.value * 0x9E3779B9u >> 20;
  }

  /// How many classes each shard has: its share, rounded so that all are given; none if no shard
  /// has an address.
  [[nodiscard]] static Quotas quotas_of(const ShardShares& shares) {
    std::uint64_t total = 0;
    for (const std::uint32_t share : shares) total += share;
    Quotas quotas{};
    if (total == 0) return quotas;
    std::array<std::uint64_t, kMaxShards> remainder{};
    unsigned given = 0;
    for (unsigned shard = 0; shard < kMaxShards; ++shard) {
      const std::uint64_t exact = std::uint64_t{shares[shard]} * kClasses;
      quotas[shard] = static_cast<std::uint16_t>(exact / total);
      remainder[shard] = exact % total;
      given += quotas[shard];
    }
    for (; given < kClasses; ++given) {
      const auto most = std::max_element(remainder.begin(), remainder.end());
      ++quotas[static_cast<std::size_t>(most - remainder.begin())];
      *most = 0;
    }
    return quotas;
  }

  /// `before`: the same group's predecessor. Of its classes only those move of which a shard has
  /// too many.
  OwnerTable(const Quotas& quotas, const OwnerTable* before) : quotas_(quotas) {
    owners_.fill(kNoShard);
    Quotas missing = quotas;
    if (before != nullptr)
      for (unsigned i = 0; i < kClasses; ++i)
        if (const ShardId owner = before->owners_[i]; owner != kNoShard && missing[owner] != 0) {
          owners_[i] = owner;
          --missing[owner];
        }
    unsigned next = 0;
    for (ShardId& owner : owners_) {
      if (owner != kNoShard) continue;
      while (next < kMaxShards && missing[next] == 0) ++next;
      if (next == kMaxShards) break;
      owner = static_cast<ShardId>(next);
      --missing[next];
    }
  }

  [[nodiscard]] ShardId owner_of(wire::Ipv4Address subscriber) const {
    return owners_[class_of(subscriber)];
  }
  /// Its shards' shares; a successor with the same ones would be the same table.
  [[nodiscard]] const Quotas& quotas() const { return quotas_; }
  friend bool operator==(const OwnerTable&, const OwnerTable&) = default;

 private:
  Quotas quotas_;
  std::array<ShardId, kClasses> owners_;
};

/// Client networks, and the shards on which each group has NAT addresses.
class ShardMap {
 public:
  ShardMap() = default;
  /// `groups`: client networks -> stable group id; `shares[id]`: where that group has addresses;
  /// `before`: the map that this one follows.
  ShardMap(IntervalMap<std::uint16_t> groups, const std::vector<ShardShares>& shares,
           const ShardMap* before = nullptr)
      : groups_(std::move(groups)) {
    // Groups of the same shares have one table.
    std::map<std::pair<const OwnerTable*, OwnerTable::Quotas>, std::shared_ptr<const OwnerTable>>
        made;
    for (std::size_t id = 0; id < shares.size(); ++id) {
      const OwnerTable::Quotas quotas = OwnerTable::quotas_of(shares[id]);
      const OwnerTable* old =
          before == nullptr || id >= before->tables_.size() ? nullptr : before->tables_[id].get();
      std::shared_ptr<const OwnerTable>& table = made[{old, quotas}];
      if (table == nullptr)
        table = old != nullptr && old->quotas() == quotas
                    ? before->tables_[id]
                    : std::make_shared<const OwnerTable>(quotas, old);
      tables_.push_back(table);
      ShardSet set = 0;
      for (unsigned shard = 0; shard < kMaxShards; ++shard)
        if (shares[id][shard] != 0) set |= ShardSet{1} << shard;
      shards_of_group_.push_back(set);
    }
  }

  /// The group of a source address, or nullptr: not of a configured client.
  [[nodiscard]] const std::uint16_t* group_of(wire::Ipv4Address source) const {
    return groups_.find(source.value);
  }
  [[nodiscard]] ShardSet shards_of(std::uint16_t group) const {
    return group < shards_of_group_.size() ? shards_of_group_[group] : 0;
  }
  /// kNoShard: no client's, or a group without addresses.
  [[nodiscard]] ShardId owner_of(wire::Ipv4Address subscriber) const {
    const std::uint16_t* group = group_of(subscriber);
    return group == nullptr ? kNoShard : owner_of(subscriber, *group);
  }
  /// The same if its group is known.
  [[nodiscard]] ShardId owner_of(wire::Ipv4Address subscriber, std::uint16_t group) const {
    return group < tables_.size() ? tables_[group]->owner_of(subscriber) : kNoShard;
  }

  friend bool same_owners(const ShardMap& a, const ShardMap& b) {
    const auto& x = a.groups_.ranges();
    const auto& y = b.groups_.ranges();
    return std::equal(a.tables_.begin(), a.tables_.end(), b.tables_.begin(), b.tables_.end(),
                      [](const auto& p, const auto& q) { return p == q || *p == *q; }) &&
           std::equal(x.begin(), x.end(), y.begin(), y.end(), [](const auto& p, const auto& q) {
             return p.first == q.first && p.last == q.last && p.value == q.value;
           });
  }

 private:
  IntervalMap<std::uint16_t> groups_;
  std::vector<ShardSet> shards_of_group_;
  std::vector<std::shared_ptr<const OwnerTable>> tables_;  ///< by group
};

/// The present map and the one before it, if that differs; [0] is the present one.
using ShardMaps = std::vector<std::shared_ptr<const ShardMap>>;

/// Which shards may have a subscriber that the present map gives to another one.
///
/// A set of shards for each of kBuckets buckets of addresses: a shard's bit is set as long as one
/// of its displaced subscribers falls into the bucket. The set may name a shard in vain, which
/// costs a packet one handoff; it never leaves one out. Memory is fixed, and not touched before a
/// subscriber is displaced. Each shard writes its own bits and counts; all read.
class DisplacedSubscribers {
 public:
  static constexpr unsigned kBucketBits = 18;
  static constexpr std::uint32_t kBuckets = 1u << kBucketBits;

  explicit DisplacedSubscribers(unsigned shards)
      : sets_(zeroed<ShardSet>(kBuckets)),
        counts_(zeroed<std::uint16_t>(std::size_t{kBuckets} * shards)) {}

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
  /// its count.
  static std::uint32_t bucket(wire::Ipv4Address address) {
    return address.value * 0x9E3779B1u >> (32 - kBucketBits);
  }
  static_assert(32 - kBucketBits < 16);

  Array<ShardSet> sets_;
  Array<std::uint16_t> counts_;  ///< by shard, then bucket
  alignas(64) std::atomic<std::uint64_t> displaced_{0};
  std::atomic<std::uint64_t> swept_{0};
};

}  // namespace lsn::shared
