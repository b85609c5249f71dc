// Keeps the state file (state_file.hpp) at most a second behind the workers.
//
// Workers put changes into their rings; the journal takes them at every tick and appends them to
// the file. It writes a whole new file, from a walk through the tables page by page, when it
// starts, when a ring has lost a change, when the file has grown to twice its necessary size, and
// every five minutes, so that the records' idle times are up to date. Changes during a walk are
// appended behind it.
//
// The file itself is written and brought to the disk on a thread of the journal's own, in the order
// in which the control thread asks for it; the control thread never waits for the disk. While the
// disk stands still, changes wait here (kMostChanges), then in the rings, and then the whole file
// is written again.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lsn/control/dataplane.hpp"
#include "lsn/control/errands.hpp"
#include "lsn/control/ha/state_file.hpp"

namespace lsn::control {

class Journal {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `path` "": none, nothing happens.
  Journal(std::string path, Dataplane& dataplane);
  ~Journal();

  /// Before the first generation is published: has the file's records restored. `look` sees them
  /// first.
  using Look = std::function<void(std::span<const shared::StateRecord>)>;
  void restore(const Look& look = {});
  void tick(Time now);

  /// Whether something is being written.
  [[nodiscard]] bool is_writing() const {
    return writer_ != nullptr && writer_->outstanding() != 0;
  }

 private:
  struct File;

  void take_changes();
  /// Takes the result of the writer's thread: an error is logged once, until writing works again.
  void take_outcome(Time now);
  void append();
  void begin_walk();
  void ask(shared::StatePage page);
  void take_page(shared::StatePage page);
  void finish_walk();
  [[nodiscard]] bool is_busy() const;

  std::string path_;
  Dataplane& dataplane_;
  std::shared_ptr<File> file_;                   ///< the writer's thread has it as well
  std::vector<shared::StateRecord> changes_;     ///< not in the file yet
  std::vector<shared::StateRecord> since_walk_;  ///< not in the new file, which the walk writes
  std::vector<std::uint64_t> lost_;              ///< of each shard's ring, when last looked at
  bool walking_ = false;
  std::uint64_t walk_ = 0;  ///< counts them: pages of an earlier one come to nothing
  std::unique_ptr<shared::StatePage> next_page_;  ///< to be asked for when the writer has caught up
  bool has_told_ = false;                         ///< an error
  unsigned shard_ = 0;                            ///< of the walk
  std::uint64_t walked_ = 0;                      ///< records of the walk
  std::uint64_t appended_ = 0;                    ///< records, since the last whole file
  std::uint64_t in_file_ = 0;                     ///< records when it was; 0: it has not been yet
  Time next_walk_{};
  Time next_append_{};
  std::shared_ptr<Journal*> self_;  ///< expired for answers after the journal's end
  std::unique_ptr<Errands> writer_;
};

}  // namespace lsn::control
