#include "lsn/state/prefix_trie.hpp"

#include <algorithm>

namespace lsn::state {

std::uint32_t PrefixTrie::make_node(std::uint32_t filled_with) {
  std::uint32_t node = kNone;
  if (!free_.empty()) {
    node = free_.back();
    free_.pop_back();
  } else if (used_ < max_nodes_) {
    node = used_++;
  } else {
    return kNone;
  }
  for (std::uint32_t place = 0; place < kFan; ++place) store(node, place, filled_with);
  return node;
}

std::uint32_t PrefixTrie::make_tree() {
  return make_node(kEmpty);
}

void PrefixTrie::reuse(std::span<const std::uint32_t> nodes) {
  free_.insert(free_.end(), nodes.begin(), nodes.end());
}

bool PrefixTrie::set(std::uint32_t root, std::uint32_t prefix, unsigned length,
                     std::uint32_t value) {
  if (max_nodes_ - used_ + free_.size() < kNodesOfPrefix) return false;
  apply(root, 24, {prefix, length, leaf_of({value, length}), false});
  return true;
}

void PrefixTrie::remove(std::uint32_t root, std::uint32_t prefix, unsigned length, Match covering) {
  apply(root, 24, {prefix, length, leaf_of(covering), true});
}

/// `shift`: of the byte that the node's entries stand for.
void PrefixTrie::apply(std::uint32_t node, unsigned shift, const Change& change) {
  const unsigned bits = 32 - shift;  // of the address, to the end of this node's byte
  const std::uint32_t first = change.prefix >> shift & 0xFF;
  if (change.length <= bits) {
    const std::uint32_t count = 1U << (bits - std::max(change.length, bits - 8));
    for (std::uint32_t place = first; place < first + count; ++place)
      apply_to_entry(node, place, change);
    return;
  }
  std::uint32_t entry = load(node, first);
  if ((entry & kChild) == 0) {
    if (change.removes) return;  // it is not there
    entry = kChild | make_node(entry);
    store(node, first, entry);
  }
  apply(entry & ~kChild, shift - 8, change);
  if (change.removes) fold(node, first, shift);
}

/// An entry that the prefix covers: longer prefixes keep theirs.
void PrefixTrie::apply_to_entry(std::uint32_t node, std::uint32_t place, const Change& change) {
  const std::uint32_t entry = load(node, place);
  if ((entry & kChild) != 0) {
    for (std::uint32_t below = 0; below < kFan; ++below)
      apply_to_entry(entry & ~kChild, below, change);
    return;
  }
  const unsigned length = entry >> kLengthShift;
  const bool yields = change.removes ? entry != kEmpty && length == change.length
                                     : entry == kEmpty || length <= change.length;
  if (yields) store(node, place, change.leaf);
}

/// Puts one leaf in place of a node that says the same for each byte, of a prefix that does not end
/// within it.
void PrefixTrie::fold(std::uint32_t node, std::uint32_t place, unsigned shift) {
  const std::uint32_t child = load(node, place) & ~kChild;
  const std::uint32_t entry = load(child, 0);
  if ((entry & kChild) != 0 || entry >> kLengthShift > 32 - shift) return;
  for (std::uint32_t below = 1; below < kFan; ++below)
    if (load(child, below) != entry) return;
  store(node, place, entry);
  retired_.push_back(child);
}

}  // namespace lsn::state
