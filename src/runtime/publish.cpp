#include "lsn/runtime/publish.hpp"

#include <utility>

#include "lsn/runtime/shard_commands.hpp"

namespace lsn::runtime {

Publisher::Publisher(rte_rcu_qsbr* quiescence, std::vector<Mailbox*> mailboxes)
    : quiescence_(quiescence),
      mailboxes_(std::move(mailboxes)),
      stores_(mailboxes_.size()),
      current_addresses_(mailboxes_.size()),
      new_addresses_(mailboxes_.size()) {}

void Publisher::publish(Generation generation, Done done,
                        std::shared_ptr<Restoration> restoration) {
  publications_.push_back({std::move(generation), std::move(done), std::move(restoration)});
  if (stage_ == Stage::kIdle) begin();
}

void Publisher::begin() {
  const shared::Generation& generation = *publications_.front().generation;
  stage_ = Stage::kAdopting;
  ended_ = 0;
  answers_missing_ = mailboxes_.size();
  for (std::size_t shard = 0; shard < mailboxes_.size(); ++shard) {
    new_addresses_[shard] = stores_[shard].prepare(generation, static_cast<shared::ShardId>(shard));
    mailboxes_[shard]->post(std::make_unique<AdoptGeneration>(
        &generation, new_addresses_[shard].get(), publications_.front().restoration,
        [this](std::uint64_t ended) {
          ended_ += ended;
          if (--answers_missing_ == 0) {
            token_ = rte_rcu_qsbr_start(quiescence_);
            stage_ = Stage::kGrace;
          }
        }));
  }
}

void Publisher::poll() {
  if (stage_ == Stage::kGrace && rte_rcu_qsbr_check(quiescence_, token_, false) == 1) finish();
}

void Publisher::finish() {
  Publication finished = std::move(publications_.front());
  publications_.pop_front();
  current_ = std::move(finished.generation);
  for (std::size_t shard = 0; shard < mailboxes_.size(); ++shard) {
    current_addresses_[shard] = std::move(new_addresses_[shard]);
    stores_[shard].discard(*current_addresses_[shard]);
  }
  stage_ = Stage::kIdle;
  // `done` may publish again.
  if (finished.done) finished.done(ended_);
  if (stage_ == Stage::kIdle && !publications_.empty()) begin();
}

}  // namespace lsn::runtime
