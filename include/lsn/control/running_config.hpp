// The configuration in force, and how it is replaced.
//
// A reload goes through everything before it changes anything: read and check the file, see whether
// it needs a restart, build a generation behind the present one, publish it. From then on it is in
// force; it is done when every worker works with it and has ended the sessions that it does not
// allow. One at a time: all requests that come meanwhile are answered by one further reload, which
// begins when the present one is done and reads the file again. Every outcome is logged.
//
// A command changes a copy of the model and goes the same way from there: check, generation,
// publish. The file stays as it is until an operator saves; a reload goes back to it.
//
// A subscriber whose owner a reload has changed stays where its state is (shard_map.hpp). When
// every worker has gone through its subscribers the former map is not looked up any more; when no
// worker counts displaced subscribers any more, it is dropped by a generation that differs in
// nothing else.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lsn/control/config/edit.hpp"
#include "lsn/control/config/model.hpp"
#include "lsn/control/config/save.hpp"
#include "lsn/control/dataplane.hpp"
#include "lsn/control/errands.hpp"
#include "lsn/shared/records.hpp"

namespace lsn::control {

class RunningConfig {
 public:
  struct Outcome {
    std::vector<std::string> problems;  ///< one line each; then nothing has changed
    std::uint64_t generation = 0;       ///< in force
    std::uint64_t ended = 0;            ///< sessions that were not allowed any more
  };
  using Done = std::function<void(Outcome)>;

  /// `model` is the content of `path` at start. The dataplane outlives it.
  RunningConfig(std::string path, Model model, Dataplane& dataplane);
  ~RunningConfig();
  RunningConfig(const RunningConfig&) = delete;
  RunningConfig& operator=(const RunningConfig&) = delete;

  /// Called with each configuration, right before its generation goes to the workers.
  using Watch = std::function<void(const Model& model, const shared::Generation& generation)>;
  void watch(Watch watch) { watch_ = std::move(watch); }

  /// Publishes the first generation.
  void start();

  [[nodiscard]] const Model& model() const { return model_; }
  /// The newest one that was published.
  [[nodiscard]] const shared::Generation& generation() const { return *generation_; }
  [[nodiscard]] const std::string& path() const { return path_; }

  void reload(Done done);
  /// One user's commands: their edits of a model, one after the other.
  struct Change {
    std::vector<Edit> edits;
    std::string by;                  ///< "root (uid 0)"
    std::vector<std::string> lines;  ///< as they were typed, for the log
    /// All edits or none; otherwise those before the first that is refused.
    bool atomic = false;
  };
  struct ChangeOutcome {
    std::size_t applied = 0;  ///< of the edits, from the first on
    std::string error;        ///< why the next one is refused; empty: all are in force
    std::vector<std::vector<std::string>> remarks;  ///< by edit: the ignored parts
    std::uint64_t ended = 0;                        ///< sessions that are not allowed any more
  };
  using ChangeDone = std::function<void(ChangeOutcome)>;
  /// Carries out a change by the same check and the same generations as a reload: it is done when
  /// it is in force. Changes that are asked for meanwhile go into one further generation.
  void change(Change change, ChangeDone done);
  /// Writes the configuration in force to the file, on a thread of its own.
  [[nodiscard]] std::future<SaveOutcome> save(const std::string& by);
  /// Whether a generation is on its way to the workers.
  [[nodiscard]] bool busy() const { return publishing_; }

  /// Before start(): the records to be restored. Their clients belong to the shards of their NAT
  /// addresses.
  void expect(std::span<const shared::StateRecord> records);

  /// Called now and then: drops the former map if no subscriber is displaced.
  void drop_former_maps();

 private:
  struct Asked {
    Change change;
    ChangeDone done;
  };

  void begin();
  void begin_changes();
  [[nodiscard]] ChangeOutcome apply_all(const Change& change, Model& model) const;
  void refuse(std::vector<std::string> problems);
  void publish(std::shared_ptr<const shared::Generation> generation,
               std::function<void(std::uint64_t ended)> then);
  void finished(const Outcome& outcome);

  std::string path_;
  Model model_;
  Dataplane& dataplane_;
  std::shared_ptr<const shared::Generation> generation_;
  bool publishing_ = false;
  std::vector<Done> present_;  ///< answered by the reload under way
  std::vector<Done> next_;     ///< answered by the one after it
  std::vector<Asked> asked_;   ///< changes that wait for the present one
  Watch watch_;
  std::unique_ptr<Errands> writer_;  ///< of the file, from the first time on
  /// The dataplane's answers hold a reference to it; gone with this object.
  std::shared_ptr<RunningConfig*> self_;
};

}  // namespace lsn::control
