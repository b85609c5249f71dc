#include "lsn/control/records/find.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <thread>
#include <unordered_map>
#include <utility>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/control/records/computed_holders.hpp"
#include "lsn/control/records/file_sink.hpp"
#include "lsn/control/records/group_note.hpp"
#include "lsn/control/records/record.hpp"
#include "lsn/control/records/record_streams.hpp"
#include "lsn/control/records/recorded_spans.hpp"
#include "lsn/control/records/segment_file.hpp"
#include "lsn/control/records/segment_name.hpp"
#include "lsn/control/records/static_holders.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;
using Json = nlohmann::ordered_json;

/// Of a LOST record: of all kinds.
constexpr std::string_view kAnyKind = "any";

// ── the segments ────────────────────────────────────────────────────────────────────────────────

struct Segment {
  std::string name;  ///< without its directory
  std::string sink;  ///< its path (records.file.path); of other files their own
  SegmentFile file;
  /// The last moment of the one before it among the segments of its sink; INT64_MIN: there is none.
  std::int64_t former_ms = INT64_MIN;
};

/// A path as the sink's (records.file.path) and what tells its segments apart.
std::optional<std::pair<std::string, SegmentName>> split_path(const std::string& path) {
  for (std::size_t at = path.rfind('/') + 1; (at = path.find('-', at)) != std::string::npos; ++at)
    if (const auto name = SegmentName::parse(std::string_view(path).substr(at)))
      return std::pair{path.substr(0, at), *name};
  return std::nullopt;
}

/// A segment may have been compressed since another one named it.
std::string bare(std::string_view name) {
  if (name.ends_with(kZstdEnding)) name.remove_suffix(kZstdEnding.size());
  return std::string(name);
}

std::int64_t last_moment(const SegmentFile& file) {
  std::int64_t last = INT64_MIN;
  for (const SegmentBlock& block : file.blocks())
    if (block.records != 0) last = std::max(last, block.last_ms);
  return last;
}

/// `paths`: of `segments`, in the same order.
void link_segments(std::vector<Segment>& segments, const std::vector<std::string>& paths) {
  std::map<std::string, std::map<SegmentName, Segment*>> sinks;
  for (std::size_t i = 0; i < segments.size(); ++i)
    if (auto parts = split_path(paths[i])) sinks[parts->first][parts->second] = &segments[i];
  for (const auto& [sink, all] : sinks) {
    const Segment* former = nullptr;
    for (const auto& [name, segment] : all) {
      if (former != nullptr) segment->former_ms = last_moment(former->file);
      former = segment;
    }
  }
}

std::expected<std::vector<std::string>, std::string> expand(const std::vector<std::string>& files) {
  std::vector<std::string> paths;
  for (const std::string& file : files) {
    if (std::filesystem::is_regular_file(file)) {
      if (!file.ends_with(kIndexEnding)) paths.push_back(file);
      continue;
    }
    const std::vector<SegmentName> all = segments_of(std::filesystem::absolute(file).string());
    if (all.empty())
      return std::unexpected(complaint(fmt::format("find: {}", file), "what is no segment",
                                       "a segment or the path of a sink (records.file.path)"));
    for (const SegmentName& name : all) paths.push_back(file + name.text());
  }
  return paths;
}

/// The same of a segment and its copies, also compressed ones and by other paths.
std::string identity(const Segment& segment) {
  std::uint64_t raw = 0, records = 0;
  std::int64_t first_ms = INT64_MAX;
  std::set<std::string> nodes;
  for (const SegmentBlock& block : segment.file.blocks()) {
    raw += block.raw;
    records += block.records;
    if (block.records != 0) first_ms = std::min(first_ms, block.first_ms);
    nodes.insert(block.nodes.begin(), block.nodes.end());
  }
  return fmt::format("{} {} {} {} {} {}", bare(segment.name), raw, records, first_ms,
                     last_moment(segment.file), fmt::join(nodes, " "));
}

