#include "lsn/datapath/shard.hpp"

namespace lsn::datapath {

Shard::Shard(const ShardConfig& config)
    : now(config.now),
      id(config.id),
      shards(config.shards),
      links(config.links),
      ingress(config.devices),
      random(config.seed),
      secret(state::HashSecret::from(random)),
      neighbours(config.now, secret, config.memory),
      icmp_budget(config.now, secret),
      identifications(secret, config.memory),
      reassembly(config.max_fragments, config.now, secret, config.memory),
      lsn44(config.max_sessions, config.now, secret,
            {config.session_memory != nullptr ? config.session_memory : config.memory,
             config.mapping_memory != nullptr ? config.mapping_memory : config.memory,
             config.memory}),
      alg(config.alg, lsn44.subscribers.capacity(), config.now, secret, config.memory),
      tx(config.devices),
      handoff(config.shards),
      buffers(config.buffers),
      indirect_buffers(config.indirect_buffers) {
  for (auto& vlans : ingress) vlans.fill(kNoInterface);
}

Shard::~Shard() = default;

}  // namespace lsn::datapath
