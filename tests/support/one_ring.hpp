// A dataplane with one worker that writes records and does nothing else: what a log thread needs of
// one, and sessions for its ring.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "lsn/control/dataplane.hpp"
#include "lsn/shared/log_record.hpp"

namespace lsn::test {

class OneRing final : public control::Dataplane {
 public:
  [[nodiscard]] unsigned workers() const override { return 1; }
  [[nodiscard]] control::WorkerStatus worker(unsigned) const override { return {}; }
  [[nodiscard]] std::vector<shared::PortStatus> ports() override { return {}; }
  void publish(std::shared_ptr<const shared::Generation>,
               std::function<void(std::uint64_t)>) override {}
  void restore(std::vector<shared::StateRecord>, std::function<void(std::uint64_t)>) override {}
  [[nodiscard]] shared::StateRing& state_changes(unsigned) override { return state_; }
  void flush(unsigned, shared::SessionFlush, std::function<void(std::uint64_t)>) override {}
  void flush_alg(unsigned, shared::AlgFlush, std::function<void(shared::AlgFlush)>) override {}
  void ask(unsigned, Question, std::function<void(Question)>) override {}
  [[nodiscard]] shared::EventRing& alg_events(unsigned) override { return events_; }
  [[nodiscard]] shared::LogRing* log_records(unsigned) override { return &ring; }
  [[nodiscard]] std::chrono::steady_clock::time_point tick_zero() const override { return zero_; }
  void poll() override {}

  /// The worker's clock.
  [[nodiscard]] state::Ticks now() const {
    const auto passed = std::chrono::steady_clock::now() - zero_;
    return state::Ticks{static_cast<std::uint32_t>(passed / std::chrono::milliseconds{10})};
  }

 private:
  state::PageMemory memory_;

 public:
  shared::LogRing ring{shared::LogRing::kCapacity, &memory_};

 private:
  shared::StateRing state_;
  shared::EventRing events_;
  const std::chrono::steady_clock::time_point zero_ = std::chrono::steady_clock::now();
};

}  // namespace lsn::test
