#include "lsn/runtime/port_keeper.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace lsn::runtime {
namespace {

/// Between two attempts to start a port: a peer that has come back waits no longer.
constexpr std::chrono::milliseconds kRetryInterval{500};

}  // namespace

std::expected<void, std::string> PortKeeper::start() {
  if (!port_->seeks_peer()) {
    auto started = port_->start();
    if (started) static_cast<void>(port_->watch());
    return started;
  }
  // Its peer may let it wait, or not be there yet.
  stage_ = Stage::kAway;
  return {};
}

void PortKeeper::withdraw() {
  port_->withdraw();
  if (quiescence_ != nullptr) token_ = rte_rcu_qsbr_start(quiescence_.get());
  stage_ = Stage::kLeaving;
}

Port::Event PortKeeper::poll(Time now) {
  using enum Port::Event;
  switch (stage_) {
    case Stage::kServing: {
      const Port::Event event = port_->watch();
      if (event == kRemoved) has_lost_device_ = true;
      if (port_->wants_restart()) withdraw();
      return event;
    }
    case Stage::kLeaving:
      if (quiescence_ != nullptr && rte_rcu_qsbr_check(quiescence_.get(), token_, false) != 1)
        return kNone;
      stage_ = Stage::kAway;
      return kNone;
    case Stage::kAway:
      switch (attempt_.load(std::memory_order_acquire)) {
        case Attempt::kUnderWay:
          return kNone;
        case Attempt::kWorked:
          attempt_.store(Attempt::kNone, std::memory_order_relaxed);
          told_.clear();
          stage_ = Stage::kServing;
          if (std::exchange(has_lost_device_, false))
            spdlog::info("{} has returned", port_->label());
          if (generation_ != nullptr) steer(generation_);
          return port_->watch();
        case Attempt::kFailed:
          tell(has_lost_device_ ? failure_
                                : fmt::format("{}: waiting for its peer", port_->label()));
          spdlog::debug("{}", failure_);
          attempt_.store(Attempt::kNone, std::memory_order_relaxed);
          return kNone;
        case Attempt::kNone:
          if (now >= next_try_) {
            next_try_ = now + kRetryInterval;
            try_again();
          }
          return kNone;
      }
      return kNone;
  }
  return kNone;
}

/// Logs it once, until there is another message.
void PortKeeper::tell(const std::string& text) {
  if (text == told_) return;
  told_ = text;
  spdlog::info("{}", text);
}

void PortKeeper::try_again() {
  attempt_.store(Attempt::kUnderWay, std::memory_order_relaxed);
  errands_.give([this] {
    const auto started = port_->restart();
    if (!started) failure_ = started.error();
    attempt_.store(started ? Attempt::kWorked : Attempt::kFailed, std::memory_order_release);
  });
}

void PortKeeper::steer(std::shared_ptr<const shared::Generation> generation) {
  generation_ = std::move(generation);
  errands_.give([this, rules = generation_] { port_->steer(*rules); });
}

void PortKeeper::leave_alone() {
  errands_.give([this] { port_->leave_alone(); });
}

shared::PortStatus PortKeeper::status() {
  return port_->status(stage_ == Stage::kServing);
}

bool PortKeeper::stop(std::chrono::milliseconds patience) {
  if (!errands_.finish(patience)) return false;
  port_->stop();
  return true;
}

}  // namespace lsn::runtime
