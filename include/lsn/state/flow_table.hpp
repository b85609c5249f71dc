// Finds the index of a flow by its key: the table that every packet asks first.
//
// Beyond the L2 cache a miss costs some 400 clocks, so a lookup touches ONE line. A bucket is a
// 64-byte line of four slots; a slot is a 12-byte key and a 4-byte word that holds the key's kind
// (non-zero: the slot is in use) and the flow's index. A bucket's four words also hold two bits
// each of its overflow counter: how many keys live further on because this bucket was full when
// they came. A packet's way: hash() its key, prefetch() the bucket, later find(): compare all four
// slots at once; a miss in a bucket that nothing overflowed from is final.
//
// Keys that find their bucket full go to the next ones, at most kProbeLimit, and stay where they
// are until erased: no rehash, no eviction, no entry ever moves, no tombstones. An insert that
// finds no slot within the limit, or the table at its capacity, fails and the caller counts a drop.
// All-zero memory is an empty table.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "lsn/state/line_match.hpp"
#include "lsn/state/memory.hpp"
#include "lsn/state/none.hpp"
#include "lsn/state/random.hpp"

namespace lsn::state {

/// A flow's name, as its words stand in packets, and a kind (1..15) that keeps key spaces apart. To
/// the table they are twelve opaque bytes: tables of other things put other names there.
struct alignas(16) FlowKey {
  std::uint32_t local;
  std::uint32_t remote;
  std::uint16_t local_port;
  std::uint16_t remote_port;
  std::uint32_t kind;  ///< in the top 4 bits; the others are zero

  [[nodiscard]] static constexpr FlowKey make(std::uint32_t local, std::uint32_t remote,
                                              std::uint16_t local_port, std::uint16_t remote_port,
                                              unsigned kind) {
    // Two whole words, as hash() reads them: stores of single members and then a load of eight
    // bytes would miss the store buffer's shortcut, a third of the cost of a lookup.
    const std::uint64_t words[2] = {
        std::uint64_t{remote} << 32 | local,
        std::uint64_t{kind} << 60 | std::uint64_t{remote_port} << 16 | local_port,
    };
    return std::bit_cast<FlowKey>(words);
  }

  friend constexpr bool operator==(const FlowKey&, const FlowKey&) = default;
};
static_assert(FlowKey::make(1, 2, 3, 4, 5) == FlowKey{1, 2, 3, 4, 5u << 28});
static_assert(sizeof(FlowKey) == 16 && std::has_unique_object_representations_v<FlowKey>);

/// A secret that makes bucket positions unpredictable from outside. One per table.
struct HashSecret {
  std::uint64_t words[4];

  [[nodiscard]] static HashSecret from(Random& random) {
    // A multiplication by an odd number loses no bits.
    return HashSecret{{random.next64(), random.next64(), random.next64(), random.next64() | 1}};
  }
};

/// `Match` compares a line (line_match.hpp); its users take FlowTable below.
template <class Match>
class BasicFlowTable {
 public:
  static constexpr std::uint32_t kIndexBits = 26;
  /// Indices and capacities stay below this: 67 million.
  static constexpr std::uint32_t kMaxEntries = std::uint32_t{1} << kIndexBits;
  static constexpr unsigned kSlots = 4;
  /// Buckets that an insert tries. In a table kept full for long it fails about once in 10^6 times.
  static constexpr std::uint32_t kProbeLimit = 64;
  /// Lines that an erase reads at most to pull keys back; on average it is one and a half.
  static constexpr unsigned kRefillLimit = 16;
  /// The most keys that find_bulk() takes.
  static constexpr unsigned kBulk = 32;

  /// Throws std::length_error for more than kMaxEntries.
  BasicFlowTable(std::uint32_t capacity, const HashSecret& secret, ZeroedMemory* memory)
      : capacity_(checked(capacity)),
        buckets_(bucket_count(capacity)),
        secret_(secret),
        // The probes of the last bucket go on behind it: nothing wraps around.
        lines_(std::size_t{buckets_} + kProbeLimit - 1, memory) {}

  /// The hash that all functions below want with a key. Keyed and hard to flood: two folded 64 x 64
  /// -> 128 bit multiplications with secret operands, in the manner of wyhash. (CRC32 is a third
  /// cheaper, but linear: from a few collisions under one secret an attacker computes any number,
  /// for every secret.)
  [[nodiscard]] std::uint32_t hash(const FlowKey& key) const {
    std::uint64_t parts[2];
    std::memcpy(parts, &key, sizeof parts);
    const std::uint64_t inner = fold(parts[0] ^ secret_.words[0], parts[1] ^ secret_.words[1]);
    return static_cast<std::uint32_t>(fold(inner ^ secret_.words[2], secret_.words[3]) >> 32);
  }

