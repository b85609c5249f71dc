#include "lsn/control/records/log_thread.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/quiet_thread.hpp"
#include "lsn/control/records/config_note.hpp"
#include "lsn/control/records/file_sink.hpp"
#include "lsn/control/records/group_note.hpp"
#include "lsn/control/records/ipfix_sink.hpp"
#include "lsn/control/records/static_note.hpp"
#include "lsn/control/records/syslog_sink.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;
using shared::LogRecord;
using std::chrono::steady_clock;
using std::chrono::system_clock;

/// A sink of the configuration, and how it is made.
struct Wanted {
  std::string name;
  std::string settings;
  std::unique_ptr<RecordSink> (*make)(const Model& model, std::size_t index);
  std::size_t index;
};

std::vector<Wanted> wanted_sinks(const Model& model) {
  std::vector<Wanted> all;
  for (std::size_t i = 0; i < model.records.file.size(); ++i) {
    const RecordFileConfig& file = model.records.file[i];
    all.push_back(
        {fmt::format("file {}", file.path),
         fmt::format("{} {} {} {} {} {}", file.path, file.rotate_size, file.rotate_time.count(),
                     file.keep, to_word(file.compress), to_word(file.format)),
         [](const Model& m, std::size_t index) -> std::unique_ptr<RecordSink> {
           return std::make_unique<FileSink>(m.records.file[index]);
         },
         i});
  }
  for (std::size_t i = 0; i < model.records.syslog.size(); ++i) {
    const RecordSyslogConfig& syslog = model.records.syslog[i];
    const std::string name = SyslogSink::name_of(syslog);
    all.push_back({name,
                   fmt::format("{} {} {} {}", name, to_word(syslog.facility),
                               to_word(syslog.format), syslog.ca_file),
                   [](const Model& m, std::size_t index) -> std::unique_ptr<RecordSink> {
                     return std::make_unique<SyslogSink>(m.records.syslog[index]);
                   },
                   i});
  }
  for (std::size_t i = 0; i < model.records.ipfix.size(); ++i) {
    const RecordIpfixConfig& ipfix = model.records.ipfix[i];
    const std::string name = IpfixSink::name_of(ipfix);
    all.push_back({name,
                   fmt::format("{} {} {}", name, ipfix.domain, ipfix.template_refresh.count()),
                   [](const Model& m, std::size_t index) -> std::unique_ptr<RecordSink> {
                     return std::make_unique<IpfixSink>(m.records.ipfix[index]);
                   },
                   i});
  }
  return all;
}

}  // namespace

LogThread::LogThread(Dataplane& dataplane, const Model& model, const shared::Generation& generation)
    : clock_(steady_clock::now(), system_clock::now()), tick_zero_(dataplane.tick_zero()) {
  now_ = steady_clock::now();
  for (unsigned shard = 0; shard < dataplane.workers(); ++shard) {
    Ring& ring = rings_.emplace_back();
    ring.ring = dataplane.log_records(shard);
    ring.sound_ms = clock_.at(now_);
  }
  add_config(LogEvent::kCreated,
             fmt::format("lsnd {} with {} worker{}", LSN_VERSION, dataplane.workers(),
                         dataplane.workers() == 1 ? "" : "s"));
  configure(model, generation);
  thread_ = quiet_thread([this] { run(); });
}

LogThread::~LogThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  woken_.notify_all();
  thread_.join();
  for (const Runner& runner : leaving_) runner->end();
  for (const Sink& sink : sinks_) sink.runner->end();
  const auto deadline = steady_clock::now() + kPatience;
  for (const Sink& sink : sinks_) {
    const auto left = std::max(deadline - steady_clock::now(), steady_clock::duration::zero());
    if (!sink.runner->wait(std::chrono::duration_cast<std::chrono::milliseconds>(left)))
      spdlog::error("records: {} does not come to its end: {} records are lost", sink.name,
                    sink.runner->status().waiting);
  }
}

void LogThread::configure(const Model& model, const shared::Generation& generation) {
  std::shared_ptr<const RecordNames> before;
  {
    const std::lock_guard lock(mutex_);
    before = names_;
  }
  auto names = RecordNames::of(model, generation, before.get());
  {
    const std::lock_guard lock(mutex_);
    names_ = std::move(names);
  }
  note_changes(model, set_sinks(model));
}

