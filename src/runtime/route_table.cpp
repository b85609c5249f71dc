#include "lsn/runtime/route_table.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace lsn::runtime {
namespace {

/// Of several for a prefix the one that comes first is in force.
bool goes_before(std::uint32_t metric, unsigned space, std::uint32_t other_metric,
                 unsigned other_space) {
  return std::pair(metric, space) < std::pair(other_metric, other_space);
}

}  // namespace

RouteTable::RouteTable(shared::Fib& fib, std::vector<Side> sides, rte_rcu_qsbr* quiescence)
    : fib_(fib), sides_(std::move(sides)), quiescence_(quiescence) {}

bool RouteTable::set_sides(std::vector<Side> sides) {
  if (sides == sides_) return false;
  sides_ = std::move(sides);
  return true;
}

RouteTable::Tree& RouteTable::tree_of(const Side& side) {
  const auto at = std::lower_bound(
      trees_.begin(), trees_.end(), side,
      [](const std::unique_ptr<Tree>& tree, const Side& wanted) { return tree->side < wanted; });
  if (at != trees_.end() && (*at)->side == side) return **at;
  auto tree = std::make_unique<Tree>();
  tree->side = side;
  tree->root = side ? fib_.tree_of(*side) : shared::Fib::kOutside;
  return **trees_.insert(at, std::move(tree));
}

void RouteTable::put(unsigned space, const wire::Ipv4Prefix& prefix, std::uint32_t metric,
                     std::uint8_t protocol, std::vector<shared::RouteHop> hops,
                     std::uint32_t round) {
  const Key key{prefix.first().value, static_cast<std::uint8_t>(prefix.length)};
  if (hops.size() > shared::RouteGroup::kMaxHops) hops.resize(shared::RouteGroup::kMaxHops);
  // Where it had ways that it has no more, they go.
  for (const auto& tree : trees_)
    if (std::none_of(hops.begin(), hops.end(), [&](const shared::RouteHop& hop) {
          return sides_[hop.interface] == tree->side;
        }))
      remove_from(*tree, space, key, metric);
  while (!hops.empty()) {
    const Side side = sides_[hops.front().interface];
    const auto others = std::stable_partition(
        hops.begin(), hops.end(),
        [&](const shared::RouteHop& hop) { return sides_[hop.interface] == side; });
    const GroupId group = obtain_group({hops.begin(), others});
    put_into(tree_of(side), space, key,
             {metric, round, group, static_cast<std::uint8_t>(space), protocol});
    hops.erase(hops.begin(), others);
  }
}

void RouteTable::put_into(Tree& tree, unsigned space, const Key& key, const Candidate& candidate) {
  const auto [at, is_new] = tree.places.try_emplace(key);
  Place& place = at->second;
  if (is_new) {
    ++size_;
    place.best = candidate;
    install(tree, key, place);
    return;
  }
  const auto is_it = [&](const Candidate& other) {
    return other.metric == candidate.metric && other.space == space;
  };
  const auto replace = [&](Candidate& former) {
    release_group(std::exchange(former, candidate).group);
  };
  if (is_it(place.best)) {
    replace(place.best);
  } else {
    if (place.others == nullptr) place.others = std::make_unique<std::vector<Candidate>>();
    const auto former = std::find_if(place.others->begin(), place.others->end(), is_it);
    if (former != place.others->end()) {
      replace(*former);
    } else {
      ++size_;
      place.others->push_back(candidate);
      if (goes_before(candidate.metric, space, place.best.metric, place.best.space))
        std::swap(place.best, place.others->back());
    }
  }
  install(tree, key, place);
}

void RouteTable::remove(unsigned space, const wire::Ipv4Prefix& prefix, std::uint32_t metric) {
  const Key key{prefix.first().value, static_cast<std::uint8_t>(prefix.length)};
  for (const auto& tree : trees_) remove_from(*tree, space, key, metric);
}