/// In the order of their first records, each once.
std::expected<std::vector<Segment>, std::string> open_all(const std::vector<std::string>& files) {
  const auto paths = expand(files);
  if (!paths) return std::unexpected(paths.error());
  std::vector<Segment> all;
  std::vector<std::string> kept;
  std::set<std::string> seen;
  for (const std::string& path : *paths) {
    auto file = SegmentFile::open(path);
    if (!file)
      return std::unexpected(complaint("find", file.error(), "a segment that can be read"));
    const auto parts = split_path(path);
    Segment segment{std::filesystem::path(path).filename().string(), parts ? parts->first : path,
                    std::move(*file)};
    if (!seen.insert(identity(segment)).second) continue;
    all.push_back(std::move(segment));
    kept.push_back(path);
  }
  link_segments(all, kept);
  std::stable_sort(all.begin(), all.end(), [](const Segment& a, const Segment& b) {
    const auto first = [](const Segment& s) {
      for (const SegmentBlock& block : s.file.blocks())
        if (block.records != 0) return block.first_ms;
      return INT64_MAX;
    };
    return first(a) < first(b);
  });
  return all;
}

// ── the lines ───────────────────────────────────────────────────────────────────────────────────

bool is_asked(const FindQuestion& q, const RecordLine& r) {
  if (r.nat != q.nat) return false;
  if (!q.protocol.empty() && !r.protocol.empty() && !same_word(r.protocol, q.protocol))
    return false;
  if (q.destination && r.destination && *r.destination != *q.destination) return false;
  if (q.spi) return r.kind == LogKind::kAlgSession && (r.spi_in == *q.spi || r.spi_out == *q.spi);
  if (!q.port) return true;
  if (r.kind == LogKind::kBlock) return r.first_port <= *q.port && *q.port <= r.last_port;
  return r.nat_port == q.port;
}

std::vector<SegmentKey> keys_of(const FindQuestion& q) {
  if (q.spi) return {spi_key(q.nat, *q.spi)};
  if (q.port) return {port_key(q.nat, *q.port), block_key(q.nat)};
  return {address_key(q.nat)};
}

/// As lines of each form begin and end: what is not like this is no record.
bool is_like_record(std::string_view line) {
  if (line.size() < 12 || line.find('\0') != std::string_view::npos) return false;
  if (line[0] == '{') return line.ends_with('}');
  if (line[4] == '-') return line.size() > 24 && line[10] == 'T' && line.find('Z') <= 24;
  return line[0] >= '0' && line[0] <= '9';
}

/// A block that is read, and its lines that count.
struct Work {
  const Segment* segment;
  const SegmentBlock* block;
  std::string text;
  std::vector<RecordLine> lines;  ///< in `text`
  std::uint64_t good = 0;         ///< lines
  std::uint64_t bad = 0;

  void read(const FindQuestion& q, const std::string& address) {
    text = segment->file.lines(*block);
    std::string kept;
    for (std::size_t at = 0, next; (next = text.find('\n', at)) != std::string::npos;
         at = next + 1) {
      const std::string_view line(text.data() + at, next - at);
      ++(is_like_record(line) ? good : bad);
      if (line.find(address) == std::string_view::npos &&
          (!block->has_notes || (line.find("CONFIG") == std::string_view::npos &&
                                 line.find("LOST") == std::string_view::npos)))
        continue;
      const auto record = RecordLine::parse(line);
      if (!record && is_like_record(line)) --good, ++bad;
      if (record && (record->is_note() || is_asked(q, *record))) kept.append(line) += '\n';
    }
    text = std::move(kept);
    for (std::size_t at = 0, next; (next = text.find('\n', at)) != std::string::npos; at = next + 1)
      lines.push_back(*RecordLine::parse(std::string_view(text).substr(at, next - at)));
  }
  /// What it has read is not what was in it when its index was made.
  [[nodiscard]] bool is_damaged() const {
    std::uint64_t known = 0;
    for (const SegmentRun& run : block->runs)
      if (run.of == RunOf::kUnreadable) known += run.missing;
    return good < block->records || bad > known;
  }
};

void read_all(const FindQuestion& q, std::span<Work> works) {
  const std::string address = wire::to_string(q.nat);
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    for (std::size_t i; (i = next.fetch_add(1)) < works.size();) works[i].read(q, address);
  };
  std::vector<std::thread> threads;
  const std::size_t most = std::max(1U, std::thread::hardware_concurrency());
  while (threads.size() + 1 < std::min(most, works.size())) threads.emplace_back(run);
  run();
  for (std::thread& thread : threads) thread.join();
}