namespace {

/// By its subject, what CONFIG records say; empty: nothing.
std::map<std::string, std::string> described(const Model& model) {
  std::map<std::string, std::string> all;
  for (const GroupConfig& group : model.lsn.group)
    all[group_subject(group.name)] = group_settings(model, group);
  const auto& statics = model.lsn.statics;
  if (!statics.empty()) all[std::string(kAllStatics)] = all_statics_settings(statics.size());
  if (statics.size() <= kMostStaticNotes)
    for (const StaticConfig& mapping : statics)
      all[static_subject(mapping.name)] = static_settings(mapping);
  return all;
}

std::vector<wire::Ipv4Range> translated(const Model& model) {
  std::vector<wire::Ipv4Range> all;
  for (const GroupConfig& group : model.lsn.group)
    for (const std::string& name : group.poolname)
      if (const PoolConfig* pool = find_by_name(model.lsn.pool, name))
        for (const wire::Ipv4Range& range : nat_ranges(model, *pool)) all.push_back(range);
  return all;
}

/// What of a range is in none of the others.
std::vector<wire::Ipv4Range> without(wire::Ipv4Range range,
                                     const std::vector<wire::Ipv4Range>& others) {
  std::vector<wire::Ipv4Range> left{range};
  for (const wire::Ipv4Range& other : others) {
    std::vector<wire::Ipv4Range> next;
    for (const wire::Ipv4Range& piece : left) {
      if (other.last < piece.first || piece.last < other.first) {
        next.push_back(piece);
        continue;
      }
      if (piece.first < other.first)
        next.push_back({piece.first, wire::Ipv4Address{other.first.value - 1}});
      if (other.last < piece.last)
        next.push_back({wire::Ipv4Address{other.last.value + 1}, piece.last});
    }
    left = std::move(next);
  }
  return left;
}

}  // namespace

void LogThread::note_new_addresses(const Model& model) {
  std::vector<wire::Ipv4Range> now = translated(model);
  std::string words;
  for (const wire::Ipv4Range& range : now)
    for (const wire::Ipv4Range& piece : without(range, translated_))
      words += fmt::format("{}{}", words.empty() ? "" : ConfigNote::kBetween,
                           AddressRangeSyntax::format(piece));
  translated_ = std::move(now);
  // When lsnd begins all are new.
  if (thread_.joinable() && !words.empty())
    add_config(LogEvent::kCompleted, fmt::format("{}{}", kNewAddresses, words));
}

void LogThread::note_changes(const Model& model, NewSinks sinks) {
  std::map<std::string, std::string> now = described(model);
  const bool has_statics = model.lsn.statics.size() <= kMostStaticNotes;
  note_new_addresses(model);
  // What ends is said before what takes its place.
  for (const auto& [subject, settings] : described_)
    if (!settings.empty() && !now.contains(subject))
      add_config(LogEvent::kCompleted, has_statics || !subject.starts_with(kStaticSubject)
                                           ? removed_note(subject)
                                           : config_note(subject, {}));
  for (const auto& [subject, settings] : now) {
    const auto before = described_.find(subject);
    const bool is_new = before == described_.end();
    // A group that never logged is in no record; of one that begins to, what exists is in none.
    const bool is_late = !is_new && before->second.empty();
    if (is_late && !settings.empty()) add_config(LogEvent::kCompleted, config_note(subject, {}));
    if (is_new ? !settings.empty() : before->second != settings)
      add_config(LogEvent::kCompleted, config_note(subject, settings));
    else if (sinks == NewSinks::kSome && !settings.empty())
      add_config(LogEvent::kCompleted, repeated_note(config_note(subject, settings)));
  }
  described_ = std::move(now);
}

LogThread::NewSinks LogThread::set_sinks(const Model& model) {
  std::vector<Sink> next;
  std::vector<Runner> leaving;
  std::vector<Sink> former;
  {
    const std::lock_guard lock(mutex_);
    former = sinks_;
  }
  const std::vector<Wanted> all = wanted_sinks(model);
  const auto is_wanted = [&all](const Sink& sink) {
    return std::any_of(all.begin(), all.end(),
                       [&sink](const Wanted& w) { return w.settings == sink.settings; });
  };
  for (const Sink& sink : former)
    if (!is_wanted(sink)) {
      leaving.push_back(sink.runner);
      spdlog::info("records: {} ends, or begins again with other settings", sink.name);
    }
  NewSinks sinks = NewSinks::kNone;
  for (const Wanted& wanted : all) {
    const auto known = std::find_if(former.begin(), former.end(), [&wanted](const Sink& sink) {
      return sink.settings == wanted.settings;
    });
    if (known != former.end()) {
      next.push_back(*known);
      continue;
    }
    const auto same = std::find_if(former.begin(), former.end(), [&wanted](const Sink& sink) {
      return sink.name == wanted.name;
    });
    sinks = NewSinks::kSome;
    next.push_back({wanted.name, wanted.settings,
                    std::make_shared<SinkRunner>(wanted.name, wanted.make(model, wanted.index),
                                                 same == former.end() ? nullptr : same->runner),
                    same == former.end() && thread_.joinable()});
  }
  const std::lock_guard lock(mutex_);
  sinks_ = std::move(next);
  leaving_.insert(leaving_.end(), leaving.begin(), leaving.end());
  return sinks;
}

