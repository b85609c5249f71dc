#include "lsn/datapath/shard.hpp"

#include "lsn/datapath/ipsec_alg/clockwork.hpp"
#include "lsn/datapath/ipsec_alg/queries.hpp"
#include "lsn/datapath/lsn44/queries.hpp"
#include "lsn/datapath/lsn44/sweep.hpp"

namespace lsn::datapath {

Shard::Shard(const ShardConfig& config) : IpsecAlg(config) {}

Shard::~Shard() = default;

void adopt_generation(Shard& shard, const Generation* generation,
                      lsn44::ShardAddresses* addresses) {
  lsn44::adopt(shard, generation, addresses);
  ipsec_alg::adopt_generation(shard);
  shard.kept_up_to.reset();
}

namespace {

/// The NAT address that a subscriber's IPsec has, or will have because there is no other; zero:
/// that cannot be told.
wire::Be32 nat_ip_of(const Lsn44& shard, lsn44::SubscriberId subscriber, wire::Be32 address) {
  if (subscriber != state::kNone && shard.lsn44.subscribers[subscriber].paired_ip.raw() != 0)
    return shard.lsn44.subscribers[subscriber].paired_ip;
  const Group* const group = shard.generation->group_of(wire::Ipv4Address{address});
  if (group == nullptr || group->usable_of(shard.id).size() != 1) return {};
  return group->usable_of(shard.id).front().be();
}

}  // namespace

void look_up(IpsecAlg& shard, Lookup& lookup, std::size_t /*budget*/) {
  const lsn44::SubscriberId subscriber = lsn44::look_up(shard, lookup);
  const bool out = lookup.direction == Direction::kOutbound;
  const wire::Be32 local = lookup.local.be();
  const bool is_inbound_esp = lookup.protocol == Protocol::kEsp && !out;
  lookup.alg = ipsec_alg::look_up(
      shard, out ? local : wire::Be32{}, out ? nat_ip_of(shard, subscriber, local) : local,
      lookup.remote.be(), is_inbound_esp ? wire::Be32::of(lookup.spi).raw() : ipsec_alg::kNoSpi);
  lookup.finished = true;
}

ShardCapacity capacity_of(const IpsecAlg& shard) {
  return {shard.lsn44.sessions.capacity(),
          shard.lsn44.mappings.capacity(),
          shard.lsn44.subscribers.capacity(),
          shard.alg.ike_sessions.capacity(),
          shard.alg.esp_sessions.capacity(),
          shard.alg.gates.capacity(),
          shard.alg.max_held_bytes};
}

void release_packets(L3& shard) {
  shard.neighbours.clear(shard);
  shard.reassembly.clear(shard);
  for (TxBuffer& buffer : shard.tx) {
    rte_pktmbuf_free_bulk(buffer.packets.data(), buffer.count);
    buffer.count = 0;
  }
  for (HandoffBuffer& buffer : shard.handoff_buffers) {
    rte_pktmbuf_free_bulk(buffer.packets.data(), buffer.count);
    buffer.count = 0;
  }
}

}  // namespace lsn::datapath
