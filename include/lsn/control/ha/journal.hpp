// Keeps the state file (state_file.hpp) at most a second behind the workers.
//
// Workers put changes into their rings; the journal takes them at every tick and appends them to the
// file. It writes the file anew, from a walk through the tables page by page, when it starts, when a
// ring has lost something, when the file has grown to twice what it must hold, and every five
// minutes, so that it knows how idle things are. What changes during a walk is appended behind it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lsn/control/dataplane.hpp"
#include "lsn/control/ha/state_file.hpp"

namespace lsn::control {

class Journal {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `path` "": none, nothing happens.
  Journal(std::string path, Dataplane& dataplane);
  ~Journal();

  /// Before the first generation is published: has restored what the file says. `look` sees it
  /// first.
  using Look = std::function<void(std::span<const datapath::StateRecord>)>;
  void restore(const Look& look = {});
  void tick(Time now);

 private:
  void take_changes();
  void append(Time now);
  /// False: it could not begin.
  bool begin_walk();
  void ask(datapath::StatePage page);
  void take_page(datapath::StatePage page);
  void finish_walk();
  /// An error is told once, until it works again; the next walk tries anew.
  bool worked(const std::expected<void, std::string>& result);

  std::string path_;
  Dataplane& dataplane_;
  StateFileWriter file_;
  std::vector<datapath::StateRecord> changes_;  ///< not in the file yet
  std::vector<datapath::StateRecord> since_walk_;  ///< not in the new file, which the walk writes
  std::vector<std::uint64_t> lost_;             ///< of each shard's ring, when last looked at
  bool walking_ = false;
  bool has_told_ = false;    ///< an error
  unsigned shard_ = 0;       ///< of the walk
  std::uint64_t walked_ = 0; ///< records of the walk
  std::uint64_t appended_ = 0;  ///< records, since the file was written anew
  std::uint64_t in_file_ = 0;   ///< records when it was; 0: it has not been yet
  Time next_walk_{};
  Time next_append_{};
  std::shared_ptr<Journal*> self_;  ///< answers that come after our end find nobody
};

}  // namespace lsn::control