// ── the holders ─────────────────────────────────────────────────────────────────────────────────

/// What both records of a thing have, but the SPIs of ESP, which may be learned in between.
std::string identity(const RecordLine& r) {
  return fmt::format("{} {} {} {} {} {} {} {} {} {}", r.node, static_cast<int>(r.kind), r.protocol,
                     r.subscriber.value, r.subscriber_port.value_or(0), r.nat_port.value_or(0),
                     r.first_port, r.destination.value_or(wire::Ipv4Address{}).value,
                     r.destination_port.value_or(0), r.td);
}

bool same_spis(const RecordLine& a, const RecordLine& b) {
  const auto agree = [](std::uint32_t x, std::uint32_t y) { return x == y && x != 0; };
  return a.kind != LogKind::kAlgSession || agree(a.spi_out, b.spi_out) || agree(a.spi_in, b.spi_in);
}

std::string subscriber_of(const RecordLine& r) {
  std::string text = wire::to_string(r.subscriber);
  if (r.subscriber_port) text += fmt::format(":{}", *r.subscriber_port);
  return text;
}

/// Follows the records in the order of time.
class Follower {
 public:
  explicit Follower(const FindQuestion& question)
      : question_(question), computed_(question), statics_(question), recorded_(question) {}

  void see(const RecordLine& r, const Segment& of) {
    if (r.kind == LogKind::kConfig) return see_config(r, of);
    if (r.kind == LogKind::kLost) return see_loss(r);
    if (r.at_ms <= question_.until_ms && !nodes_.contains(r.node)) nodes_.emplace(r.node);
    if (r.event == LogEvent::kDeleted) return see_end(r);
    if (r.event == LogEvent::kCompleted) return complete(r);
    begin(Open(r));
  }

  /// A block whose lines cannot all be read.
  void see_damage(const Segment& of, const SegmentBlock& block) {
    losses_.push_back({.from_ms = block.first_ms,
                       .until_ms = block.last_ms,
                       .words = fmt::format("{}: lines from {} to {} are damaged", of.name,
                                            utc_text(block.first_ms), utc_text(block.last_ms)),
                       .may_be_config = true});
  }

  void doubt(std::string words) { answer_.doubts.push_back(std::move(words)); }
  /// `names`: of the segments; `latest_ms`: the last moment in them.
  [[nodiscard]] FindAnswer finish(const std::set<std::string>& names, std::int64_t latest_ms,
                                  const RecordStreams& streams);

 private:
  /// A line that outlives its block.
  struct OwnLine {
    explicit OwnLine(const RecordLine& line)
        : text(std::make_unique<std::string>(line.line)), record(*RecordLine::parse(*text)) {}

    std::unique_ptr<const std::string> text;
    RecordLine record;  ///< in `text`
  };
  struct Open {
    explicit Open(const RecordLine& line) : latest(line), from_ms(line.at_ms) {}

    OwnLine latest;  ///< of ESP: with both SPIs
    std::int64_t from_ms;
  };
  struct Span {
    std::int64_t from_ms;
    std::int64_t until_ms;
    std::string words;
    // Of a loss:
    bool may_be_config = false;
    std::uint64_t records = 0;  ///< 0: not known
    std::string node{};
    std::string kind{};
  };

  /// Takes out the one that a record is about; of several (an end was lost) the latest.
  std::optional<Open> take_open(const RecordLine& r) {
    const auto there = open_.find(identity(r));
    if (there == open_.end()) return std::nullopt;
    std::vector<Open>& all = there->second;
    for (std::size_t i = all.size(); i-- > 0;) {
      if (!same_spis(all[i].latest.record, r)) continue;
      Open found = std::move(all[i]);
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
      if (all.empty()) open_.erase(there);
      return found;
    }
    return std::nullopt;
  }

  void begin(Open open) { open_[identity(open.latest.record)].push_back(std::move(open)); }

  void complete(const RecordLine& r) {
    auto open = take_open(r);
    if (!open) return begin(Open(r));
    open->latest = OwnLine(r);
    begin(std::move(*open));
  }

