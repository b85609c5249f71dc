#include "lsn/control/running_config.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/config/load.hpp"
#include "lsn/control/config/reload_diff.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/log.hpp"
#include "lsn/datapath/restored_map.hpp"

namespace lsn::control {
namespace {

using datapath::Generation;

/// Lines that a reload logs about removed addresses; the rest is summed up in one more.
constexpr std::size_t kMostRemovals = 20;

/// NAT addresses that `after` does not have any more, as ranges, each of one pool.
std::vector<std::string> removed_addresses(const Generation& before, const Generation& after) {
  struct Removed {
    std::uint16_t pool;
    wire::Ipv4Range range;
  };
  std::vector<Removed> removed;
  for (const auto& place : before.nat_addresses.all()) {
    const wire::Ipv4Address address{place.first};
    if (after.nat_addresses.find(address) != nullptr) continue;
    if (!removed.empty() && removed.back().pool == place.value.pool &&
        removed.back().range.last.value + 1 == address.value)
      removed.back().range.last = address;
    else
      removed.push_back({place.value.pool, {address, address}});
  }
  std::vector<std::string> lines;
  for (const Removed& each : removed) {
    if (lines.size() == kMostRemovals) {
      lines.push_back(fmt::format("and {} further ranges of NAT addresses removed",
                                  removed.size() - kMostRemovals));
      break;
    }
    lines.push_back(fmt::format("NAT address {} of pool {} removed",
                                AddressRangeSyntax::format(each.range),
                                before.pools[each.pool].name));
  }
  return lines;
}

}  // namespace

RunningConfig::RunningConfig(std::string path, Model model, Dataplane& dataplane)
    : path_(std::move(path)),
      model_(std::move(model)),
      dataplane_(dataplane),
      generation_(build_generation(model_)),
      self_(std::make_shared<RunningConfig*>(this)) {}

RunningConfig::~RunningConfig() = default;

void RunningConfig::expect(std::span<const datapath::StateRecord> records) {
  auto map = datapath::map_of_restored(*generation_, records);
  if (map == nullptr) return;
  auto generation = std::make_shared<Generation>(*generation_);
  generation->maps.push_back(std::move(map));
  generation_ = std::move(generation);
}

void RunningConfig::start() {
  publish(generation_, [this](std::uint64_t) {
    spdlog::info("in force: {}", path_);
    finished({});
  });
}

void RunningConfig::reload(Done done) {
  next_.push_back(std::move(done));
  if (!publishing_) begin();
}

void RunningConfig::begin() {
  present_ = std::exchange(next_, {});
  auto wanted = load_config(path_);
  if (!wanted) {
    std::vector<std::string> problems;
    for (const Problem& problem : wanted.error()) problems.push_back(to_string(problem));
    return refuse(std::move(problems));
  }
  if (const auto restarts = diff_for_reload(model_, *wanted); !restarts.empty()) {
    std::vector<std::string> problems;
    for (const Problem& problem : restarts) problems.push_back(to_string(problem));
    return refuse(std::move(problems));
  }
  if (*wanted == model_) {
    spdlog::info("reload: nothing has changed");
    return finished({});
  }
  const auto before = generation_;
  set_log_level(wanted->log.level);
  model_ = std::move(*wanted);
  publish(build_generation(model_, before.get()), [this, before](std::uint64_t ended) {
    for (const std::string& line : removed_addresses(*before, *generation_))
      spdlog::info("reload: {}", line);
    spdlog::info("reload: done, generation {} is in force; sessions ended: {}",
                 generation_->number, ended);
    Outcome outcome;
    outcome.ended = ended;
    finished(outcome);
  });
}

void RunningConfig::refuse(std::vector<std::string> problems) {
  for (const std::string& problem : problems) spdlog::error("{}", problem);
  spdlog::error("reload: refused for {} problem{}; nothing has changed", problems.size(),
                problems.size() == 1 ? "" : "s");
  Outcome outcome;
  outcome.problems = std::move(problems);
  finished(outcome);
}

void RunningConfig::publish(std::shared_ptr<const Generation> generation,
                            std::function<void(std::uint64_t)> then) {
  publishing_ = true;
  generation_ = generation;
  dataplane_.publish(std::move(generation), [self = std::weak_ptr(self_),
                                             next = std::move(then)](std::uint64_t ended) {
    const auto alive = self.lock();
    if (!alive) return;
    (*alive)->publishing_ = false;
    const Generation& now = *(*alive)->generation_;
    if (now.displaced != nullptr) now.displaced->settle(now.number);
    next(ended);
  });
}

void RunningConfig::finished(const Outcome& outcome) {
  Outcome answer = outcome;
  answer.generation = generation_->number;
  // Who is answered may ask for the next reload.
  for (const Done& done : std::exchange(present_, {}))
    if (done) done(answer);
  if (!publishing_ && !next_.empty()) begin();
}

void RunningConfig::drop_former_maps() {
  if (publishing_ || generation_->maps.size() <= 1) return;
  for (unsigned shard = 0; shard < dataplane_.workers(); ++shard)
    if (dataplane_.worker(shard).counters->strangers.get() != 0) return;
  auto generation = std::make_shared<Generation>(*generation_);
  ++generation->number;
  generation->maps.resize(1);
  for (datapath::Group& group : generation->groups) group.shortened = {};
  spdlog::debug("no subscriber is with a former owner any more: generation {} forgets their map",
                generation->number);
  publish(std::move(generation), [this](std::uint64_t) { finished({}); });
}

}  // namespace lsn::control