  /// Fetches the line that find() will look at first.
  void prefetch(std::uint32_t hash) const { __builtin_prefetch(line_of(hash)); }
  [[nodiscard]] const void* line_of(std::uint32_t hash) const { return home(hash); }

  /// The key's index, or kNone.
  [[nodiscard]] std::uint32_t find(const FlowKey& key, std::uint32_t hash) const {
    const Line* line = home(hash);
    const unsigned hit = match_new_key(line, key);
    if (hit != 0) [[likely]]
      return index_at(line, hit);
    if (!overflowed(line)) return kNone;
    return find_further(line, key);
  }

  /// find() for up to kBulk keys whose lines were prefetched: indices[i] for keys[i].
  void find_bulk(const FlowKey* keys, const std::uint32_t* hashes, unsigned n,
                 std::uint32_t* indices) const {
    std::uint32_t further = 0;  // bit i: the answer is not in the first line
    for (unsigned i = 0; i < n; ++i) {
      const Line* line = home(hashes[i]);
      const unsigned hit = match_key(line, keys[i]);
      // Reads some slot even on a miss, so that there is nothing to mispredict.
      const std::uint32_t index = index_at(line, hit | kNoSlot);
      indices[i] = hit != 0 ? index : kNone;
      further |= (static_cast<std::uint32_t>(hit == 0) & overflowed(line)) << i;
    }
    for (std::uint32_t left = further; left != 0; left &= left - 1) {
      __builtin_prefetch(home(hashes[std::countr_zero(left)]) + 1);
    }
    for (; further != 0; further &= further - 1) {
      const int i = std::countr_zero(further);
      indices[i] = find_further(home(hashes[i]), keys[i]);
    }
  }

  /// Adds a key that is not in the table; false (and no change) when there is no room for it.
  [[nodiscard]] bool insert(const FlowKey& key, std::uint32_t hash, std::uint32_t index) {
    if (size_ == capacity_) return false;
    Line* const first = home(hash);
    for (Line* line = first; line != first + kProbeLimit; ++line) {
      const unsigned empty = Match::match(line, &kZeros, &kKindMask);
      if (empty == 0) continue;
      LineSlot& slot = line->slots[slot_of(empty)];
      auto words = std::bit_cast<Words>(key);
      words[1] |= std::uint64_t{(slot.words[3] & kOverflowMask) | index} << 32;
      std::memcpy(&slot, words.data(), sizeof slot);
      for (Line* full = first; full != line; ++full) add_overflow(full, 1);
      ++size_;
      return true;
    }
    return false;
  }

  /// Removes a key; false when it is not in the table.
  bool erase(const FlowKey& key, std::uint32_t hash) {
    Line* const first = home(hash);
    for (Line* line = first; line != first + kProbeLimit; ++line) {
      const unsigned hit = match_new_key(line, key);
      if (hit != 0) {
        LineSlot* const slot = &line->slots[slot_of(hit)];
        // Asked first: a load of the whole line waits for a store into it to get to the cache.
        const bool is_missed = overflowed(line);
        slot->words[3] &= kOverflowMask;
        for (Line* full = first; full != line; ++full) add_overflow(full, -1);
        --size_;
        if (is_missed) [[unlikely]]
          refill(line, slot);
        return true;
      }
      if (!overflowed(line)) return false;
    }
    return false;
  }

  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] std::uint32_t capacity() const { return capacity_; }
  [[nodiscard]] std::size_t memory_bytes() const { return lines_.capacity() * sizeof(Line); }

  /// How many keys were driven past the bucket of this hash: 0 means that a miss reads one line.
  [[nodiscard]] unsigned overflow(std::uint32_t hash) const { return overflow_count(home(hash)); }

 private:
  using Words = std::array<std::uint64_t, 2>;
  static constexpr std::uint32_t kKindBits = 0xF0000000;
  static constexpr std::uint32_t kIndexMask = kMaxEntries - 1;
  static constexpr unsigned kOverflowShift = kIndexBits;
  static constexpr std::uint32_t kOverflowMask = 3u << kOverflowShift;
  static_assert((kKindBits ^ kOverflowMask ^ kIndexMask) == 0xFFFFFFFF);

  // A counter counts only keys in the kProbeLimit - 1 buckets behind its own, so within this limit
  // its eight bits hold any number that can occur: it never saturates and is always exact.
  static_assert((kProbeLimit - 1) * kSlots <= 0xFF);

  // Three of a line's four slots are in use on average when the table is full. Then 13 of 100 keys
  // are not at home, a hit reads 1.27 lines and a miss 2.1; at 80 % of the capacity, 1.1 and 1.3.
  static constexpr std::uint32_t kKeysPerLine = 3;

