// The commands that the dataplane posts: adopt a generation, list sessions, flush sessions,
// announce our addresses. Each is a step function of the packet path (path.hpp) with a budget, and
// what to do with its result on the control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "lsn/datapath/generation.hpp"
#include "lsn/datapath/lsn44/pools.hpp"
#include "lsn/datapath/path.hpp"
#include "lsn/datapath/query.hpp"
#include "lsn/runtime/mailbox.hpp"

namespace lsn::runtime {

/// Objects per step: what costs a worker some ten microseconds.
inline constexpr std::size_t kStepBudget = 64;

/// Switches the shard to a generation, between two bursts; then ends what it does not allow.
class AdoptGeneration final : public Command {
 public:
  AdoptGeneration(const datapath::Generation* generation,
                  datapath::lsn44::ShardAddresses* addresses,
                  std::function<void(std::uint64_t ended)> adopted)
      : generation_(generation), addresses_(addresses), adopted_(std::move(adopted)) {}

  [[nodiscard]] Progress step(datapath::Shard& shard) override;
  void done() override { adopted_(sweep_.ended); }

 private:
  const datapath::Generation* generation_;
  datapath::lsn44::ShardAddresses* addresses_;
  std::function<void(std::uint64_t)> adopted_;
  bool is_current_ = false;
  datapath::GenerationSweep sweep_;
};

class ListSessions final : public Command {
 public:
  ListSessions(datapath::SessionPage page, std::function<void(datapath::SessionPage)> listed)
      : page_(std::move(page)), listed_(std::move(listed)) {
    page_.rows.clear();
    page_.rows.reserve(page_.limit);
  }

  [[nodiscard]] Progress step(datapath::Shard& shard) override;
  void done() override { listed_(std::move(page_)); }

 private:
  datapath::SessionPage page_;
  std::function<void(datapath::SessionPage)> listed_;
};

class FlushSessions final : public Command {
 public:
  FlushSessions(const datapath::SessionFlush& flush,
                std::function<void(std::uint64_t flushed)> flushed)
      : flush_(flush), flushed_(std::move(flushed)) {}

  [[nodiscard]] Progress step(datapath::Shard& shard) override;
  void done() override { flushed_(flush_.flushed); }

 private:
  datapath::SessionFlush flush_;
  std::function<void(std::uint64_t)> flushed_;
};

/// Tells the networks of some interfaces where our addresses are (gratuitous ARP).
class AnnounceAddresses final : public Command {
 public:
  explicit AnnounceAddresses(std::vector<std::uint8_t> interfaces)
      : interfaces_(std::move(interfaces)) {}

  [[nodiscard]] Progress step(datapath::Shard& shard) override;
  void done() override {}

 private:
  std::vector<std::uint8_t> interfaces_;
  std::size_t next_ = 0;
};

}  // namespace lsn::runtime
