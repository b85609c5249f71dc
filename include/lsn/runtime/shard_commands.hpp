// The commands that the dataplane posts: adopt a generation, list and flush sessions and gates,
// begin and end captures, announce the NAT's addresses. Each is a step function of the packet path
// (path.hpp) with a budget, and a function for its result on the control thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "lsn/control/dataplane.hpp"
#include "lsn/datapath/capture_tap.hpp"
#include "lsn/datapath/lsn44/pools.hpp"
#include "lsn/datapath/path.hpp"
#include "lsn/runtime/mailbox.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/shared/queries.hpp"

namespace lsn::runtime {

/// Objects per step: they cost a worker some ten microseconds.
inline constexpr std::size_t kStepBudget = 64;

/// The state of a process before this one, and how many of its records hold.
struct Restoration {
  std::vector<shared::StateRecord> records;
  std::atomic<std::uint64_t> restored{0};
};

/// Switches the shard to a generation, between two bursts; then ends the sessions that it does not
/// allow. The first one restores the state in the same step: no packet comes between.
class AdoptGeneration final : public Command {
 public:
  AdoptGeneration(const shared::Generation* generation, datapath::lsn44::ShardAddresses* addresses,
                  std::shared_ptr<Restoration> restoration,
                  std::function<void(std::uint64_t ended)> adopted)
      : generation_(generation),
        addresses_(addresses),
        restoration_(std::move(restoration)),
        adopted_(std::move(adopted)) {}

  [[nodiscard]] Progress step(datapath::Shard& shard) override;
  void done() override { adopted_(sweep_.ended); }

 private:
  const shared::Generation* generation_;
  datapath::lsn44::ShardAddresses* addresses_;
  std::shared_ptr<Restoration> restoration_;  ///< nullptr: nothing to restore
  std::function<void(std::uint64_t)> adopted_;
  bool is_current_ = false;
  datapath::GenerationSweep sweep_;
};

/// A question (control::Dataplane::ask), until it is answered or its page is full.
class Asked final : public Command {
 public:
  using Question = control::Dataplane::Question;

  Asked(Question question, std::function<void(Question)> answered);

  [[nodiscard]] Progress step(datapath::Shard& shard) override;
  void done() override { answered_(std::move(question_)); }

 private:
  Question question_;
  std::function<void(Question)> answered_;
};

/// A flush, until it is finished; it comes back with its numbers.
template <class Flush, auto flush_some>
class FlushAll final : public Command {
 public:
  FlushAll(const Flush& flush, std::function<void(Flush)> flushed)
      : flush_(flush), flushed_(std::move(flushed)) {}

  [[nodiscard]] Progress step(datapath::Shard& shard) override {
    flush_some(shard, flush_, kStepBudget);
    return flush_.finished ? Progress::kFinished : Progress::kMore;
  }
  void done() override { flushed_(flush_); }

 private:
  Flush flush_;
  std::function<void(Flush)> flushed_;
};

using FlushSessions = FlushAll<shared::SessionFlush, datapath::flush_sessions>;
using FlushAlg = FlushAll<shared::AlgFlush, datapath::flush_alg>;

/// Begins or ends a capture (nullptr) between two bursts.
class SetCapture final : public Command {
 public:
  SetCapture(std::shared_ptr<datapath::CaptureTap> tap, std::function<void()> done)
      : tap_(std::move(tap)), done_(std::move(done)) {}

  [[nodiscard]] Progress step(datapath::Shard& shard) override;
  void done() override { done_(); }

 private:
  std::shared_ptr<datapath::CaptureTap> tap_;
  std::function<void()> done_;
};

/// Tells the networks of some interfaces where the NAT's addresses are (gratuitous ARP).
class AnnounceAddresses final : public Command {
 public:
  explicit AnnounceAddresses(std::vector<shared::InterfaceId> interfaces)
      : interfaces_(std::move(interfaces)) {}

  [[nodiscard]] Progress step(datapath::Shard& shard) override;
  void done() override {}

 private:
  std::vector<shared::InterfaceId> interfaces_;
  std::size_t next_ = 0;
};

/// Has a worker send ARP requests for the next hops of the routes, before packets need them.
class ResolveGateways final : public Command {
 public:
  [[nodiscard]] Progress step(datapath::Shard& shard) override;
  void done() override {}
};

}  // namespace lsn::runtime
