#include "lsn/control/records/alert_watch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::LogAlert;
using shared::NeighbourPage;

std::uint64_t sum_of(const Dataplane& dataplane, auto&& read) {
  std::uint64_t sum = 0;
  for (unsigned shard = 0; shard < dataplane.workers(); ++shard)
    sum += read(dataplane.worker(shard));
  return sum;
}

}  // namespace

void AlertWatch::tick(Time now) {
  if (now >= next_look_) {
    next_look_ = now + kLook;
    look_at_tables();
    look_at_links();
    look_at_losses(now);
    look_at_gates();
  }
  take_answers();
  // The workers answer when they have their first configuration.
  if (now >= next_question_ && !context_.config.busy()) {
    next_question_ = now + kQuestion;
    ask();
  }
}

void AlertWatch::set(LogAlert alert, std::string subject, bool raised) {
  bool& before = raised_[{alert, subject}];
  if (before == raised) return;
  before = raised;
  log_.set_alert({alert, shared::kNoId, std::move(subject)}, raised);
}

void AlertWatch::watch_share(LogAlert alert, std::string subject, std::uint64_t used,
                             std::uint64_t room, unsigned raise, unsigned clear) {
  const auto there = raised_.find({alert, subject});
  const bool is_raised = there != raised_.end() && there->second;
  const bool over = room != 0 && raise != 0 && used * 100 >= room * (is_raised ? clear : raise);
  set(alert, std::move(subject), over);
}

void AlertWatch::look_at_tables() {
  using shared::AlgGauge;
  struct TableOf {
    const char* name;
    std::uint64_t (*used)(const WorkerStatus&);
    std::uint64_t (*room)(const WorkerStatus&);
  };
  const auto of_protocols = [](const WorkerStatus& w,
                               shared::Counter shared::ProtocolCounters::* c) {
    std::uint64_t sum = 0;
    for (const auto& protocol : w.counters->protocols) sum += (protocol.*c).get();
    return sum;
  };
  static const auto gauge = [](const WorkerStatus& w, AlgGauge which) {
    return w.alg == nullptr ? 0 : w.alg->total.of(which).get();
  };
  static const auto protocols = of_protocols;
  static constexpr TableOf kTables[] = {
      {"sessions",
       [](const WorkerStatus& w) { return protocols(w, &shared::ProtocolCounters::sessions); },
       [](const WorkerStatus& w) { return std::uint64_t{w.capacity.sessions}; }},
      {"mappings",
       [](const WorkerStatus& w) { return protocols(w, &shared::ProtocolCounters::mappings); },
       [](const WorkerStatus& w) { return std::uint64_t{w.capacity.mappings}; }},
      {"subscribers", [](const WorkerStatus& w) { return w.counters->subscribers.get(); },
       [](const WorkerStatus& w) { return std::uint64_t{w.capacity.subscribers}; }},
      {"IKE sessions", [](const WorkerStatus& w) { return gauge(w, AlgGauge::kIkeSessions); },
       [](const WorkerStatus& w) { return std::uint64_t{w.capacity.ike_sessions}; }},
      {"ESP sessions", [](const WorkerStatus& w) { return gauge(w, AlgGauge::kEspSessions); },
       [](const WorkerStatus& w) { return std::uint64_t{w.capacity.esp_sessions}; }},
      {"gates", [](const WorkerStatus& w) { return gauge(w, AlgGauge::kGates); },
       [](const WorkerStatus& w) { return std::uint64_t{w.capacity.gates}; }},
  };
  // Of the worker that is fullest: what it cannot take no other one takes.
  for (const TableOf& table : kTables)
    for (unsigned shard = 0; shard < context_.dataplane.workers(); ++shard) {
      const WorkerStatus worker = context_.dataplane.worker(shard);
      watch_share(LogAlert::kTableUsage, fmt::format("{} of worker {}", table.name, shard),
                  table.used(worker), table.room(worker), kTableRaise, kTableClear);
    }
}

void AlertWatch::look_at_links() {
  const std::vector<shared::PortStatus> ports = context_.dataplane.ports();
  for (const shared::Interface& interface : context_.config.generation().interfaces)
    if (interface.device < ports.size()) {
      const shared::PortStatus& port = ports[interface.device];
      set(LogAlert::kLinkDown, fmt::format("interface {}", interface.name),
          !port.link_up || port.removed);
    }
}

