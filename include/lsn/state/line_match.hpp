// Compares the four 16-byte slots of a cache line with a pattern, all at once and without a branch.
//
// match(line, pattern, mask) gives a bit set in which slot i has the bit i * kStride: set where
// (slot ^ pattern) & mask is zero. One primitive serves the flow table three ways: the slot that
// holds a key, the slots that are empty, the slots whose overflow bits are zero. A compare slot by
// slot would cost 15-24 ns at every table size, because the position of the hit cannot be
// predicted.
//
// A pattern that was built a moment ago is given as its two words: it stands in registers, and in
// the store buffer as two stores, for which a load of 16 bytes would wait (a third of the cost of
// ending a session).
//
// The same in AVX-512 (4 instructions), AVX2 and SSE2, and plainly for other machines; BestMatch is
// the best one that the compiler was told the machine has. All those compiled are tested against
// each other.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace lsn::state {

/// 16 bytes in a line; their meaning is the table's.
struct alignas(16) LineSlot {
  std::uint32_t words[4];
};

struct alignas(64) Line {
  LineSlot slots[4];
};

struct PlainMatch {
  static constexpr const char* kName = "plain";
  static constexpr unsigned kStride = 1;

  static unsigned match(const void* line, const void* pattern, const void* mask) {
    LineSlot slots[4], wanted, bits;
    std::memcpy(slots, line, sizeof slots);
    std::memcpy(&wanted, pattern, sizeof wanted);
    std::memcpy(&bits, mask, sizeof bits);
    unsigned result = 0;
    for (unsigned i = 0; i < 4; ++i) {
      std::uint32_t difference = 0;
      for (unsigned j = 0; j < 4; ++j) {
        difference |= (slots[i].words[j] ^ wanted.words[j]) & bits.words[j];
      }
      result |= static_cast<unsigned>(difference == 0) << i;
    }
    return result;
  }
  static unsigned match(const void* line, std::uint64_t low, std::uint64_t high, const void* mask) {
    const std::uint64_t pattern[2] = {low, high};
    return match(line, pattern, mask);
  }
};

#ifdef __SSE2__
/// The first word of a slot is the lower one.
struct WordsOfSlot {
  static __m128i at(const void* slot) { return _mm_load_si128(static_cast<const __m128i*>(slot)); }
  static __m128i of(std::uint64_t low, std::uint64_t high) {
    __m128i words = _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
    asm("" : "+x"(words));  // in a register: gcc would rather store them to broadcast from memory
    return words;
  }
};

struct Sse2Match {
  static constexpr const char* kName = "SSE2";
  static constexpr unsigned kStride = 4;

  static unsigned match(const void* line, const void* pattern, const void* mask) {
    return compare(line, WordsOfSlot::at(pattern), WordsOfSlot::at(mask));
  }
  static unsigned match(const void* line, std::uint64_t low, std::uint64_t high, const void* mask) {
    return compare(line, WordsOfSlot::of(low, high), WordsOfSlot::at(mask));
  }

 private:
  static unsigned compare(const void* line, __m128i wanted, __m128i bits) {
    const auto* slots = static_cast<const __m128i*>(line);
    const auto equal_words = [&](int i) {
      const __m128i difference =
          _mm_and_si128(_mm_xor_si128(_mm_load_si128(slots + i), wanted), bits);
      return _mm_cmpeq_epi32(difference, _mm_setzero_si128());
    };
    // Four words of 0 or -1 per slot, narrowed to bytes: 16 bits, four of them per slot.
    const __m128i low = _mm_packs_epi32(equal_words(0), equal_words(1));
    const __m128i high = _mm_packs_epi32(equal_words(2), equal_words(3));
    const auto nibbles = static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(low, high)));
    const unsigned pairs = nibbles & (nibbles >> 1);
    return pairs & (pairs >> 2) & 0x1111u;
  }
};
#endif

#ifdef __AVX2__
struct Avx2Match {
  static constexpr const char* kName = "AVX2";
  static constexpr unsigned kStride = 2;

  static unsigned match(const void* line, const void* pattern, const void* mask) {
    return compare(line, WordsOfSlot::at(pattern), WordsOfSlot::at(mask));
  }
  static unsigned match(const void* line, std::uint64_t low, std::uint64_t high, const void* mask) {
    return compare(line, WordsOfSlot::of(low, high), WordsOfSlot::at(mask));
  }

 private:
  static unsigned compare(const void* line, __m128i wanted, __m128i bits) {
    const auto* halves = static_cast<const __m256i*>(line);
    const __m256i all_wanted = _mm256_broadcastsi128_si256(wanted);
    const __m256i all_bits = _mm256_broadcastsi128_si256(bits);
    const auto equal_halves = [&](int i) {
      const __m256i difference =
          _mm256_and_si256(_mm256_xor_si256(_mm256_load_si256(halves + i), all_wanted), all_bits);
      return static_cast<unsigned>(_mm256_movemask_pd(
          _mm256_castsi256_pd(_mm256_cmpeq_epi64(difference, _mm256_setzero_si256()))));
    };
    const unsigned pairs = equal_halves(0) | equal_halves(1) << 4;
    return pairs & (pairs >> 1) & 0x55u;
  }
};
#endif

#ifdef __AVX512F__
struct Avx512Match {
  static constexpr const char* kName = "AVX-512";
  static constexpr unsigned kStride = 2;

  static unsigned match(const void* line, const void* pattern, const void* mask) {
    return compare(line, WordsOfSlot::at(pattern), WordsOfSlot::at(mask));
  }
  static unsigned match(const void* line, std::uint64_t low, std::uint64_t high, const void* mask) {
    return compare(line, WordsOfSlot::of(low, high), WordsOfSlot::at(mask));
  }

 private:
  static unsigned compare(const void* line, __m128i wanted, __m128i bits) {
    const __m512i difference = _mm512_xor_si512(_mm512_load_si512(line), four_times(wanted));
    const unsigned pairs = _mm512_testn_epi64_mask(difference, four_times(bits));
    return pairs & (pairs >> 1) & 0x55u;
  }
  static __m512i four_times(__m128i slot) {
    // The masked form with all lanes: gcc 12 takes the other one's operand for uninitialised.
    return _mm512_maskz_broadcast_i32x4(0xFFFF, slot);
  }
};
#endif

#if defined(__AVX512F__)
using BestMatch = Avx512Match;
#elif defined(__AVX2__)
using BestMatch = Avx2Match;
#elif defined(__SSE2__)
using BestMatch = Sse2Match;
#else
using BestMatch = PlainMatch;
#endif

}  // namespace lsn::state
