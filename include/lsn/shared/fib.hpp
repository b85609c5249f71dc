// Routes that come from the kernel, as the packet path looks them up while they change.
//
// One thread changes them (runtime/route_table.hpp), workers read them meanwhile. What a look-up
// gives is valid until its worker's next quiescent state: neither a group of ways nor a node of the
// trie is used for something else before every worker has passed one.
//
// Trees: one of the routes by outside interfaces, which every domain knows, and one for each domain
// that has routes inside.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "lsn/shared/domain.hpp"
#include "lsn/shared/route_group.hpp"
#include "lsn/state/memory.hpp"
#include "lsn/state/none.hpp"
#include "lsn/state/prefix_trie.hpp"

namespace lsn::shared {

class Fib {
 public:
  /// Of 1 KiB each: a million routes of the Internet take some 60,000.
  static constexpr std::uint32_t kMaxNodes = 1U << 18;
  static constexpr std::uint32_t kMaxGroups = 1U << 16;
  static constexpr std::uint32_t kOutside = 0;  ///< the tree of routes by outside interfaces

  explicit Fib(state::ZeroedMemory* memory, std::uint32_t max_nodes = kMaxNodes)
      : trie_(max_nodes, memory), groups_(kMaxGroups, memory) {
    (void)trie_.make_tree();
    for (auto& tree : inside_) tree.store(state::kNone, std::memory_order_relaxed);
  }
  Fib(const Fib&) = delete;
  Fib& operator=(const Fib&) = delete;

  // ── a worker ──────────────────────────────────────────────────────────────────────────────────

  struct Match {
    const RouteGroup* group = nullptr;  ///< nullptr: no route
    unsigned length = 0;                ///< of its prefix, in bits
  };
  /// What the longest prefix says that a domain knows.
  [[nodiscard]] Match find(DomainId td, wire::Ipv4Address address) const {
    state::PrefixTrie::Match best = trie_.find(kOutside, address.value);
    if (const std::uint32_t tree = inside(td); tree != state::kNone) {
      const state::PrefixTrie::Match other = trie_.find(tree, address.value);
      if (best.value == state::kNone || (other.value != state::kNone && other.length > best.length))
        best = other;
    }
    if (best.value == state::kNone) return {};
    return {&groups_[best.value], best.length};
  }
  /// Another one after each change: ways that were found before may be others now.
  [[nodiscard]] std::uint32_t version() const { return version_.load(std::memory_order_acquire); }

  // ── the writer ────────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] state::PrefixTrie& trie() { return trie_; }
  /// A group that no entry of the trie names yet.
  [[nodiscard]] RouteGroup& group(std::uint32_t id) { return groups_[id]; }
  [[nodiscard]] const RouteGroup& group(std::uint32_t id) const { return groups_[id]; }
  /// The tree of a domain's routes inside, made if it is new; state::kNone: there is no room.
  [[nodiscard]] std::uint32_t tree_of(DomainId td) {
    if (inside(td) == state::kNone) inside_[td].store(trie_.make_tree(), std::memory_order_release);
    return inside(td);
  }
  void raise_version() { version_.fetch_add(1, std::memory_order_release); }

 private:
  [[nodiscard]] std::uint32_t inside(DomainId td) const {
    return inside_[td].load(std::memory_order_acquire);
  }

  state::PrefixTrie trie_;
  state::ParallelArray<RouteGroup> groups_;
  std::array<std::atomic<std::uint32_t>, kLastDomain + 1> inside_{};  ///< trees, by domain
  std::atomic<std::uint32_t> version_{0};
};

}  // namespace lsn::shared