  void see_end(const RecordLine& r) {
    const auto open = take_open(r);
    Holder holder = holder_of(open ? open->latest.record : r);
    if (open)
      holder.from_ms = open->from_ms;
    else if (r.duration_ms)
      holder.from_ms = r.at_ms - static_cast<std::int64_t>(*r.duration_ms);
    else
      holder.from_ms.reset();
    holder.until_ms = r.at_ms;
    holder.end = r.reason.empty() ? "deleted" : std::string(r.reason);
    holder.end_line = r.line;
    take(std::move(holder));
  }

  static Holder holder_of(const RecordLine& r) {
    Holder holder;
    holder.line = r.line;
    holder.subscriber = subscriber_of(r);
    holder.td = static_cast<shared::DomainId>(r.td);
    holder.group = r.group;
    holder.from_ms = r.at_ms;
    return holder;
  }

  void take(Holder holder) {
    const bool ended_before = holder.until_ms && *holder.until_ms < question_.from_ms;
    const bool began_after = holder.from_ms && *holder.from_ms > question_.until_ms;
    if (!ended_before && !began_after) answer_.holders.push_back(std::move(holder));
  }

  /// All that a node had has gone.
  void end_all(const RecordLine& r, std::string_view why) {
    computed_.end_all(r, why);
    statics_.end_all(r, why);
    recorded_.end_all(r);
    std::erase_if(open_, [&](const auto& entry) {
      if (entry.second.front().latest.record.node != r.node) return false;
      for (const Open& open : entry.second) {
        Holder holder = holder_of(open.latest.record);
        holder.from_ms = open.from_ms;
        holder.until_ms = r.at_ms;
        holder.end = why;
        take(std::move(holder));
      }
      return true;
    });
  }

  void see_config(const RecordLine& r, const Segment& of) {
    if (r.event == LogEvent::kDeleted) {
      end_all(r, "lsnd stopped");
      spans_.push_back(
          {r.at_ms, r.at_ms, fmt::format("lsnd on {} stopped at {}", r.node, utc_text(r.at_ms))});
    } else if (r.event == LogEvent::kCreated) {
      end_all(r, "lsnd began again");
      begins_[std::string(r.node)].push_back(r.at_ms);
      spans_.push_back({r.at_ms, r.at_ms,
                        fmt::format("lsnd on {} began (again) at {}", r.node, utc_text(r.at_ms))});
    } else if (r.text.starts_with(kFollows)) {
      followed_.push_back({of.former_ms, r.at_ms, std::string(r.text.substr(kFollows.size()))});
    } else if (r.text.starts_with(kNewAddresses)) {
      recorded_.see_new(r);
    } else if (const auto note = ConfigNote::parse(r.text); !note || !see_note(r, *note)) {
      spans_.push_back({r.at_ms, r.at_ms, fmt::format("at {}: {}", utc_text(r.at_ms), r.text)});
    }
  }

  /// Whether a search knows what to do with the note.
  bool see_note(const RecordLine& r, const ConfigNote& note) {
    const auto group = GroupNote::of(note);
    if (!group) return statics_.see(r, note);
    said_ms_ = std::min(said_ms_, r.at_ms);
    computed_.see(r, *group);
    recorded_.see(r, *group);
    return true;
  }

  void see_loss(const RecordLine& r) {
    losses_.push_back(
        {.from_ms = r.lost_from_ms,
         .until_ms = r.at_ms,
         .words = fmt::format("{} record{} lost on {} between {} and {}", r.lost,
                              r.lost == 1 ? " was" : "s were", r.node, utc_text(r.lost_from_ms),
                              utc_text(r.at_ms)),
         .may_be_config = r.lost_kind == kAnyKind || r.lost_kind == to_word(LogKind::kConfig),
         .records = r.lost,
         .node = std::string(r.node),
         .kind = std::string(r.lost_kind)});
  }

