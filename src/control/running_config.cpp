#include "lsn/control/running_config.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/config/load.hpp"
#include "lsn/control/config/reload_diff.hpp"
#include "lsn/control/config/render.hpp"
#include "lsn/control/config/static_rules.hpp"
#include "lsn/control/config/validate.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/log.hpp"
#include "lsn/shared/restored_map.hpp"

namespace lsn::control {
namespace {

using shared::Generation;

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
      generation_(build_generation(model_, nullptr, dataplane.address_classes())),
      self_(std::make_shared<RunningConfig*>(this)) {}

RunningConfig::~RunningConfig() = default;

void RunningConfig::expect(std::span<const shared::StateRecord> records) {
  auto map = shared::map_of_restored(*generation_, records);
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
    spdlog::info("reload: done, generation {} is in force; sessions ended: {}", generation_->number,
                 ended);
    Outcome outcome;
    outcome.ended = ended;
    finished(outcome);
  });
}

void RunningConfig::change(Change change, ChangeDone done) {
  asked_.push_back({std::move(change), std::move(done)});
  if (!publishing_) begin_changes();
}

std::future<SaveOutcome> RunningConfig::save(const std::string& by) {
  if (writer_ == nullptr) writer_ = std::make_unique<Errands>();
  if (writer_->outstanding() != 0) {
    std::promise<SaveOutcome> busy;
    SaveOutcome outcome;
    outcome.error = "save config: given while another is under way, allowed when it is done";
    busy.set_value(std::move(outcome));
    return busy.get_future();
  }
  const auto promise = std::make_shared<std::promise<SaveOutcome>>();
  writer_->give(
      [promise, by, path = path_, text = std::string(kSavedHeader) + render_config(model_)] {
        SaveOutcome outcome = save_config_file(path, text);
        if (outcome.error.empty())
          spdlog::info("saved by {}: {}", by, outcome.file);
        else
          spdlog::error("save config: {}", outcome.error);
        promise->set_value(std::move(outcome));
      });
  return promise->get_future();
}

RunningConfig::ChangeOutcome RunningConfig::apply_all(const Change& change, Model& model) const {
  const auto check = [](const Model& changed) {
    const std::vector<Problem> problems = check_model(changed);
    return problems.empty() ? std::string() : to_string(problems.front());
  };
  ChangeOutcome outcome;
  const Model before = model;
  for (const Edit& edit : change.edits) {
    std::vector<std::string> remarks;
    if (auto done = apply(edit, model, remarks); !done) {
      outcome.error = std::move(done.error());
      break;
    }
    outcome.remarks.push_back(std::move(remarks));
    ++outcome.applied;
  }
  complete(model);
  // All at once, as a rule; if one is wrong, one by one, to say which.
  if (change.atomic && !outcome.error.empty()) {
    model = before;
    outcome.remarks.clear();
    return outcome;
  }
  std::string problem = check(model);
  if (!problem.empty() && !change.atomic) {
    // The most edits from the first on after which all makes sense: halved, as a check of a large
    // box takes its time.
    const auto after = [&](std::size_t edits) {
      Model made = before;
      std::vector<std::string> ignored;
      for (std::size_t i = 0; i < edits; ++i) (void)apply(change.edits[i], made, ignored);
      complete(made);
      return made;
    };
    std::size_t good = 0;
    std::size_t bad = outcome.applied;
    while (bad - good > 1) {
      const std::size_t middle = good + (bad - good) / 2;
      (check(after(middle)).empty() ? good : bad) = middle;
    }
    problem = check(after(bad));
    model = after(good);
    outcome.applied = good;
    outcome.remarks.resize(good);
  }
  if (!problem.empty()) outcome.error = std::move(problem);
  if (change.atomic && !outcome.error.empty()) {
    model = before;
    outcome.remarks.clear();
  }
  return outcome;
}

void RunningConfig::begin_changes() {
  auto asked = std::make_shared<std::vector<Asked>>(std::exchange(asked_, {}));
  auto outcomes = std::make_shared<std::vector<ChangeOutcome>>();
  Model model = model_;
  for (const Asked& each : *asked) {
    outcomes->push_back(apply_all(each.change, model));
    const ChangeOutcome& outcome = outcomes->back();
    const std::size_t in_force = each.change.atomic && !outcome.error.empty() ? 0 : outcome.applied;
    for (std::size_t i = 0; i < in_force; ++i)
      spdlog::info("changed by {}: {}", each.change.by, printable(each.change.lines[i]));
    if (outcome.error.empty()) continue;
    if (outcome.applied < each.change.lines.size())
      spdlog::info("refused to {}: {}: {}", each.change.by,
                   printable(each.change.lines[outcome.applied]), outcome.error);
    else
      spdlog::info("refused to {}: {} commands together: {}", each.change.by,
                   each.change.lines.size(), outcome.error);
  }
  const auto answer = [this, asked, outcomes](std::uint64_t ended) {
    for (std::size_t i = 0; i < asked->size(); ++i) {
      (*outcomes)[i].ended = ended;
      if ((*asked)[i].done) (*asked)[i].done(std::move((*outcomes)[i]));
    }
    finished({});
  };
  if (model == model_) return answer(0);
  const auto before = generation_;
  model_ = std::move(model);
  publish(build_generation(model_, before.get()), [this, before, answer](std::uint64_t ended) {
    for (const std::string& line : removed_addresses(*before, *generation_))
      spdlog::info("change: {}", line);
    if (ended != 0) spdlog::info("change: sessions ended: {}", ended);
    answer(ended);
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
  if (watch_) watch_(model_, *generation_);
  dataplane_.publish(std::move(generation),
                     [self = std::weak_ptr(self_), next = std::move(then)](std::uint64_t ended) {
                       const auto alive = self.lock();
                       if (!alive) return;
                       (*alive)->publishing_ = false;
                       const Generation& now = *(*alive)->generation_;
                       if (now.displaced != nullptr) now.displaced->note_sweep_end(now.number);
                       next(ended);
                     });
}

void RunningConfig::finished(const Outcome& outcome) {
  Outcome answer = outcome;
  answer.generation = generation_->number;
  // The receiver of the answer may ask for the next reload.
  for (const Done& done : std::exchange(present_, {}))
    if (done) done(answer);
  if (!publishing_ && !next_.empty()) return begin();
  if (!publishing_ && !asked_.empty()) begin_changes();
}

void RunningConfig::drop_former_maps() {
  if (publishing_ || generation_->maps.size() <= 1) return;
  for (unsigned shard = 0; shard < dataplane_.workers(); ++shard)
    if (dataplane_.worker(shard).counters->displaced.get() != 0) return;
  auto generation = std::make_shared<Generation>(*generation_);
  ++generation->number;
  generation->maps.resize(1);
  for (shared::Group& group : generation->groups) group.shortened = {};
  spdlog::debug("no subscriber is with a former owner any more: generation {} forgets their map",
                generation->number);
  publish(std::move(generation), [this](std::uint64_t) { finished({}); });
}

}  // namespace lsn::control