  static constexpr LineSlot kZeros{};
  static constexpr LineSlot kKeyMask{{0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, kKindBits}};
  static constexpr LineSlot kKindMask{{0, 0, 0, kKindBits}};
  static constexpr LineSlot kCounterMask{{0, 0, 0, kOverflowMask}};
  static constexpr unsigned kAllSlots =
      (1u << 0) | (1u << Match::kStride) | (1u << 2 * Match::kStride) | (1u << 3 * Match::kStride);
  /// A bit behind those of the slots that still reads as one of the slots.
  static constexpr unsigned kNoSlot = 1u << (4 * Match::kStride);

  static std::uint32_t checked(std::uint32_t capacity) {
    if (capacity > kMaxEntries) throw std::length_error("flow table: more than 2^26 entries");
    return capacity;
  }

  static std::uint32_t bucket_count(std::uint32_t capacity) {
    const std::uint32_t buckets = (capacity + kKeysPerLine - 1) / kKeysPerLine;
    return buckets == 0 ? 1 : buckets;
  }

  static std::uint64_t fold(std::uint64_t x, std::uint64_t y) {
    const auto product = static_cast<unsigned __int128>(x) * y;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }

  /// Multiply-shift instead of a modulus: any number of buckets, no division.
  [[nodiscard]] const Line* home(std::uint32_t hash) const {
    return lines_.data() + ((std::uint64_t{hash} * buckets_) >> 32);
  }
  [[nodiscard]] Line* home(std::uint32_t hash) {
    return lines_.data() + ((std::uint64_t{hash} * buckets_) >> 32);
  }

  static unsigned match_key(const Line* line, const FlowKey& key) {
    return Match::match(line, &key, &kKeyMask);
  }

  /// A key that may have been built a moment ago.
  static unsigned match_new_key(const Line* line, const FlowKey& key) {
    const auto words = std::bit_cast<Words>(key);
    return Match::match(line, words[0], words[1], &kKeyMask);
  }

  static bool overflowed(const Line* line) {
    return Match::match(line, &kZeros, &kCounterMask) != kAllSlots;
  }

  static unsigned slot_of(unsigned match) {
    return static_cast<unsigned>(std::countr_zero(match)) / Match::kStride % kSlots;
  }

  static std::uint32_t index_at(const Line* line, unsigned match) {
    return line->slots[slot_of(match)].words[3] & kIndexMask;
  }

  /// Behind a line that overflowed and does not hold the key.
  static std::uint32_t find_further(const Line* first, const FlowKey& key) {
    for (const Line* line = first + 1; line != first + kProbeLimit; ++line) {
      const unsigned hit = match_key(line, key);
      if (hit != 0) return index_at(line, hit);
      if (!overflowed(line)) break;
    }
    return kNone;
  }

  static unsigned overflow_count(const Line* line) {
    unsigned count = 0;
    for (unsigned i = 0; i < kSlots; ++i) {
      count |= ((line->slots[i].words[3] & kOverflowMask) >> kOverflowShift) << 2 * i;
    }
    return count;
  }

  static void add_overflow(Line* line, int difference) {
    const unsigned count = overflow_count(line) + static_cast<unsigned>(difference);
    for (unsigned i = 0; i < kSlots; ++i) {
      std::uint32_t& word = line->slots[i].words[3];
      word = (word & ~kOverflowMask) | ((count >> 2 * i) & 3) << kOverflowShift;
    }
  }

  /// A slot of `line` was freed: pulls back keys that had to go past it. The counters are exact, so
  /// where one is not zero there is such a key within reach; where it is too far to look for, the
  /// slot stays free, which is correct, too.
  void refill(Line* line, LineSlot* hole) {
    unsigned lines_left = kRefillLimit;
    while (overflowed(line)) {
      Line* from = line;
      LineSlot* mover = nullptr;
      while (mover == nullptr) {
        if (lines_left-- == 0) return;
        mover = key_from_before(++from, line);
      }
      hole->words[0] = mover->words[0];
      hole->words[1] = mover->words[1];
      hole->words[2] = mover->words[2];
      hole->words[3] |= mover->words[3] & ~kOverflowMask;
      mover->words[3] &= kOverflowMask;
      for (Line* full = line; full != from; ++full) add_overflow(full, -1);
      line = from;
      hole = mover;
    }
  }

  /// A slot of `line` whose key's home is `limit` or before.
  LineSlot* key_from_before(Line* line, const Line* limit) {
    for (LineSlot& slot : line->slots) {
      if ((slot.words[3] & kKindBits) == 0) continue;
      FlowKey key;
      std::memcpy(&key, &slot, sizeof key);
      key.kind &= kKindBits;
      if (home(hash(key)) <= limit) return &slot;
    }
    return nullptr;
  }

  std::uint32_t capacity_;
  std::uint32_t buckets_;
  std::uint32_t size_ = 0;
  HashSecret secret_;
  ParallelArray<Line> lines_;
};

using FlowTable = BasicFlowTable<BestMatch>;

}  // namespace lsn::state
