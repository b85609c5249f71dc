#include "lsn/runtime/shard_commands.hpp"

namespace lsn::runtime {

Command::Progress AdoptGeneration::step(datapath::Shard& shard) {
  if (!is_current_) {
    datapath::adopt_generation(shard, generation_, addresses_);
    is_current_ = true;
    if (restoration_ != nullptr) {
      std::uint64_t restored = 0;
      for (const shared::StateRecord& record : restoration_->records)
        restored += datapath::restore_state(shard, record) ? 1 : 0;
      datapath::finish_restoring(shard);
      restoration_->restored += restored;
    }
    return Progress::kMore;
  }
  datapath::enforce_generation(shard, sweep_, kStepBudget);
  return sweep_.finished ? Progress::kFinished : Progress::kMore;
}

namespace {

/// Which step answers which question.
void answer(datapath::Shard& shard, shared::SessionPage& page) {
  datapath::list_sessions(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::SubscriberPage& page) {
  datapath::list_subscribers(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::MappingPage& page) {
  datapath::list_mappings(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::StaticPage& page) {
  datapath::list_missing_static_ports(shard, page, kStepBudget);
}

void answer(datapath::Shard& shard, shared::BlockPage& page) {
  datapath::list_blocks(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::NeighbourPage& page) {
  datapath::list_neighbours(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::DropPage& page) {
  datapath::list_drops(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::EspPage& page) {
  datapath::list_esp_sessions(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::IkePage& page) {
  datapath::list_ike_sessions(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::GatePage& page) {
  datapath::list_gates(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::AdvicePage& page) {
  datapath::list_advice(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::StatePage& page) {
  datapath::list_state(shard, page, kStepBudget);
}
void answer(datapath::Shard& shard, shared::Usage& usage) {
  datapath::survey_usage(shard, usage, kStepBudget);
}
void answer(datapath::Shard& shard, shared::Lookup& lookup) {
  datapath::look_up(shard, lookup, kStepBudget);
}

}  // namespace

Asked::Asked(Question question, std::function<void(Question)> answered)
    : question_(std::move(question)), answered_(std::move(answered)) {
  // Room for a page, so that the worker allocates nothing.
  std::visit(
      [](auto& page) {
        if constexpr (requires { page.rows; }) {
          page.rows.clear();
          page.rows.reserve(page.limit);
        }
      },
      question_);
}

Command::Progress Asked::step(datapath::Shard& shard) {
  return std::visit(
      [&](auto& question) {
        answer(shard, question);
        bool has_all = question.finished;
        if constexpr (requires { question.rows; })
          has_all = has_all || question.rows.size() >= question.limit;
        return has_all ? Progress::kFinished : Progress::kMore;
      },
      question_);
}

Command::Progress SetCapture::step(datapath::Shard& shard) {
  shard.capture = tap_.get();
  return Progress::kFinished;
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