  void doubt_loss(const Span& loss, std::int64_t from_ms) {
    if (loss.from_ms <= question_.until_ms && loss.until_ms >= from_ms)
      doubt(loss.words + ": what happened then may be missing");
  }
  /// Others say that they were before them.
  void doubt_missing(std::int64_t since_ms);
  /// The segments that others name and that are not among these.
  void keep_missing(const std::set<std::string>& names);
  /// Why numbers are missing is known already: a LOST record or a missing segment says it.
  [[nodiscard]] bool is_told(const RecordStreams::Lack& lack) const;
  void doubt_ends(std::int64_t latest_ms, const RecordStreams& streams);
  /// Where the records of a node end before the question's time, whatever others have.
  void doubt_ends_of(const std::set<std::string>& nodes, const RecordStreams& streams);
  /// The nodes that decide: that had the address until then. Empty: none is known to.
  [[nodiscard]] std::set<std::string> deciding_nodes() const;
  /// lsnd on all of these nodes began the last time until the question's; nullopt: of one no record
  /// says it.
  [[nodiscard]] std::optional<std::int64_t> begun_ms() const;
  /// What the records lack by their numbers and lines counts as lost.
  void see_lacks(const RecordStreams& streams);
  /// What may be missing of who had the endpoint by the records alone.
  void doubt_records();
  /// Of several holders, which one it was.
  void note_precedence();
  void doubt_several();

  const FindQuestion& question_;
  FindAnswer answer_;
  ComputedHolders computed_;
  StaticHolders statics_;
  RecordedSpans recorded_;
  std::unordered_map<std::string, std::vector<Open>> open_;  ///< by identity
  std::vector<Span> losses_;
  std::vector<Span> spans_;                                  ///< restarts and changes
  std::map<std::string, std::vector<std::int64_t>> begins_;  ///< by node
  std::set<std::string, std::less<>> nodes_;  ///< whose records have the endpoint until then
  /// Names of segments, and the times that are theirs if they are not there.
  std::vector<Span> followed_;
  std::int64_t said_ms_ = INT64_MAX;  ///< the first CONFIG record about a group
};

void Follower::keep_missing(const std::set<std::string>& names) {
  std::erase_if(followed_, [&](const Span& former) { return names.contains(bare(former.words)); });
}

void Follower::doubt_missing(std::int64_t since_ms) {
  for (const Span& former : followed_)
    if (former.until_ms > since_ms && former.from_ms <= question_.until_ms)
      doubt(fmt::format("{} is not among the segments: its records, before {}, are missing",
                        former.words, utc_text(former.until_ms)));
}

bool Follower::is_told(const RecordStreams::Lack& lack) const {
  const auto meets = [&lack](const Span& span) {
    return span.from_ms <= lack.until_ms && span.until_ms >= lack.from_ms;
  };
  std::uint64_t told = 0;
  for (const Span& loss : losses_)
    if (loss.records != 0 && loss.node == lack.node && meets(loss) &&
        (loss.kind == kAnyKind || loss.kind == to_word(lack.kind)))
      told += loss.records;
  return told >= lack.records || std::ranges::any_of(followed_, meets);
}

void Follower::see_lacks(const RecordStreams& streams) {
  std::vector<Span> more;
  for (const RecordStreams::Lack& lack : streams.lacks()) {
    const bool is_life = lack.of == RecordStreams::Lack::Of::kLife;
    if (is_life && lack.from_ms <= question_.until_ms && lack.until_ms >= question_.from_ms)
      doubt(lack.words);
    if (is_life || (lack.of == RecordStreams::Lack::Of::kNumbers && is_told(lack))) continue;
    more.push_back({.from_ms = lack.from_ms,
                    .until_ms = lack.until_ms,
                    .words = lack.words,
                    .may_be_config = lack.of == RecordStreams::Lack::Of::kAny});
  }
  losses_.insert(losses_.end(), more.begin(), more.end());
}

std::set<std::string> Follower::deciding_nodes() const {
  std::set<std::string> nodes(nodes_.begin(), nodes_.end());
  recorded_.add_nodes(nodes);
  computed_.add_nodes(nodes);
  statics_.add_nodes(nodes);
  return nodes;
}

std::optional<std::int64_t> Follower::begun_ms() const {
  const auto last_of = [this](const std::string& node) {
    std::optional<std::int64_t> last;
    if (const auto begins = begins_.find(node); begins != begins_.end())
      for (const std::int64_t ms : begins->second)
        if (ms <= question_.from_ms) last = std::max(last.value_or(INT64_MIN), ms);
    return last;
  };
  std::set<std::string> nodes = deciding_nodes();
  const bool any_will_do = nodes.empty();
  if (any_will_do)
    for (const auto& [node, begins] : begins_) nodes.insert(node);
  std::optional<std::int64_t> first;
  for (const std::string& node : nodes) {
    const auto last = last_of(node);
    if (!last && !any_will_do) return std::nullopt;
    if (last) first = std::min(first.value_or(INT64_MAX), *last);
  }
  return first;
}