void RouteTable::remove_from(Tree& tree, unsigned space, const Key& key, std::uint32_t metric) {
  const auto at = tree.places.find(key);
  if (at == tree.places.end()) return;
  Place& place = at->second;
  const auto is_it = [&](const Candidate& other) {
    return other.metric == metric && other.space == space;
  };
  if (place.others != nullptr) {
    const auto gone = std::find_if(place.others->begin(), place.others->end(), is_it);
    if (gone != place.others->end()) {
      release_group(gone->group);
      place.others->erase(gone);
      --size_;
      return;
    }
  }
  if (!is_it(place.best)) return;
  --size_;
  const GroupId former = place.best.group;
  if (place.others == nullptr || place.others->empty()) {
    withdraw(tree, key, place);
    set_refused(place, false);
    tree.places.erase(at);
  } else {
    const auto next = std::min_element(place.others->begin(), place.others->end(),
                                       [](const Candidate& a, const Candidate& b) {
                                         return goes_before(a.metric, a.space, b.metric, b.space);
                                       });
    place.best = *next;
    place.others->erase(next);
    install(tree, key, place);
  }
  release_group(former);
}

bool RouteTable::retain(unsigned space, std::uint32_t round, Retaining& at, std::size_t budget) {
  for (; at.tree < trees_.size(); ++at.tree, at.after.reset()) {
    Tree& tree = *trees_[at.tree];
    std::vector<std::pair<Key, std::uint32_t>> gone;
    auto place = at.after ? tree.places.upper_bound({at.after->first, at.after->second})
                          : tree.places.begin();
    for (; place != tree.places.end() && budget != 0; ++place, --budget) {
      const auto look = [&](const Candidate& candidate) {
        if (candidate.space == space && candidate.round != round)
          gone.emplace_back(place->first, candidate.metric);
      };
      look(place->second.best);
      if (place->second.others != nullptr)
        std::for_each(place->second.others->begin(), place->second.others->end(), look);
      at.after = {place->first.first, place->first.length};
    }
    const bool is_done = place == tree.places.end();
    for (const auto& [key, metric] : gone) remove_from(tree, space, key, metric);
    if (!is_done) return false;
  }
  return true;
}

// ── the packet path ─────────────────────────────────────────────────────────────────────────────

/// Puts the route in force into the packet path.
void RouteTable::install(Tree& tree, const Key& key, Place& place) {
  const GroupId wanted = place.best.group;
  if (place.installed == wanted && wanted != state::kNone) return;
  const bool was_there = place.installed != state::kNone;
  const bool fits = wanted != state::kNone && tree.root != state::kNone &&
                    fib_.trie().set(tree.root, key.first, key.length, wanted);
  set_refused(place, !fits);
  if (!fits) {
    withdraw(tree, key, place);
    return;
  }
  if (!was_there) ++tree.installed[key.length];
  place.installed = wanted;
  changed_ = true;
}

void RouteTable::set_refused(Place& place, bool is_refused) {
  if (std::exchange(place.is_refused, is_refused) == is_refused) return;
  if (is_refused)
    ++refused_;
  else
    --refused_;
}

void RouteTable::withdraw(Tree& tree, const Key& key, Place& place) {
  if (place.installed == state::kNone) return;
  fib_.trie().remove(tree.root, key.first, key.length, covering(tree, key));
  place.installed = state::kNone;
  --tree.installed[key.length];
  changed_ = true;
}

/// The next shorter prefix in the packet path that covers a prefix.
state::PrefixTrie::Match RouteTable::covering(const Tree& tree, const Key& key) const {
  for (unsigned length = key.length; length-- != 0;) {
    if (tree.installed[length] == 0) continue;
    const wire::Ipv4Prefix shorter{wire::Ipv4Address{key.first}, static_cast<std::uint8_t>(length)};
    const auto at = tree.places.find({shorter.first().value, static_cast<std::uint8_t>(length)});
    if (at != tree.places.end() && at->second.installed != state::kNone)
      return {at->second.installed, length};
  }
  return {};
}

