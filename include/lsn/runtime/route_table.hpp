// The kernel's routes as a list, and what of it is in the packet path (shared/fib.hpp).
//
// A route is known by the routing table that it comes from (a network namespace's), its prefix and
// its metric. Of several for a prefix the one with the least metric is in force; its ways by
// outside interfaces are what every domain knows, those by inside interfaces are each domain's own.
// Routes with the same ways share a group of them.
//
// One thread at a time; what it takes out of the packet path is used again when every worker has
// passed a quiescent state since (a token of rte_rcu_qsbr).
#pragma once

#include <rte_rcu_qsbr.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "lsn/shared/fib.hpp"
#include "lsn/shared/route_row.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::runtime {

class RouteTable {
 public:
  /// Of an interface: nothing for one outside, else its domain.
  using Side = std::optional<shared::DomainId>;

  /// `sides`: by interface. `quiescence`: null where no worker runs. Both outlive it.
  RouteTable(shared::Fib& fib, std::vector<Side> sides, rte_rcu_qsbr* quiescence);

  /// The interfaces' sides are others: routes follow as they are put the next time. Whether they
  /// are.
  [[nodiscard]] bool set_sides(std::vector<Side> sides);

  /// A route of a table, new or in place of the former of its prefix and metric. Of its ways, in
  /// any order, the first RouteGroup::kMaxHops count; without any it is removed. `round`: retain().
  void put(unsigned space, const wire::Ipv4Prefix& prefix, std::uint32_t metric,
           std::uint8_t protocol, std::vector<shared::RouteHop> hops, std::uint32_t round);
  void remove(unsigned space, const wire::Ipv4Prefix& prefix, std::uint32_t metric);
  /// Where retain() goes on.
  struct Retaining {
    std::size_t tree = 0;
    std::optional<std::pair<std::uint32_t, std::uint8_t>> after;  ///< prefix and length
  };
  /// Removes those of a table that have not been put in that round, of at most `budget` prefixes;
  /// whether that were all.
  [[nodiscard]] bool retain(unsigned space, std::uint32_t round, Retaining& at, std::size_t budget);

  /// Lets workers know of what has changed since, if anything has, and takes back what none of them
  /// can hold any more. To be called after every few changes, and now and then.
  void commit();

  /// Whether something waits for workers, which commit() would take back.
  [[nodiscard]] bool waits_for_workers() const { return !retired_.empty(); }

  /// Routes, in force or not.
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Of them, those in force for which the packet path has no room.
  [[nodiscard]] std::size_t refused() const { return refused_; }
  /// Different sets of ways in use.
  [[nodiscard]] std::size_t groups() const { return groups_.size(); }

  /// At most `limit` routes in the order of domain, prefix and metric, those after `after`.
  [[nodiscard]] std::vector<shared::RouteRow> list(const std::optional<shared::RouteRow>& after,
                                                   std::size_t limit) const;
  /// The route in force that an address takes by the kernel's routes, as a domain knows them.
  [[nodiscard]] std::optional<shared::RouteRow> find(shared::DomainId td,
                                                     wire::Ipv4Address address) const;

 private:
  using GroupId = std::uint32_t;
  struct Key {
    std::uint32_t first;
    std::uint8_t length;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Candidate {
    std::uint32_t metric;
    std::uint32_t round;
    GroupId group;
    std::uint8_t space;
    std::uint8_t protocol;
  };
  /// The routes for a prefix, the one in force first.
  struct Place {
    Candidate best{};
    std::unique_ptr<std::vector<Candidate>> others;
    GroupId installed = state::kNone;
    bool is_refused = false;
  };
  /// The routes of a tree of the packet path.
  struct Tree {
    Side side;
    std::uint32_t root;
    std::map<Key, Place> places;
    std::array<std::uint32_t, 33> installed{};  ///< by length
  };
  struct Group {
    GroupId id;
    std::uint32_t users = 0;
  };
  /// What waits for a token.
  struct Retired {
    std::uint64_t token;
    std::vector<std::uint32_t> nodes;
    std::vector<GroupId> groups;
  };

  [[nodiscard]] Tree& tree_of(const Side& side);
  void put_into(Tree& tree, unsigned space, const Key& key, const Candidate& candidate);
  void remove_from(Tree& tree, unsigned space, const Key& key, std::uint32_t metric);
  void install(Tree& tree, const Key& key, Place& place);
  void withdraw(Tree& tree, const Key& key, Place& place);
  void set_refused(Place& place, bool is_refused);
  [[nodiscard]] state::PrefixTrie::Match covering(const Tree& tree, const Key& key) const;
  [[nodiscard]] GroupId obtain_group(std::vector<shared::RouteHop> hops);
  void release_group(GroupId id);
  [[nodiscard]] shared::RouteRow row(const Tree& tree, const Key& key, const Place& place,
                                     const Candidate& candidate) const;

  shared::Fib& fib_;
  std::vector<Side> sides_;
  rte_rcu_qsbr* const quiescence_;
  std::vector<std::unique_ptr<Tree>> trees_;  ///< in the order of their domains, outside first
  std::map<shared::RouteGroup, Group> groups_;
  std::vector<GroupId> free_groups_, retired_groups_;
  GroupId next_group_ = 0;
  std::deque<Retired> retired_;
  std::size_t size_ = 0, refused_ = 0;
  bool changed_ = false;
};

}  // namespace lsn::runtime
