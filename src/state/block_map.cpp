#include "lsn/state/block_map.hpp"

#include <bit>

namespace lsn::state {
namespace {

/// Calls `each(word, mask)` for the 64-bit words of a bit map that a span touches.
template <class Each>
void for_words(PortSpan span, Each&& each) {
  const std::uint32_t last = span.last / 64u;
  for (std::uint32_t word = span.first / 64u; word <= last; ++word) {
    std::uint64_t mask = ~std::uint64_t{0};
    if (word == span.first / 64u) mask &= ~std::uint64_t{0} << span.first % 64;
    if (word == last) mask &= ~std::uint64_t{0} >> (63 - span.last % 64);
    each(word, mask);
  }
}

}  // namespace

void BlockMap::release(PortSpan block) {
  for_words(block, [this](std::uint32_t word, std::uint64_t mask) { in_blocks_[word] &= ~mask; });
  --taken_;
  if (size_ == 0) return;
  const std::uint32_t first = (block.first - kFirstPort) / size_;
  const std::uint32_t last = (block.last - kFirstPort) / size_;
  for (std::uint32_t slot = first; slot <= last && slot < slots(); ++slot) {
    if (is_free(slot) || overlaps(span_of(slot))) continue;
    free_slots_[slot / 64] |= std::uint64_t{1} << slot % 64;
    ++free_;
  }
}

std::uint32_t BlockMap::nth_free(std::uint32_t n) const {
  for (std::uint32_t word = 0; word < kWords; ++word) {
    const auto here = static_cast<std::uint32_t>(std::popcount(free_slots_[word]));
    if (n < here) return word * 64 + nth_bit(free_slots_[word], n);
    n -= here;
  }
  return 0;
}

std::uint32_t BlockMap::next_free(std::uint32_t slot) const {
  const std::uint32_t word = slot / 64;
  const std::uint64_t behind = free_slots_[word] & ~((std::uint64_t{2} << slot % 64) - 1);
  if (behind != 0) return word * 64 + static_cast<std::uint32_t>(std::countr_zero(behind));
  for (std::uint32_t n = 1; n <= kWords; ++n) {
    const std::uint32_t at = (word + n) % kWords;
    if (free_slots_[at] != 0)
      return at * 64 + static_cast<std::uint32_t>(std::countr_zero(free_slots_[at]));
  }
  return slot;
}

PortSpan BlockMap::occupy(std::uint32_t slot) {
  const PortSpan span = span_of(slot);
  for_words(span, [this](std::uint32_t word, std::uint64_t mask) { in_blocks_[word] |= mask; });
  free_slots_[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
  --free_;
  ++taken_;
  return span;
}

bool BlockMap::overlaps(PortSpan span) const {
  bool any = false;
  for_words(span, [&](std::uint32_t word, std::uint64_t mask) {
    any = any || (in_blocks_[word] & mask) != 0;
  });
  return any;
}

void BlockMap::count_free() {
  free_slots_ = {};
  free_ = 0;
  for (std::uint32_t slot = 0; slot < slots(); ++slot) {
    if (overlaps(span_of(slot))) continue;
    free_slots_[slot / 64] |= std::uint64_t{1} << slot % 64;
    ++free_;
  }
}

}  // namespace lsn::state
