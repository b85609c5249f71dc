#include "lsn/state/port_allocator.hpp"

#include <bit>

#include "lsn/state/bits.hpp"

namespace lsn::state {
namespace {

/// Another 32 bits out of these: a bijection, with the low bits brought up by the rotation.
std::uint32_t stir(std::uint32_t random) {
  return std::rotl(random * 0x9E3779B1u + 0x7F4A7C15u, 16);
}

}  // namespace

std::optional<std::uint16_t> PortBitmap::take(std::uint16_t first, std::uint16_t last,
                                              Parity parity, std::uint32_t random) {
  const std::optional<std::uint16_t> port = find(first, last, parity, random);
  if (port) set(*port);
  return port;
}

std::optional<std::uint16_t> PortBitmap::find(std::uint16_t first, std::uint16_t last,
                                              Parity parity, std::uint32_t random) const {
  const Candidates all = candidates(first, last, parity);
  if (all.count == 0) return std::nullopt;
  const unsigned classes = classes_of(first, last, parity);
  const std::uint32_t size = kSizeOf[classes];
  std::uint32_t taken = taken_;  // not more of these classes
  if (taken > size / 4 * 3) [[unlikely]] {
    taken = 0;
    for (unsigned c = 0; c < kPortClasses; ++c)
      if ((classes >> c & 1) != 0) taken += taken_of_[c];
    if (taken == size) return std::nullopt;
  }

  const std::uint32_t start = all.at(random);
  if (taken <= size / 4 * 3) {
    std::uint32_t candidate = start;
    for (int i = 0; i < kProbes; ++i) {
      const auto port = static_cast<std::uint16_t>(candidate);
      if (!is_taken(port)) return port;
      random = stir(random);
      candidate = all.at(random);
    }
  }

  const std::uint64_t wanted = parity == Parity::kAny    ? ~std::uint64_t{0}
                               : parity == Parity::kEven ? kEvenBits
                                                         : ~kEvenBits;
  const std::uint32_t first_word = first / 64u, last_word = last / 64u;
  const auto free_of = [&](std::uint32_t word) {
    std::uint64_t free = ~taken_bits_[word] & wanted;
    if (word == first_word) free &= ~std::uint64_t{0} << first % 64;
    if (word == last_word) free &= ~std::uint64_t{0} >> (63 - last % 64);
    return free;
  };
  const auto one_of = [&](std::uint32_t word, std::uint64_t free) {
    return static_cast<std::uint16_t>(word * 64 + any_bit(free, stir(random)));
  };
  // Only the first and the last word may have free ports that lie outside: two steps more at most.
  const std::uint32_t start_word = start / 64;
  if (const std::uint64_t free = free_of(start_word); free != 0) return one_of(start_word, free);
  for (std::uint32_t word = start_word; (word = next_word(word + 1, last_word, parity)) != kWords;)
    if (const std::uint64_t free = free_of(word); free != 0) return one_of(word, free);
  if (start_word == first_word) return std::nullopt;
  for (std::uint32_t word = first_word; (word = next_word(word, start_word - 1, parity)) != kWords;
       ++word)
    if (const std::uint64_t free = free_of(word); free != 0) return one_of(word, free);
  return std::nullopt;
}

bool PortBitmap::is_any_taken(std::uint16_t first, std::uint16_t last) const {
  for (std::uint32_t word = first / 64u; word <= last / 64u; ++word)
    if (taken_in(word, first, last) != 0) return true;
  return false;
}

std::uint32_t PortBitmap::count_taken(std::uint16_t first, std::uint16_t last) const {
  std::uint32_t count = 0;
  for (std::uint32_t word = first / 64u; word <= last / 64u; ++word)
    count += static_cast<std::uint32_t>(std::popcount(taken_in(word, first, last)));
  return count;
}

std::uint32_t PortBitmap::next_word(std::uint32_t from, std::uint32_t to, Parity parity) const {
  if (from > to) return kWords;
  const auto with_one = [parity](auto no_even, auto no_odd) {
    return ~static_cast<std::uint64_t>(parity == Parity::kAny    ? no_even & no_odd
                                       : parity == Parity::kEven ? no_even
                                                                 : no_odd);
  };
  const auto in_block = [&](std::uint32_t block, std::uint64_t reach) {
    const std::uint64_t words = with_one(blocks_[block].no_even, blocks_[block].no_odd) & reach;
    const std::uint32_t word = block * 64 + static_cast<std::uint32_t>(std::countr_zero(words));
    return words == 0 || word > to ? kWords : word;
  };
  const std::uint32_t block = from / 64;
  if (const std::uint32_t word = in_block(block, ~std::uint64_t{0} << from % 64); word != kWords)
    return word;
  const std::uint64_t behind =
      with_one(no_even_, no_odd_) & 0xFFFF & ~((std::uint64_t{2} << block) - 1);
  if (behind == 0) return kWords;
  return in_block(static_cast<std::uint32_t>(std::countr_zero(behind)), ~std::uint64_t{0});
}

void PortBitmap::take_word(std::uint32_t word, std::uint64_t ports) {
  if (ports == 0) return;
  mark(word, ports);
  // The classes of a word are those of its second and third port; only the first word has port 0.
  const auto port = static_cast<std::uint16_t>(word * 64);
  const auto count = [&](unsigned of_class, std::uint64_t of) {
    const auto n = static_cast<std::uint16_t>(std::popcount(of));
    taken_of_[of_class] = static_cast<std::uint16_t>(taken_of_[of_class] + n);
    taken_ += n;
  };
  const std::uint64_t zero = word == 0 ? ports & 1 : 0;
  count(0, zero);
  count(class_of_port(static_cast<std::uint16_t>(port + 2)), ports & kEvenBits & ~zero);
  count(class_of_port(static_cast<std::uint16_t>(port + 1)), ports & ~kEvenBits);
}

void PortBitmap::release_word(std::uint32_t word, std::uint64_t ports) {
  for (; ports != 0; ports &= ports - 1)
    clear(word * 64 + static_cast<std::uint32_t>(std::countr_zero(ports)));
}

}  // namespace lsn::state
