// Longest prefix match over IPv4 addresses, while prefixes come and go: one thread changes it,
// any number look up meanwhile.
//
// A trie of nodes with 256 entries, one for each value of a byte of the address: a look-up takes at
// most four steps. An entry is empty, or leads to a node, or is a leaf: a value and the length of
// the prefix that has it. A prefix that ends within a byte fills a range of entries; where prefixes
// lie inside one another, the longest one's leaves stand. Each entry is written at once, and a node
// is filled before an entry leads to it: a look-up finds what was or what is. A node that is not
// needed any more may still be looked at: it is kept until the caller says that nobody can be in it
// (take_retired(), reuse()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "lsn/state/memory.hpp"
#include "lsn/state/none.hpp"

namespace lsn::state {

class PrefixTrie {
 public:
  /// Values are less than this.
  static constexpr std::uint32_t kValues = (1U << 24) - 1;
  /// Nodes that a prefix may need, beside the root.
  static constexpr std::uint32_t kNodesOfPrefix = 3;

  struct Match {
    std::uint32_t value = kNone;  ///< kNone: no prefix covers the address
    unsigned length = 0;          ///< of the prefix, in bits

    friend bool operator==(const Match&, const Match&) = default;
  };

  /// Room for so many nodes, roots among them; what is not used takes no memory.
  PrefixTrie(std::uint32_t max_nodes, ZeroedMemory* memory)
      : entries_(std::size_t{max_nodes} * kFan, memory), max_nodes_(max_nodes) {}

  /// Any thread: what the longest prefix of that tree says that covers the address.
  [[nodiscard]] Match find(std::uint32_t root, std::uint32_t address) const {
    std::uint32_t node = root;
    for (unsigned shift = 24;; shift -= 8) {
      const std::uint32_t entry = load(node, address >> shift & 0xFF);
      if ((entry & kChild) == 0) return match_of(entry);
      node = entry & ~kChild;
    }
  }

  // ── the writer ────────────────────────────────────────────────────────────────────────────────

  /// A tree without prefixes, or kNone if there is no room.
  [[nodiscard]] std::uint32_t make_tree();
  /// Gives a prefix a value, be it new or not. `prefix`: the bits beyond `length` (0-32) are zero.
  /// False: there is no room, and nothing has changed.
  [[nodiscard]] bool set(std::uint32_t root, std::uint32_t prefix, unsigned length,
                         std::uint32_t value);
  /// Removes a prefix that the tree has. `covering`: the next shorter one that covers it, if any.
  void remove(std::uint32_t root, std::uint32_t prefix, unsigned length, Match covering);

  /// Nodes that no entry leads to any more, since the last call. When no look-up can be in them,
  /// they may be used again.
  [[nodiscard]] std::vector<std::uint32_t> take_retired() { return std::exchange(retired_, {}); }
  void reuse(std::span<const std::uint32_t> nodes);

  /// Nodes in use, those that are retired among them.
  [[nodiscard]] std::uint32_t nodes() const {
    return used_ - static_cast<std::uint32_t>(free_.size());
  }

 private:
  static constexpr std::uint32_t kFan = 256;
  static constexpr std::uint32_t kEmpty = 0;
  static constexpr std::uint32_t kChild = 1U << 31;
  static constexpr unsigned kLengthShift = 24;

  [[nodiscard]] static constexpr std::uint32_t leaf_of(Match match) {
    return match.value == kNone ? kEmpty : match.length << kLengthShift | (match.value + 1);
  }
  [[nodiscard]] static constexpr Match match_of(std::uint32_t leaf) {
    if (leaf == kEmpty) return {};
    return {(leaf & kValues) - 1, leaf >> kLengthShift};
  }
  [[nodiscard]] std::uint32_t load(std::uint32_t node, std::uint32_t place) const {
    return __atomic_load_n(&entries_[std::size_t{node} * kFan + place], __ATOMIC_ACQUIRE);
  }
  void store(std::uint32_t node, std::uint32_t place, std::uint32_t entry) {
    __atomic_store_n(&entries_[std::size_t{node} * kFan + place], entry, __ATOMIC_RELEASE);
  }

  /// A prefix on its way down.
  struct Change {
    std::uint32_t prefix;
    unsigned length;
    std::uint32_t leaf;  ///< that its entries get
    bool removes;        ///< in place of its own leaves alone
  };
  [[nodiscard]] std::uint32_t make_node(std::uint32_t filled_with);
  void apply(std::uint32_t node, unsigned shift, const Change& change);
  void apply_to_entry(std::uint32_t node, std::uint32_t place, const Change& change);
  void fold(std::uint32_t node, std::uint32_t place, unsigned shift);

  ParallelArray<std::uint32_t> entries_;  ///< [node][byte]
  std::uint32_t max_nodes_;
  std::uint32_t used_ = 0;  ///< nodes below it have been used
  std::vector<std::uint32_t> free_, retired_;
};

}  // namespace lsn::state