void Follower::doubt_ends_of(const std::set<std::string>& nodes, const RecordStreams& streams) {
  const auto last_of = [&streams](const std::string& node) {
    const auto there = streams.nodes().find(node);
    return there == streams.nodes().end() ? RecordStreams::Node{} : there->second;
  };
  const auto reaches = [&](const std::string& node) {
    return last_of(node).last_ms >= question_.until_ms;
  };
  const bool has_another = std::ranges::any_of(nodes, reaches);
  for (const std::string& node : nodes) {
    const RecordStreams::Node last = last_of(node);
    // One that has stopped may have given the address to another.
    if (reaches(node) || (last.is_stopped && has_another)) continue;
    doubt(fmt::format("the records {}end at {}: what was later is not known",
                      streams.nodes().size() > 1 ? fmt::format("of {} ", node) : "",
                      utc_text(last.last_ms)));
  }
}

void Follower::doubt_ends(std::int64_t latest_ms, const RecordStreams& streams) {
  for (const Span& span : spans_)
    if (span.from_ms <= question_.until_ms && span.until_ms >= question_.from_ms) doubt(span.words);
  if (latest_ms == INT64_MIN)
    doubt("there is no record at all");
  else if (const auto nodes = deciding_nodes(); !nodes.empty())
    doubt_ends_of(nodes, streams);
  else if (latest_ms < question_.until_ms)
    doubt(fmt::format("the records end at {}: what was later is not known", utc_text(latest_ms)));
}

void Follower::doubt_records() {
  const FindQuestion& q = question_;
  const auto begun = begun_ms();
  if (!begun)
    doubt(
        "the records do not go back to a start of lsnd before that time: what began before them "
        "and has not ended in them is not known");
  if (!begun && said_ms_ > q.from_ms)
    doubt(fmt::format(
        "no CONFIG record says whether {} was an address of deterministic NAT then; if it was, {}",
        wire::to_string(q.nat), how_to_compute(q)));
  // A holder of all the time with both ends is certain: nobody else had the endpoint meanwhile.
  std::int64_t from = q.from_ms;
  bool certain = false;
  for (const Holder& holder : answer_.holders) {
    // What has no record of its end ended with lsnd at the latest.
    const bool has_end = !holder.end_line.empty();
    if (has_end && holder.from_ms) {
      // Another protocol's port is another endpoint.
      // An SPI may be another's at another server.
      certain = certain || (((q.spi && q.destination) || (q.port && !q.protocol.empty())) &&
                            *holder.from_ms <= q.from_ms && *holder.until_ms >= q.until_ms);
    } else {
      from = std::min(from, holder.from_ms.value_or(INT64_MIN));
      const auto record = has_end ? std::nullopt : RecordLine::parse(holder.line);
      if (record && recorded_.may_lack_end(*record, holder.from_ms.value_or(record->at_ms)))
        doubt(
            fmt::format("{} began at {}; by the CONFIG records its group's ends are not recorded "
                        "in all the time since then, so it may have ended before",
                        holder.subscriber, utc_text(holder.from_ms.value_or(record->at_ms))));
    }
  }
  // Of another protocol somebody else may have had the port since long before.
  const bool is_open = answer_.holders.empty() || (q.port && q.protocol.empty());
  if (is_open) from = std::min(from, begun.value_or(INT64_MIN));
  if (certain) return;
  // Where addresses are computed, there is nothing else to record.
  if (auto words = recorded_.doubt(); words && !computed_.has_part()) doubt(std::move(*words));
  for (const Span& loss : losses_) doubt_loss(loss, from);
}

void Follower::note_precedence() {
  const auto is_static = [](const Holder& holder) { return !holder.mapping.empty(); };
  if (question_.port && std::ranges::any_of(answer_.holders, is_static) &&
      !std::ranges::all_of(answer_.holders, is_static))
    answer_.remarks.emplace_back(
        "a static mapping has its endpoint before any block that the port lies in");
}

