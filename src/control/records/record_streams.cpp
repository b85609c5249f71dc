#include "lsn/control/records/record_streams.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "lsn/control/records/record.hpp"

namespace lsn::control {
namespace {

constexpr std::int64_t kNever = INT64_MIN;

std::string between(std::int64_t from_ms, std::int64_t until_ms) {
  if (from_ms == kNever) return fmt::format("before {}", utc_text(until_ms));
  if (until_ms == INT64_MAX) return fmt::format("since {}", utc_text(from_ms));
  return fmt::format("between {} and {}", utc_text(from_ms), utc_text(until_ms));
}

std::string counted(std::uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

void RecordStreams::see(const std::string& sink, const std::string& segment,
                        const SegmentBlock& block) {
  auto& latest = latest_.try_emplace(sink, kNever).first->second;
  if (const auto open = open_lacks_.find(sink); open != open_lacks_.end() && block.records != 0) {
    lacks_[open->second].until_ms = block.first_ms;
    open_lacks_.erase(open);
  }
  for (const SegmentRun& run : block.runs) {
    if (run.of != RunOf::kUnreadable) {
      see(sink, block.nodes[run.node], run);
      continue;
    }
    Lack lack{.of = Lack::Of::kAny, .node = {}, .words = {}};
    lack.from_ms = run.first_ms == kNever ? latest : run.first_ms;
    lack.until_ms = run.last_ms;
    lack.words = fmt::format("{}: {} cannot be read", segment, counted(run.missing, "line"));
    if (run.last_ms == INT64_MAX) open_lacks_[sink] = lacks_.size();
    lacks_.push_back(std::move(lack));
  }
  if (block.records != 0) latest = std::max(latest, block.last_ms);
}

void RecordStreams::see(const std::string& sink, const std::string& node, const SegmentRun& run) {
  Place& place = places_[{sink, node}];
  if (run.of == RunOf::kStart) {
    Life& life = lives_[node][run.first_ms];
    life.has_start = true;
    life.last_ms = std::max(life.last_ms, run.last_ms);
    place = Place{};
    place.life = run.first_ms;
    place.last_ms = run.last_ms;
    return;
  }
  if (run.of == RunOf::kBegin) return see_begin(place, node, run);
  if (place.stopped_ms) begin_hidden(place, node, *place.stopped_ms, run.first_ms);
  see_numbers(place, node, run);
  place.last_ms = std::max(place.last_ms, run.last_ms);
}

void RecordStreams::see_begin(Place& place, const std::string& node, const SegmentRun& run) {
  std::int64_t last_ms = place.last_ms;
  for (const auto& [where, other] : places_)
    if (where.second == node && other.last_ms <= run.first_ms)
      last_ms = std::max(last_ms, other.last_ms);
  if (last_ms == kNever) return;  // the records do not go back to a start
  lacks_.push_back({.of = Lack::Of::kAny,
                    .node = node,
                    .from_ms = last_ms,
                    .until_ms = run.first_ms,
                    .words = fmt::format("the sink on {} that a reload added has no records {}",
                                         node, between(last_ms, run.first_ms))});
}

void RecordStreams::begin_hidden(Place& place, const std::string& node, std::int64_t from_ms,
                                 std::int64_t until_ms) {
  lacks_.push_back({.of = Lack::Of::kAny,
                    .node = node,
                    .from_ms = from_ms,
                    .until_ms = until_ms,
                    .words = fmt::format("lsnd on {} began without a record of it {}", node,
                                         between(from_ms, until_ms))});
  place = Place{};
  place.life = until_ms;
  place.last_ms = until_ms;
}

void RecordStreams::see_numbers(Place& place, const std::string& node, const SegmentRun& run) {
  const Stream stream{run.worker, run.kind};
  const bool is_of_worker = run.of == RunOf::kRecords && run.worker != SegmentRun::kControl;
  if (is_of_worker) {
    const auto before = place.latest.find(stream);
    // Numbers do not go back but where lsnd begins.
    if (before != place.latest.end() && run.first <= before->second.last)
      begin_hidden(place, node, place.last_ms, run.first_ms);
    place.latest.insert_or_assign(stream, run);
  }
  if (!place.life) {
    early_.emplace_back(node, run);
    return;
  }
  Life& life = lives_[node][*place.life];
  life.last_ms = std::max(life.last_ms, run.last_ms);
  if (run.of == RunOf::kStop) {
    life.stopped_ms = run.last_ms;
    place.stopped_ms = run.last_ms;
  } else if (is_of_worker) {
    std::vector<SegmentRun>& runs = life.runs[stream];
    if (!runs.empty() && runs.back().last + 1 == run.first) {
      runs.back().last = run.last;
      runs.back().last_ms = std::max(runs.back().last_ms, run.last_ms);
    } else {
      runs.push_back(run);
    }
  }
}

void RecordStreams::place_early() {
  for (const auto& [node, run] : early_) {
    auto& lives = lives_[node];
    auto after = lives.upper_bound(run.first_ms);
    if (after == lives.begin()) after = std::next(lives.try_emplace(kNever).first);
    Life& life = std::prev(after)->second;
    life.last_ms = std::max(life.last_ms, run.last_ms);
    if (run.of == RunOf::kStop)
      life.stopped_ms = run.last_ms;
    else if (run.worker != SegmentRun::kControl)
      life.runs[{run.worker, run.kind}].push_back(run);
  }
}

void RecordStreams::find_gaps(const std::string& node, std::int64_t begun_ms, Life& life) {
  for (auto& [stream, runs] : life.runs) {
    std::ranges::sort(runs, {}, &SegmentRun::first);
    const auto lack = [&, &of = stream](std::uint64_t first, std::uint64_t last,
                                        std::int64_t from_ms, std::int64_t until_ms) {
      const std::uint64_t count = last - first + 1;
      lacks_.push_back({.of = Lack::Of::kNumbers,
                        .node = node,
                        .kind = of.second,
                        .records = count,
                        .from_ms = std::min(from_ms, until_ms),
                        .until_ms = std::max(from_ms, until_ms),
                        .words = fmt::format(
                            "{} of {} of worker {} on {} {} missing {} (seq {}-{})",
                            counted(count, "record"), to_word(of.second), of.first, node,
                            count == 1 ? "is" : "are", between(from_ms, until_ms), first, last)});
    };
    std::uint64_t next = 0;
    std::int64_t last_ms = begun_ms;
    bool is_known = life.has_start;  // where the numbers begin
    for (const SegmentRun& run : runs) {
      if (is_known && run.first > next) lack(next, run.first - 1, last_ms, run.first_ms);
      if (!is_known || run.last >= next) {
        next = run.last + 1;
        last_ms = run.last_ms;
      }
      is_known = true;
    }
  }
}

void RecordStreams::find_ends(const std::string& node, const std::map<std::int64_t, Life>& lives) {
  const Life* before = nullptr;
  for (const auto& [begun_ms, life] : lives) {
    if (life.has_start && before != nullptr && !before->stopped_ms)
      lacks_.push_back({.of = Lack::Of::kLife,
                        .node = node,
                        .from_ms = std::min(before->last_ms, begun_ms),
                        .until_ms = begun_ms,
                        .words = fmt::format("lsnd on {} began at {} without a stop before it: "
                                             "what was after its last record, at {}, is not known",
                                             node, utc_text(begun_ms), utc_text(before->last_ms))});
    before = &life;
  }
}

void RecordStreams::finish() {
  place_early();
  for (auto& [name, lives] : lives_) {
    Node& node = nodes_[name];
    for (auto& [begun_ms, life] : lives) {
      if (life.has_start && !node.first_start_ms) node.first_start_ms = begun_ms;
      if (life.last_ms >= node.last_ms) node.is_stopped = life.stopped_ms == life.last_ms;
      node.last_ms = std::max(node.last_ms, life.last_ms);
      find_gaps(name, begun_ms, life);
    }
    find_ends(name, lives);
  }
}

}  // namespace lsn::control