void AlertWatch::look_at_stalls(const std::vector<SinkStatus>& sinks, Time now) {
  for (const SinkStatus& sink : sinks)
    if (sink.stalled) stalled_.try_emplace(sink.name, now);
  for (auto each = stalled_.begin(); each != stalled_.end();) {
    const bool goes_on = std::ranges::any_of(sinks, [&each](const SinkStatus& sink) {
      return sink.name == each->first && sink.stalled;
    });
    set(LogAlert::kRecordsLost, each->first, goes_on && now - each->second >= kStall);
    each = goes_on ? std::next(each) : stalled_.erase(each);
  }
}

void AlertWatch::look_at_losses(Time now) {
  const RecordsStatus status = log_.status();
  std::uint64_t lost = 0;
  for (const std::uint64_t of_kind : status.lost) lost += of_kind;
  for (const SinkStatus& sink : status.sinks) lost += sink.lost;
  look_at_stalls(status.sinks, now);
  // A sink that is gone takes its count along.
  if (lost > lost_)
    log_.note_alert({LogAlert::kRecordsLost, shared::kNoId, "records"}, lost - lost_);
  lost_ = lost;
}

void AlertWatch::look_at_gates() {
  const std::uint64_t blocked = sum_of(context_.dataplane, [](const WorkerStatus& w) {
    return w.alg == nullptr ? 0 : w.alg->total.of(shared::AlgCounter::kGateBlocked).get();
  });
  if (blocked > blocked_)
    log_.note_alert({LogAlert::kGatesBlocked, shared::kNoId, "ipsecalg"}, blocked - blocked_);
  blocked_ = blocked;
}

void AlertWatch::ask() {
  if (!pools_ && context_.config.model().records.pool_threshold.raise != 0)
    pools_.emplace(context_);
  if (!neighbours_.empty() || context_.config.generation().gateways.empty()) return;
  gateways_.clear();
  neighbours_.resize(context_.dataplane.workers());
  for (unsigned shard = 0; shard < context_.dataplane.workers(); ++shard) ask_neighbours(shard, {});
}

void AlertWatch::ask_neighbours(unsigned shard, NeighbourPage page) {
  page.rows.clear();
  page.rows.reserve(page.limit);
  context_.dataplane.ask_for<NeighbourPage>(shard, std::move(page), neighbours_[shard].ask());
}

void AlertWatch::take_answers() {
  if (pools_)
    if (const shared::Usage* const usage = pools_->take()) {
      take_pools(*usage);
      pools_.reset();
    }
  if (!neighbours_.empty()) take_neighbours();
}

void AlertWatch::take_pools(const shared::Usage& usage) {
  const auto& threshold = context_.config.model().records.pool_threshold;
  const auto& pools = context_.config.generation().pools;
  for (std::size_t id = 0; id < std::min(pools.size(), usage.pools.size()); ++id)
    watch_share(LogAlert::kPoolUsage, fmt::format("pool {}", pools[id].name),
                pools[id].present ? static_cast<std::uint64_t>(pool_percent(usage.pools[id])) : 0,
                100, threshold.raise, threshold.clear);
}

void AlertWatch::take_neighbours() {
  bool all = true;
  for (unsigned shard = 0; shard < neighbours_.size(); ++shard) {
    if (!neighbours_[shard].asked()) continue;
    auto page = neighbours_[shard].take();
    if (!page) {
      all = false;
      continue;
    }
    for (const shared::NeighbourRow& row : page->rows)
      if (row.gateway) gateways_[wire::to_string(row.ip)] |= row.reachable;
    if (!page->finished) {
      ask_neighbours(shard, std::move(*page));
      all = false;
    }
  }
  if (!all) return;
  neighbours_.clear();
  for (const auto& [address, reachable] : gateways_)
    set(LogAlert::kNeighbourUnreachable, fmt::format("next hop {}", address), !reachable);
  // One that no route leads to any more.
  for (const auto& [key, raised] : raised_)
    if (raised && key.first == LogAlert::kNeighbourUnreachable &&
        !gateways_.contains(key.second.substr(std::string_view("next hop ").size())))
      return set(key.first, key.second, false);
}

}  // namespace lsn::control
