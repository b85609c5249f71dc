// The shards of NAT addresses, by class: what the redirection tables of outside devices are
// programmed with.
//
// Pool by pool, the classes of its addresses go to the shards with the fewest of that pool: small
// pools first, since their classes are few; in a pool the classes with most addresses first. Where
// pools share classes, what suited one may be wrong for another: classes that nobody has to keep
// are moved, a few times, as long as that makes it more even.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "lsn/shared/address_class.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

using ShardId = std::uint8_t;
inline constexpr unsigned kMaxShards = 64;
inline constexpr ShardId kNoShard = 0xFF;

/// A pool's ranges, as the configuration has them.
struct PoolRanges {
  std::uint16_t pool;  ///< stable id
  std::vector<wire::Ipv4Range> ranges;
};

/// Calls `each(pool, address)` for all addresses, in the order of pools and ranges.
template <class Each>
void for_each_address(std::span<const PoolRanges> pools, Each&& each) {
  for (const PoolRanges& pool : pools)
    for (const wire::Ipv4Range& range : pool.ranges)
      for (std::uint64_t a = range.first.value; a <= range.last.value; ++a)
        each(pool.pool, wire::Ipv4Address{static_cast<std::uint32_t>(a)});
}

class OutsideTable {
 public:
  OutsideTable() = default;

  /// For `shards` shards. `kept(address)`: the shard that has the address and stays its owner, or
  /// kNoShard; its class stays, too.
  template <class Kept>
  OutsideTable(std::span<const PoolRanges> pools, unsigned shards, const AddressClasses& classes,
               Kept&& kept)
      : classes_(classes), owners_(classes.count(), kNoShard) {
    if (shards == 1) {
      std::fill(owners_.begin(), owners_.end(), ShardId{0});
      return;
    }
    Deal deal(*this, shards);
    for (std::size_t i = 0; i < pools.size(); ++i)
      for_each_address(pools.subspan(i, 1), [&](std::uint16_t, wire::Ipv4Address address) {
        deal.add(i, classes_.of(address), kept(address));
      });
    deal.run();
  }

  [[nodiscard]] ShardId owner_of(wire::Ipv4Address address) const {
    return owners_[classes_.of(address)];
  }
  /// By class; a class without an address belongs to some shard.
  [[nodiscard]] const std::vector<ShardId>& owners() const { return owners_; }
  [[nodiscard]] const AddressClasses& classes() const { return classes_; }

 private:
  /// A pool's addresses that are in one class.
  struct Part {
    std::uint32_t pool;
    std::uint32_t addresses;
  };

  class Deal {
   public:
    Deal(OutsideTable& table, unsigned shards)
        : owners_(table.owners_), shards_(shards), parts_(owners_.size()), kept_(owners_.size()) {}

    /// Pools in ascending order.
    void add(std::size_t pool, unsigned of_class, ShardId keeper) {
      if (pool >= of_pool_.size()) of_pool_.resize(pool + 1);
      auto& parts = parts_[of_class];
      if (parts.empty() || parts.back().pool != pool) {
        parts.push_back({static_cast<std::uint32_t>(pool), 0});
        of_pool_[pool].places.emplace_back(of_class, parts.size() - 1);
      }
      ++parts.back().addresses;
      ++of_pool_[pool].addresses;
      if (keeper == kNoShard || kept_[of_class]) return;
      owners_[of_class] = keeper;
      kept_[of_class] = true;
    }

    void run() {
      for (unsigned c = 0; c < owners_.size(); ++c)
        if (kept_[c]) count(c, owners_[c], 1);
      std::vector<std::size_t> order(of_pool_.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
        return of_pool_[a].addresses < of_pool_[b].addresses;
      });
      for (const std::size_t pool : order) deal(pool);
      constexpr unsigned kRounds = 4;
      for (unsigned round = 0; of_pool_.size() > 1 && round < kRounds; ++round)
        if (!improve()) break;
      for (unsigned c = 0; c < owners_.size(); ++c)
        if (owners_[c] == kNoShard) owners_[c] = static_cast<ShardId>(c % shards_);
    }

   private:
    struct OfPool {
      std::vector<std::pair<unsigned, std::size_t>> places;  ///< class, and part of the class
      std::uint32_t addresses = 0;
      std::array<std::uint32_t, kMaxShards> owned{};
    };

    /// Adds (1) or takes away (-1) a class' addresses.
    void count(unsigned of_class, ShardId shard, int sign) {
      for (const Part& part : parts_[of_class]) {
        const auto n = static_cast<std::uint32_t>(sign * static_cast<int>(part.addresses));
        of_pool_[part.pool].owned[shard] += n;
        in_all_[shard] += n;
      }
    }

    void deal(std::size_t pool) {
      OfPool& of = of_pool_[pool];
      std::vector<std::pair<std::uint32_t, unsigned>> wanted;
      for (const auto& [c, part] : of.places)
        if (owners_[c] == kNoShard) wanted.emplace_back(parts_[c][part].addresses, c);
      std::stable_sort(wanted.begin(), wanted.end(),
                       [](const auto& a, const auto& b) { return a.first > b.first; });
      for (const auto& [addresses, c] : wanted) {
        unsigned best = 0;
        for (unsigned shard = 1; shard < shards_; ++shard)
          if (std::tuple(of.owned[shard], in_all_[shard]) <
              std::tuple(of.owned[best], in_all_[best]))
            best = shard;
        owners_[c] = static_cast<ShardId>(best);
        count(c, owners_[c], 1);
      }
    }

    /// Moves each class that may be moved to the shard where it makes the pools most even. Whether
    /// one was moved.
    bool improve() {
      bool moved = false;
      for (unsigned c = 0; c < owners_.size(); ++c) {
        if (kept_[c] || parts_[c].empty()) continue;
        const ShardId from = owners_[c];
        ShardId best = from;
        double least = -1e-9;  // less than that is rounding
        for (unsigned to = 0; to < shards_; ++to) {
          if (to == from) continue;
          const double change = change_by(c, from, to);
          if (change >= least) continue;
          least = change;
          best = static_cast<ShardId>(to);
        }
        if (best == from) continue;
        count(c, from, -1);
        count(c, best, 1);
        owners_[c] = best;
        moved = true;
      }
      return moved;
    }

    /// Of the sum over the pools of squared numbers of addresses, by the pool's size.
    [[nodiscard]] double change_by(unsigned of_class, unsigned from, unsigned to) const {
      double change = 0;
      for (const Part& part : parts_[of_class]) {
        const OfPool& of = of_pool_[part.pool];
        const double n = part.addresses;
        const double here = of.owned[from], there = of.owned[to];
        change += 2 * n * (there - here + n) / of.addresses;
      }
      return change;
    }

    std::vector<ShardId>& owners_;
    const unsigned shards_;
    std::vector<std::vector<Part>> parts_;  ///< by class
    std::vector<bool> kept_;                ///< by class
    std::vector<OfPool> of_pool_;
    std::array<std::uint32_t, kMaxShards> in_all_{};
  };

  AddressClasses classes_;
  std::vector<ShardId> owners_;
};

}  // namespace lsn::shared