void LogThread::add(const Record& record, std::string words) {
  const std::lock_guard lock(mutex_);
  added_.push_back({record, std::move(words)});
}

void LogThread::set_alert(const AlertSubject& subject, bool raised) {
  const std::lock_guard lock(mutex_);
  alerted_.push_back({subject, 0, raised});
}

void LogThread::note_alert(const AlertSubject& subject, std::uint64_t times) {
  const std::lock_guard lock(mutex_);
  alerted_.push_back({subject, times, true});
}

void LogThread::add_config(LogEvent event, std::string words) {
  Record record;
  record.raw.kind = LogKind::kConfig;
  record.raw.event = event;
  record.raw.group = shared::kNoId;
  add(record, std::move(words));
}

RecordsStatus LogThread::status() const {
  RecordsStatus status;
  for (std::size_t k = 0; k < shared::kLogKinds; ++k) {
    status.taken[k] = taken_[k].get();
    for (const Ring& ring : rings_)
      if (ring.ring != nullptr) status.lost[k] += ring.ring->lost(static_cast<LogKind>(k));
  }
  const std::lock_guard lock(mutex_);
  for (const Sink& sink : sinks_) status.sinks.push_back(sink.runner->status());
  status.alerts = alert_status_;
  return status;
}

void LogThread::run() {
  for (;;) {
    const bool any = round(Rings::kTaken) != 0;
    std::unique_lock lock(mutex_);
    if (ending_) break;
    if (!any) woken_.wait_for(lock, kPause, [this] { return ending_; });
  }
  // As much as was in the rings then, and no more: the workers have not stopped. Whatever ends the
  // stream has to be its last word.
  constexpr std::size_t kLastRounds = shared::LogRing::kCapacity / kBatch + 1;
  for (std::size_t i = 0; i < kLastRounds && round(Rings::kTaken) != 0; ++i) continue;
  add_config(LogEvent::kDeleted, "lsnd stops");
  round(Rings::kLeft);
}

std::int64_t LogThread::time_of(state::Ticks tick) const {
  using Span = std::chrono::duration<std::int64_t, std::centi>;
  // The count of ticks wraps: it is the moment near to now.
  const auto now = std::chrono::floor<Span>(now_ - tick_zero_).count();
  const auto behind = static_cast<std::int32_t>(static_cast<std::uint32_t>(now) - tick.value);
  return clock_.at(tick_zero_ + Span{now - behind});
}

std::size_t LogThread::take(std::uint8_t worker, RecordBatch& batch) {
  Ring& ring = rings_[worker];
  if (ring.ring == nullptr) return 0;
  // Read first: what is counted by then is lost before the last of the records.
  shared::ByLogKind<std::uint64_t> lost{};
  for (std::size_t k = 0; k < shared::kLogKinds; ++k)
    lost[k] = ring.ring->lost(static_cast<LogKind>(k));
  const std::size_t taken = ring.ring->take(kBatch, [&](const LogRecord& raw) {
    if (raw.kind == LogKind::kAlert) {
      const std::vector<RecordNames::Group>& groups = batch.names->groups;
      alerts_.happened({raw.alert, raw.group, {}}, raw.totals.count, clock_.at(now_),
                       raw.group < groups.size() ? groups[raw.group].alerts : 0);
      taken_[raw.kind].add();
      return;
    }
    Record& record = batch.records.emplace_back();
    record.raw = raw;
    if (!LogRecord::has_totals(raw.kind, raw.event)) record.raw.totals = {};
    std::uint64_t& next = ring.next[raw.kind];
    record.sequence =
        next + static_cast<std::uint32_t>(raw.sequence - static_cast<std::uint32_t>(next));
    next = record.sequence + 1;
    ring.latest_ms = std::max(ring.latest_ms, time_of(raw.at));
    record.at_ms = ring.latest_ms;
    record.worker = worker;
    taken_[raw.kind].add();
  });
  const std::int64_t now_ms = std::max(clock_.at(now_), ring.latest_ms);
  bool sound = true;
  for (std::size_t k = 0; k < shared::kLogKinds; ++k) {
    const std::uint64_t more = lost[k] - std::exchange(ring.lost_told[k], lost[k]);
    if (more == 0) continue;
    sound = false;
    batch.records.push_back(lost_record({more, ring.sound_ms, now_ms}, worker,
                                        static_cast<LogKind>(k), own_next_[LogKind::kLost]++));
  }
  if (sound) ring.sound_ms = ring.latest_ms != 0 && taken == kBatch ? ring.latest_ms : now_ms;
  return taken;
}