RouteTable::GroupId RouteTable::obtain_group(std::vector<shared::RouteHop> hops) {
  shared::RouteGroup ways;
  std::sort(hops.begin(), hops.end());
  ways.count = static_cast<std::uint32_t>(hops.size());
  std::copy(hops.begin(), hops.end(), ways.hops.begin());
  const auto [at, is_new] = groups_.try_emplace(ways, Group{state::kNone});
  Group& group = at->second;
  if (is_new) {
    if (!free_groups_.empty()) {
      group.id = free_groups_.back();
      free_groups_.pop_back();
    } else if (next_group_ < shared::Fib::kMaxGroups) {
      group.id = next_group_++;
    } else {
      groups_.erase(at);
      return state::kNone;
    }
    fib_.group(group.id) = ways;
  }
  ++group.users;
  return group.id;
}

void RouteTable::release_group(GroupId id) {
  if (id == state::kNone) return;
  const auto at = groups_.find(fib_.group(id));
  assert(at != groups_.end());
  if (--at->second.users != 0) return;
  groups_.erase(at);
  retired_groups_.push_back(id);
}

void RouteTable::commit() {
  if (std::exchange(changed_, false)) fib_.raise_version();
  std::vector<std::uint32_t> nodes = fib_.trie().take_retired();
  if (!nodes.empty() || !retired_groups_.empty())
    retired_.push_back({quiescence_ == nullptr ? 0 : rte_rcu_qsbr_start(quiescence_),
                        std::move(nodes), std::exchange(retired_groups_, {})});
  while (!retired_.empty() &&
         (quiescence_ == nullptr ||
          rte_rcu_qsbr_check(quiescence_, retired_.front().token, false) == 1)) {
    const Retired& over = retired_.front();
    fib_.trie().reuse(over.nodes);
    free_groups_.insert(free_groups_.end(), over.groups.begin(), over.groups.end());
    retired_.pop_front();
  }
}

// ── answers ─────────────────────────────────────────────────────────────────────────────────────

shared::RouteRow RouteTable::row(const Tree& tree, const Key& key, const Place& place,
                                 const Candidate& candidate) const {
  shared::RouteRow row;
  row.td = tree.side;
  row.prefix = {wire::Ipv4Address{key.first}, key.length};
  row.metric = candidate.metric;
  row.protocol = candidate.protocol;
  row.space = candidate.space;
  if (candidate.group != state::kNone) {
    const auto ways = fib_.group(candidate.group).all();
    row.hops.assign(ways.begin(), ways.end());
  }
  row.is_in_force = &candidate == &place.best && place.installed == candidate.group &&
                    place.installed != state::kNone;
  return row;
}

std::vector<shared::RouteRow> RouteTable::list(const std::optional<shared::RouteRow>& after,
                                               std::size_t limit) const {
  std::vector<shared::RouteRow> rows;
  for (const auto& tree : trees_) {
    if (after && tree->side < after->td) continue;
    auto at = tree->places.begin();
    if (after && tree->side == after->td)
      at = tree->places.upper_bound(
          {after->prefix.address.value, static_cast<std::uint8_t>(after->prefix.length)});
    for (; at != tree->places.end(); ++at) {
      if (rows.size() >= limit) return rows;
      const Place& place = at->second;
      rows.push_back(row(*tree, at->first, place, place.best));
      if (place.others == nullptr) continue;
      for (const Candidate& other : *place.others)
        rows.push_back(row(*tree, at->first, place, other));
    }
  }
  return rows;
}

std::optional<shared::RouteRow> RouteTable::find(shared::DomainId td,
                                                 wire::Ipv4Address address) const {
  std::optional<shared::RouteRow> best;
  for (const auto& tree : trees_) {
    if ((tree->side && *tree->side != td) || tree->root == state::kNone) continue;
    const auto match = fib_.trie().find(tree->root, address.value);
    if (match.value == state::kNone || (best && match.length <= best->prefix.length)) continue;
    const wire::Ipv4Prefix prefix{address, static_cast<std::uint8_t>(match.length)};
    const auto at =
        tree->places.find({prefix.first().value, static_cast<std::uint8_t>(match.length)});
    if (at != tree->places.end()) best = row(*tree, at->first, at->second, at->second.best);
  }
  return best;
}

}  // namespace lsn::runtime
