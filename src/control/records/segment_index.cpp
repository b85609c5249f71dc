#include "lsn/control/records/segment_index.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lsn::control {
namespace {

constexpr std::string_view kMagic = "LSNIDX1\n";
constexpr std::size_t kLineWords = 8;  ///< of 64 bits: a cache line
constexpr unsigned kBitsPerKey = 12;
constexpr unsigned kProbes = 6;
/// A block's filter is at most so many lines: 16 MB.
constexpr std::uint64_t kMostLines = 1 << 18;

enum class KeyKind : std::uint64_t { kAddress = 1, kPort, kBlock, kSpi };

/// Mixes all bits of its input into all of its output (the finalizer of MurmurHash3).
std::uint64_t mixed(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xFF51AFD7ED558CCD;
  x ^= x >> 33;
  x *= 0xC4CEB9FE1A85EC53;
  return x ^ (x >> 33);
}

SegmentKey make_key(KeyKind kind, wire::Ipv4Address nat, std::uint32_t rest) {
  return mixed(std::uint64_t{nat.value} << 32 | rest) ^
         mixed(static_cast<std::uint64_t>(kind) * 0x9E3779B97F4A7C15);
}

/// Calls `at(word, bit)` for each of a key's bits in a filter of so many lines.
template <class At>
void for_bits(SegmentKey key, std::uint64_t lines, At&& at) {
  const std::uint64_t line = (key >> 32) * lines >> 32;
  std::uint64_t bits = mixed(key);
  for (unsigned i = 0; i < kProbes; ++i, bits >>= 9)
    at(line * kLineWords + (bits >> 6) % kLineWords, std::uint64_t{1} << (bits & 63));
}

void put_number(std::string& out, std::uint64_t number) {
  for (unsigned i = 0; i < 8; ++i) out += static_cast<char>(number >> (8 * i));
}

std::uint64_t get_number(std::string_view text, std::size_t at) {
  std::uint64_t number = 0;
  for (unsigned i = 0; i < 8; ++i)
    number |= std::uint64_t{static_cast<unsigned char>(text[at + i])} << (8 * i);
  return number;
}

constexpr std::size_t kEntryHead = 8 * 8;
/// A block that says it is larger is none.
constexpr std::uint64_t kLargest = std::uint64_t{1} << 27;

}  // namespace

SegmentKey address_key(wire::Ipv4Address nat) {
  return make_key(KeyKind::kAddress, nat, 0);
}
SegmentKey port_key(wire::Ipv4Address nat, std::uint16_t port) {
  return make_key(KeyKind::kPort, nat, port);
}
SegmentKey block_key(wire::Ipv4Address nat) {
  return make_key(KeyKind::kBlock, nat, 0);
}
SegmentKey spi_key(wire::Ipv4Address nat, std::uint32_t spi) {
  return make_key(KeyKind::kSpi, nat, spi);
}

bool SegmentBlock::may_have(SegmentKey key) const {
  const std::uint64_t lines = filter.size() / kLineWords;
  if (lines == 0) return false;
  bool all = true;
  for_bits(key, lines,
           [&](std::uint64_t word, std::uint64_t bit) { all = all && (filter[word] & bit) != 0; });
  return all;
}

void BlockBuilder::add(std::int64_t at_ms, bool is_note, std::span<const SegmentKey> keys) {
  block_.first_ms = block_.records == 0 ? at_ms : std::min(block_.first_ms, at_ms);
  block_.last_ms = block_.records == 0 ? at_ms : std::max(block_.last_ms, at_ms);
  block_.has_notes = block_.has_notes || is_note;
  ++block_.records;
  keys_.insert(keys_.end(), keys.begin(), keys.end());
}

SegmentBlock BlockBuilder::finish(std::uint64_t offset, std::uint64_t bytes) {
  std::sort(keys_.begin(), keys_.end());
  keys_.erase(std::unique(keys_.begin(), keys_.end()), keys_.end());
  SegmentBlock block = std::exchange(block_, {});
  block.offset = offset;
  block.stored = block.raw = bytes;
  const std::uint64_t lines =
      std::min<std::uint64_t>((keys_.size() * kBitsPerKey + 511) / 512, kMostLines);
  block.filter.assign(lines * kLineWords, 0);
  if (lines != 0)
    for (const SegmentKey key : keys_)
      for_bits(key, lines,
               [&](std::uint64_t word, std::uint64_t bit) { block.filter[word] |= bit; });
  keys_.clear();
  return block;
}

std::string index_head() {
  return std::string(kMagic);
}

std::string index_entry(const SegmentBlock& block) {
  std::string entry;
  entry.reserve(kEntryHead + block.filter.size() * 8);
  for (const std::uint64_t number :
       {block.offset, block.stored, block.raw, block.records,
        static_cast<std::uint64_t>(block.first_ms), static_cast<std::uint64_t>(block.last_ms),
        std::uint64_t{block.has_notes}, std::uint64_t{block.filter.size()}})
    put_number(entry, number);
  for (const std::uint64_t word : block.filter) put_number(entry, word);
  return entry;
}

std::optional<std::vector<SegmentBlock>> parse_index(std::string_view text) {
  if (!text.starts_with(kMagic)) return std::nullopt;
  text.remove_prefix(kMagic.size());
  std::vector<SegmentBlock> blocks;
  std::uint64_t next = 0;
  while (text.size() >= kEntryHead) {
    SegmentBlock block;
    block.offset = get_number(text, 0);
    block.stored = get_number(text, 8);
    block.raw = get_number(text, 16);
    block.records = get_number(text, 24);
    block.first_ms = static_cast<std::int64_t>(get_number(text, 32));
    block.last_ms = static_cast<std::int64_t>(get_number(text, 40));
    const std::uint64_t notes = get_number(text, 48);
    block.has_notes = notes != 0;
    const std::uint64_t words = get_number(text, 56);
    text.remove_prefix(kEntryHead);
    if (block.offset != next || block.stored > kLargest || block.raw > kLargest || notes > 1 ||
        words % kLineWords != 0 || words / kLineWords > kMostLines || text.size() < words * 8)
      break;
    next += block.stored;
    block.filter.resize(words);
    for (std::size_t i = 0; i < words; ++i) block.filter[i] = get_number(text, 8 * i);
    text.remove_prefix(words * 8);
    blocks.push_back(std::move(block));
  }
  return blocks;
}

}  // namespace lsn::control