void Follower::doubt_several() {
  const FindQuestion& q = question_;
  std::set<std::string> subscribers;
  for (const Holder& holder : answer_.holders)
    subscribers.insert(fmt::format("{}{}", holder.subscriber.substr(0, holder.subscriber.find(':')),
                                   td_text(holder.td)));
  if (q.is_of_endpoint() && subscribers.size() > 1)
    doubt(
        fmt::format("{} subscribers had it in that time: {}{}, or a shorter time, may tell them "
                    "apart",
                    subscribers.size(), q.is_of_esp() || !q.protocol.empty() ? "" : "-protocol, ",
                    q.destination ? "the destination's port" : "the destination (-destIP)"));
}

/// Of a holder that a record of addresses or blocks alone tells of.
static bool is_of_no_session(const Holder& holder) {
  if (holder.computed || !holder.mapping.empty()) return false;
  const auto record = RecordLine::parse(holder.line);
  return !record || record->kind == LogKind::kBinding || record->kind == LogKind::kBlock;
}

FindAnswer Follower::finish(const std::set<std::string>& names, std::int64_t latest_ms,
                            const RecordStreams& streams) {
  for (const auto& [identity_of, all] : open_)
    for (const Open& open : all) {
      Holder holder = holder_of(open.latest.record);
      holder.from_ms = open.from_ms;
      take(std::move(holder));
    }
  const auto computed = computed_.covered_since();
  const auto covered = computed ? computed : statics_.covered_since();
  keep_missing(names);
  see_lacks(streams);
  doubt_missing(covered.value_or(INT64_MIN));
  doubt_ends(latest_ms, streams);
  if (!covered) doubt_records();
  // Of what is computed only the loss of a change matters.
  if (covered)
    for (const Span& loss : losses_)
      if (loss.may_be_config) doubt_loss(loss, *covered);
  computed_.add_to(answer_);
  statics_.add_to(answer_);
  note_precedence();
  doubt_several();
  if (question_.is_of_esp() && std::ranges::any_of(answer_.holders, is_of_no_session))
    doubt(
        "who had the address or a block of its ports is not who sent ESP: whose an SPI was, "
        "ALGSESSION records say (-spi)");
  std::stable_sort(answer_.holders.begin(), answer_.holders.end(),
                   [](const Holder& a, const Holder& b) {
                     return a.from_ms.value_or(INT64_MIN) < b.from_ms.value_or(INT64_MIN);
                   });
  return std::move(answer_);
}

}  // namespace

std::expected<FindAnswer, std::string> find_holders(const FindQuestion& question,
                                                    const std::vector<std::string>& files) {
  const auto segments = open_all(files);
  if (!segments) return std::unexpected(segments.error());
  const std::vector<SegmentKey> keys = keys_of(question);
  FindAnswer totals;
  std::vector<Work> works;
  std::int64_t latest_ms = INT64_MIN;
  std::set<std::string> names;
  Follower follower(question);
  RecordStreams streams;
  for (const Segment& segment : *segments) {
    ++totals.segments;
    names.insert(bare(segment.name));
    if (segment.file.damaged())
      follower.doubt(fmt::format("{}: a part of it cannot be read", segment.name));
    for (const SegmentBlock& block : segment.file.blocks()) {
      ++totals.blocks;
      totals.records += block.records;
      streams.see(segment.sink, segment.name, block);
      if (block.records == 0) continue;
      latest_ms = std::max(latest_ms, block.last_ms);
      const bool may = std::any_of(keys.begin(), keys.end(),
                                   [&](SegmentKey key) { return block.may_have(key); });
      if (may || block.has_notes) works.push_back({&segment, &block, {}, {}});
    }
  }
  // Some at a time, so that the records of an address need not all be in memory.
  constexpr std::size_t kAtOnce = 64;
  for (std::size_t i = 0; i < works.size(); i += kAtOnce) {
    const auto some = std::span(works).subspan(i, std::min(kAtOnce, works.size() - i));
    read_all(question, some);
    for (Work& work : some) {
      for (const RecordLine& line : work.lines) follower.see(line, *work.segment);
      if (work.is_damaged()) follower.see_damage(*work.segment, *work.block);
      work = Work{work.segment, work.block, {}, {}};
    }
  }
  streams.finish();
  FindAnswer answer = follower.finish(names, latest_ms, streams);
  answer.segments = totals.segments;
  answer.records = totals.records;
  answer.blocks = totals.blocks;
  answer.blocks_read = works.size();
  return answer;
}

