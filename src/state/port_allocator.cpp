#include "lsn/state/port_allocator.hpp"

#include <algorithm>

namespace lsn::state {

std::optional<std::uint16_t> PortBitmap::take(std::uint16_t first, std::uint16_t last,
                                              Parity parity, std::uint32_t random) {
  const Candidates all = candidates(first, last, parity);
  if (all.count == 0) return std::nullopt;

  const auto [free, candidate] = probe(all, random);
  if (free) {
    set(*free);
    return free;
  }

  std::uint32_t port = next_free(candidate, last, parity);
  if (port == kNothing && candidate > all.begin)
    port = next_free(all.begin, candidate - 1, parity);
  if (port == kNothing) return std::nullopt;
  set(port);
  return static_cast<std::uint16_t>(port);
}

std::uint32_t PortBitmap::next_free(std::uint32_t from, std::uint32_t to, Parity parity) const {
  const std::uint64_t wanted = parity == Parity::kAny    ? ~std::uint64_t{0}
                               : parity == Parity::kEven ? kEvenBits
                                                         : ~kEvenBits;
  const auto answer = [&](std::uint32_t word, std::uint64_t free) {
    const std::uint32_t port = word * 64 + static_cast<std::uint32_t>(std::countr_zero(free));
    return port <= to ? port : kNothing;
  };

  std::uint32_t word = from / 64;
  const std::uint64_t here = ~taken_bits_[word] & wanted & (~std::uint64_t{0} << from % 64);
  if (here != 0) return answer(word, here);

  // The words behind it that have such a port, 64 words at a time.
  const std::uint32_t last_group = to / 4096;
  if (++word == kWords) return kNothing;
  std::uint64_t in_reach = ~std::uint64_t{0} << word % 64;
  for (std::uint32_t group = word / 64; group <= last_group; ++group) {
    const std::uint64_t full = parity == Parity::kAny    ? no_even_[group] & no_odd_[group]
                               : parity == Parity::kEven ? no_even_[group]
                                                         : no_odd_[group];
    const std::uint64_t candidates = ~full & in_reach;
    if (candidates != 0) {
      word = group * 64 + static_cast<std::uint32_t>(std::countr_zero(candidates));
      return answer(word, ~taken_bits_[word] & wanted);
    }
    in_reach = ~std::uint64_t{0};
  }
  return kNothing;
}

}  // namespace lsn::state
