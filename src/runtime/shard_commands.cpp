#include "lsn/runtime/shard_commands.hpp"

namespace lsn::runtime {

Command::Progress AdoptGeneration::step(datapath::Shard& shard) {
  if (!is_current_) {
    datapath::adopt_generation(shard, generation_, addresses_);
    is_current_ = true;
    if (restoration_ != nullptr) {
      std::uint64_t restored = 0;
      for (const datapath::StateRecord& record : restoration_->records)
        restored += datapath::restore_state(shard, record) ? 1 : 0;
      datapath::finish_restoring(shard);
      restoration_->restored += restored;
    }
    return Progress::kMore;
  }
  datapath::enforce_generation(shard, sweep_, kStepBudget);
  return sweep_.finished ? Progress::kFinished : Progress::kMore;
}

Command::Progress AnnounceAddresses::step(datapath::Shard& shard) {
  // One interface per step: a pool may have thousands of addresses, a transmit buffer has not.
  if (next_ < interfaces_.size()) shard.neighbours.announce(shard, interfaces_[next_++]);
  return next_ < interfaces_.size() ? Progress::kMore : Progress::kFinished;
}

Command::Progress ResolveGateways::step(datapath::Shard& shard) {
  shard.neighbours.resolve_gateways();
  return Progress::kFinished;
}

}  // namespace lsn::runtime
