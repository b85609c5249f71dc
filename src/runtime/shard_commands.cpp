#include "lsn/runtime/shard_commands.hpp"

namespace lsn::runtime {

Command::Progress AdoptGeneration::step(datapath::Shard& shard) {
  if (!is_current_) {
    datapath::adopt_generation(shard, generation_, addresses_);
    is_current_ = true;
    return Progress::kMore;
  }
  datapath::enforce_generation(shard, sweep_, kStepBudget);
  return sweep_.finished ? Progress::kFinished : Progress::kMore;
}

Command::Progress ListSessions::step(datapath::Shard& shard) {
  datapath::list_sessions(shard, page_, kStepBudget);
  return page_.finished || page_.rows.size() >= page_.limit ? Progress::kFinished
                                                            : Progress::kMore;
}

Command::Progress FlushSessions::step(datapath::Shard& shard) {
  datapath::flush_sessions(shard, flush_, kStepBudget);
  return flush_.finished ? Progress::kFinished : Progress::kMore;
}

Command::Progress AnnounceAddresses::step(datapath::Shard& shard) {
  // One interface per step: a pool may have thousands of addresses, a transmit buffer has not.
  if (next_ < interfaces_.size()) shard.neighbours.announce(shard, interfaces_[next_++]);
  return next_ < interfaces_.size() ? Progress::kMore : Progress::kFinished;
}

}  // namespace lsn::runtime