namespace {

std::string question_text(const FindQuestion& q) {
  std::string text = wire::to_string(q.nat);
  if (q.port) text += fmt::format(":{}", *q.port);
  if (q.spi) text += fmt::format(" SPI 0x{:08x}", *q.spi);
  if (q.destination) text += fmt::format(" to {}", wire::to_string(*q.destination));
  if (q.is_one_second()) return text + fmt::format(" in the second {}", utc_text(q.from_ms));
  return text + (q.from_ms == q.until_ms
                     ? fmt::format(" at {}", utc_text(q.from_ms))
                     : fmt::format(" from {} to {}", utc_text(q.from_ms), utc_text(q.until_ms)));
}

std::string to_text(const Holder& holder) {
  std::string text = fmt::format("  {}{} ", holder.subscriber, td_text(holder.td));
  text += holder.mapping.empty() ? fmt::format("of group {}", holder.group)
                                 : fmt::format("by static mapping {}", holder.mapping);
  if (holder.computed)
    text += fmt::format(", computed: {} is its block", range_text(*holder.computed));
  text += fmt::format("\n    from   {}\n",
                      holder.from_ms ? utc_text(*holder.from_ms) : "not known, before the records");
  text +=
      fmt::format("    until  {}\n",
                  holder.until_ms ? fmt::format("{} ({})", utc_text(*holder.until_ms), holder.end)
                  : holder.computed || !holder.mapping.empty() ? "in force where the records end"
                                                               : "its end is in no record");
  text += fmt::format("    record {}\n", holder.line);
  if (!holder.end_line.empty() && holder.end_line != holder.line)
    text += fmt::format("    end    {}\n", holder.end_line);
  return text;
}

Json json_of(const FindAnswer& answer) {
  Json holders = Json::array();
  for (const Holder& holder : answer.holders) {
    Json one{{"subscriber", holder.subscriber}};
    put_td(one, holder.td);
    if (holder.mapping.empty())
      one["group"] = holder.group;
    else
      one["static"] = holder.mapping;
    one["from"] = holder.from_ms ? Json(utc_text(*holder.from_ms)) : Json();
    one["until"] = holder.until_ms ? Json(utc_text(*holder.until_ms)) : Json();
    one["end"] = holder.end;
    one["computed"] = holder.computed.has_value();
    if (holder.computed) {
      one["firstPort"] = holder.computed->first;
      one["lastPort"] = holder.computed->last;
    }
    one["record"] = holder.line;
    one["endRecord"] = holder.end_line;
    holders.push_back(std::move(one));
  }
  return Json{{"holders", std::move(holders)}, {"sure", answer.doubts.empty()},
              {"doubts", answer.doubts},       {"remarks", answer.remarks},
              {"segments", answer.segments},   {"records", answer.records},
              {"blocks", answer.blocks},       {"blocksRead", answer.blocks_read}};
}

}  // namespace

std::string to_text(const FindQuestion& question, const FindAnswer& answer, Format format) {
  if (format == Format::kJson) return document(json_of(answer));
  std::string text = question_text(question) + "\n\n";
  for (const Holder& holder : answer.holders) text += to_text(holder);
  if (answer.holders.empty()) text += "  nobody, as far as the records say\n";
  text += '\n';
  for (const std::string& remark : answer.remarks) text += remark + '\n';
  if (answer.doubts.empty()) text += "sure: nothing is missing in the records\n";
  for (const std::string& doubt : answer.doubts) text += fmt::format("not sure: {}\n", doubt);
  return text + fmt::format("{} records in {} segment{}, {} of {} blocks read\n",
                            grouped(answer.records), answer.segments,
                            answer.segments == 1 ? "" : "s", grouped(answer.blocks_read),
                            grouped(answer.blocks));
}

}  // namespace lsn::control
