// From the control thread's generation to the one that all workers work with.
//
// Generation and a shard's NAT addresses belong together, so a worker does not follow a shared
// pointer: it gets both in one command and switches between two bursts. One publication at a time:
//
//   prepare    NAT addresses for each shard (AddressStore)
//   adopt      a command to every worker; each answers when it has ended the sessions that are
//              not allowed any more
//   grace      all have answered; a token of rte_rcu_qsbr, polled, never waited for: when every
//              worker has passed a quiescent state since, none can hold anything of the old one
//   free       the old generation, its address lists, addresses that no shard needs; then `done`
//
// Generations that are published meanwhile wait, in order.
#pragma once

#include <rte_rcu_qsbr.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "lsn/datapath/lsn44/pools.hpp"
#include "lsn/runtime/mailbox.hpp"
#include "lsn/shared/generation.hpp"

namespace lsn::runtime {

struct Restoration;

class Publisher {
 public:
  using Generation = std::shared_ptr<const shared::Generation>;
  using Done = std::function<void(std::uint64_t ended)>;

  /// By shard. All live longer than this.
  Publisher(rte_rcu_qsbr* quiescence, std::vector<Mailbox*> mailboxes);

  /// `restoration` comes with the first one only.
  void publish(Generation generation, Done done,
               std::shared_ptr<Restoration> restoration = nullptr);
  /// Takes the next step if it can; called at every tick, after the mailboxes have been collected.
  void poll();

  /// The one that all workers work with; nullptr before the first.
  [[nodiscard]] const Generation& current() const { return current_; }

 private:
  enum class Stage : std::uint8_t { kIdle, kAdopting, kGrace };
  using Addresses = std::unique_ptr<datapath::lsn44::ShardAddresses>;

  struct Publication {
    Generation generation;
    Done done;
    std::shared_ptr<Restoration> restoration;
  };

  void begin();
  void finish();

  rte_rcu_qsbr* quiescence_;
  std::vector<Mailbox*> mailboxes_;
  std::vector<datapath::lsn44::AddressStore> stores_;

  Generation current_;
  std::vector<Addresses> current_addresses_;

  Stage stage_ = Stage::kIdle;
  std::deque<Publication> publications_;  ///< the first one is under way unless kIdle
  std::vector<Addresses> new_addresses_;
  std::size_t answers_missing_ = 0;
  std::uint64_t ended_ = 0;
  std::uint64_t token_ = 0;
};

}  // namespace lsn::runtime
