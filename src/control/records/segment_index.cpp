#include "lsn/control/records/segment_index.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lsn::control {
namespace {

constexpr std::string_view kMagic = "LSNIDX2\n";
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

constexpr std::size_t kEntryHead = 10 * 8;
constexpr std::size_t kRunBytes = 6 * 8;
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

void BlockBuilder::add(const IndexedLine& line, std::span<const SegmentKey> keys) {
  const std::int64_t at_ms = line.at_ms;
  block_.first_ms = block_.records == 0 ? at_ms : std::min(block_.first_ms, at_ms);
  block_.last_ms = block_.records == 0 ? at_ms : std::max(block_.last_ms, at_ms);
  block_.has_notes = block_.has_notes || line.is_note();
  ++block_.records;
  keys_.insert(keys_.end(), keys.begin(), keys.end());
  if (std::exchange(after_unreadable_, false)) block_.runs.back().last_ms = at_ms;
  if (line.says != IndexedLine::Says::kLink) add_to_run(line);
}

void BlockBuilder::add_unreadable() {
  if (std::exchange(after_unreadable_, true)) {
    ++block_.runs.back().missing;
    return;
  }
  SegmentRun run;
  run.of = RunOf::kUnreadable;
  run.missing = 1;
  run.first_ms = block_.records == 0 ? INT64_MIN : block_.last_ms;
  run.last_ms = INT64_MAX;
  push_run(run);
}

std::uint32_t BlockBuilder::node_of(std::string_view name) {
  std::vector<std::string>& nodes = block_.nodes;
  const auto there = std::find(nodes.begin(), nodes.end(), name);
  if (there != nodes.end()) return static_cast<std::uint32_t>(there - nodes.begin());
  if (nodes.size() < kMostRuns) nodes.emplace_back(name);
  return static_cast<std::uint32_t>(nodes.size() - 1);
}

bool BlockBuilder::push_run(const SegmentRun& run) {
  if (block_.runs.size() < kMostRuns) {
    block_.runs.push_back(run);
    return true;
  }
  SegmentRun& last = block_.runs.back();
  last.of = RunOf::kUnreadable;
  ++last.missing;
  last.first_ms = std::min(last.first_ms, run.first_ms);
  last.last_ms = std::max(last.last_ms, run.last_ms);
  return false;
}

std::size_t BlockBuilder::find_open(std::uint32_t node, const IndexedLine& line) const {
  // Most lines are of the same worker and kind as the one before.
  for (std::size_t i = 0, at = latest_; i < open_.size(); ++i, ++at) {
    if (at >= open_.size()) at = 0;
    const SegmentRun& run = block_.runs[open_[at]];
    if (run.node == node && run.worker == line.worker &&
        (run.kind == line.kind || line.worker == SegmentRun::kControl))
      return at;
  }
  return open_.size();
}

void BlockBuilder::add_to_run(const IndexedLine& line) {
  using shared::LogEvent;
  SegmentRun run;
  run.node = node_of(line.node);
  run.first_ms = run.last_ms = line.at_ms;
  const bool is_begin = line.says == IndexedLine::Says::kBegin;
  if (is_begin || (line.kind == shared::LogKind::kConfig && line.event != LogEvent::kCompleted)) {
    run.of = is_begin                           ? RunOf::kBegin
             : line.event == LogEvent::kCreated ? RunOf::kStart
                                                : RunOf::kStop;
    std::erase_if(open_, [&](std::uint32_t at) { return block_.runs[at].node == run.node; });
    push_run(run);
    return;
  }
  run.worker = line.worker;
  if (line.worker != SegmentRun::kControl) {
    run.kind = line.kind;
    run.first = run.last = line.sequence;
  }
  const std::size_t at = find_open(run.node, line);
  if (at != open_.size()) {
    latest_ = at;
    SegmentRun& before = block_.runs[open_[at]];
    if (line.worker == SegmentRun::kControl || before.last + 1 == line.sequence) {
      before.last = run.last;
      before.first_ms = std::min(before.first_ms, line.at_ms);
      before.last_ms = std::max(before.last_ms, line.at_ms);
    } else if (push_run(run)) {
      open_[at] = static_cast<std::uint32_t>(block_.runs.size() - 1);
    }
  } else if (push_run(run)) {
    latest_ = open_.size();
    open_.push_back(static_cast<std::uint32_t>(block_.runs.size() - 1));
  }
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
  open_.clear();
  latest_ = 0;
  after_unreadable_ = false;
  return block;
}

std::string index_head() {
  return std::string(kMagic);
}

std::string index_entry(const SegmentBlock& block) {
  std::string entry, nodes;
  for (const std::string& node : block.nodes) nodes.append(node) += '\n';
  entry.reserve(kEntryHead + block.filter.size() * 8 + nodes.size() +
                block.runs.size() * kRunBytes);
  for (const std::uint64_t number :
       {block.offset, block.stored, block.raw, block.records,
        static_cast<std::uint64_t>(block.first_ms), static_cast<std::uint64_t>(block.last_ms),
        std::uint64_t{block.has_notes}, std::uint64_t{block.filter.size()},
        std::uint64_t{nodes.size()}, std::uint64_t{block.runs.size()}})
    put_number(entry, number);
  for (const std::uint64_t word : block.filter) put_number(entry, word);
  entry += nodes;
  for (const SegmentRun& run : block.runs)
    for (const std::uint64_t number :
         {std::uint64_t{run.node} << 32 | std::uint64_t{run.worker} << 16 |
              static_cast<std::uint64_t>(run.kind) << 8 | static_cast<std::uint64_t>(run.of),
          run.first, run.last, run.missing, static_cast<std::uint64_t>(run.first_ms),
          static_cast<std::uint64_t>(run.last_ms)})
      put_number(entry, number);
  return entry;
}

namespace {

/// Names with a newline behind each. False: the last one has none.
bool get_nodes(std::string_view text, std::vector<std::string>& nodes) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    nodes.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return true;
}

std::optional<SegmentRun> get_run(std::string_view text, std::size_t nodes) {
  const std::uint64_t what = get_number(text, 0);
  SegmentRun run;
  run.node = static_cast<std::uint32_t>(what >> 32);
  run.worker = static_cast<std::uint8_t>(what >> 16);
  const std::uint64_t kind = what >> 8 & 0xFF, of = what & 0xFF;
  if ((what >> 24 & 0xFF) != 0 || kind >= shared::kLogKinds ||
      of > static_cast<std::uint64_t>(RunOf::kUnreadable))
    return std::nullopt;
  run.kind = static_cast<shared::LogKind>(kind);
  run.of = static_cast<RunOf>(of);
  if (run.of != RunOf::kUnreadable && run.node >= nodes) return std::nullopt;
  run.first = get_number(text, 8);
  run.last = get_number(text, 16);
  run.missing = get_number(text, 24);
  run.first_ms = static_cast<std::int64_t>(get_number(text, 32));
  run.last_ms = static_cast<std::int64_t>(get_number(text, 40));
  return run;
}

/// What stands behind the filter. False: it makes no sense.
bool get_runs(std::string_view text, std::size_t node_bytes, SegmentBlock& block) {
  if (!get_nodes(text.substr(0, node_bytes), block.nodes)) return false;
  for (text.remove_prefix(node_bytes); !text.empty(); text.remove_prefix(kRunBytes)) {
    const auto run = get_run(text, block.nodes.size());
    if (!run) return false;
    block.runs.push_back(*run);
  }
  return true;
}

}  // namespace

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
    const std::uint64_t words = get_number(text, 56), node_bytes = get_number(text, 64),
                        runs = get_number(text, 72);
    text.remove_prefix(kEntryHead);
    if (block.offset != next || block.stored > kLargest || block.raw > kLargest || notes > 1 ||
        words % kLineWords != 0 || words / kLineWords > kMostLines || node_bytes > kLargest ||
        runs > BlockBuilder::kMostRuns || text.size() < words * 8 + node_bytes + runs * kRunBytes)
      break;
    next += block.stored;
    block.filter.resize(words);
    for (std::size_t i = 0; i < words; ++i) block.filter[i] = get_number(text, 8 * i);
    text.remove_prefix(words * 8);
    const std::size_t behind = node_bytes + runs * kRunBytes;
    if (!get_runs(text.substr(0, behind), node_bytes, block)) break;
    text.remove_prefix(behind);
    blocks.push_back(std::move(block));
  }
  return blocks;
}

}  // namespace lsn::control