void LogThread::take_added(RecordBatch& batch, std::vector<Added> added) {
  for (Added& each : added) {
    Record record = each.record;
    record.sequence = own_next_[record.raw.kind]++;
    record.at_ms = clock_.at(now_);
    batch.add(record, std::move(each.words));
  }
}

void LogThread::take_alerts(RecordBatch& batch, const std::vector<Alerted>& alerted) {
  const std::int64_t now_ms = clock_.at(now_);
  for (const Alerted& each : alerted)
    if (each.times != 0)
      alerts_.happened(each.subject, each.times, now_ms);
    else
      alerts_.holds(each.subject, each.raised, now_ms);
  alerts_.tick(now_ms);
  for (AlertBook::Told& told : alerts_.take()) {
    Record record;
    record.raw.kind = LogKind::kAlert;
    record.raw.event = told.event;
    record.raw.alert = told.subject.alert;
    record.raw.group = told.subject.group;
    record.raw.totals.count = told.count;
    record.sequence = own_next_[LogKind::kAlert]++;
    record.at_ms = now_ms;
    if (told.subject.words.empty())
      batch.records.push_back(record);
    else
      batch.add(record, std::move(told.subject.words));
  }
}

void LogThread::look_at_clock() {
  const auto step = clock_.look(now_, system_clock::now());
  if (step.count() == 0) return;
  add_config(LogEvent::kCompleted,
             fmt::format("the clock of the system was set {} by {} ms{}",
                         step.count() < 0 ? "back" : "forward", std::abs(step.count()),
                         step.count() < 0 ? "; times go on at half speed until they agree" : ""));
}

void LogThread::tell_begin(const std::vector<Runner>& sinks) {
  Record record;
  record.raw.kind = LogKind::kConfig;
  record.raw.event = LogEvent::kCompleted;
  record.raw.group = shared::kNoId;
  record.sequence = own_next_[LogKind::kConfig]++;
  record.at_ms = clock_.at(now_);
  auto batch = std::make_shared<RecordBatch>();
  {
    const std::lock_guard lock(mutex_);
    batch->names = names_;
  }
  batch->add(record, std::string(kBegins));
  const std::shared_ptr<const RecordBatch> done = std::move(batch);
  for (const Runner& sink : sinks) sink->give(done);
}

std::size_t LogThread::round(Rings rings) {
  now_ = steady_clock::now();
  look_at_clock();
  std::vector<Runner> runners, beginning;
  std::vector<Added> added;
  std::vector<Alerted> alerted;
  auto batch = std::make_shared<RecordBatch>();
  {
    const std::lock_guard lock(mutex_);
    batch->names = names_;
    added = std::exchange(added_, {});
    alerted = std::exchange(alerted_, {});
    alert_status_ = alerts_.status();
    // Not before: a batch may have been on its way to them.
    for (const Runner& runner : std::exchange(leaving_, {})) runner->end();
    for (Sink& sink : sinks_) {
      runners.push_back(sink.runner);
      if (std::exchange(sink.begins, false)) beginning.push_back(sink.runner);
    }
  }
  if (!beginning.empty()) tell_begin(beginning);
  take_added(*batch, std::move(added));
  std::size_t taken = 0;
  for (std::size_t worker = 0; rings == Rings::kTaken && worker < rings_.size(); ++worker)
    taken += take(static_cast<std::uint8_t>(worker), *batch);
  take_alerts(*batch, alerted);
  if (batch->records.empty()) return 0;
  const std::shared_ptr<const RecordBatch> done = std::move(batch);
  for (const Runner& runner : runners) runner->give(done);
  return taken;
}

}  // namespace lsn::control
