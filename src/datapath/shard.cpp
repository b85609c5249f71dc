#include "lsn/datapath/shard.hpp"

#include "lsn/datapath/capture_tap.hpp"
#include "lsn/datapath/ipsec_alg/clockwork.hpp"
#include "lsn/datapath/ipsec_alg/queries.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/queries.hpp"
#include "lsn/datapath/lsn44/sweep.hpp"
#include "lsn/datapath/parse.hpp"

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
wire::Be32 nat_ip_of(const Lsn44& shard, lsn44::SubscriberId subscriber,
                     const InsideAddress& address) {
  if (subscriber != state::kNone && shard.lsn44.subscribers[subscriber].paired_ip.raw() != 0)
    return shard.lsn44.subscribers[subscriber].paired_ip;
  const Group* const group = shard.generation->group_of(address);
  if (group == nullptr || group->usable_of(shard.id).size() != 1) return {};
  return group->usable_of(shard.id).front().be();
}

}  // namespace

void look_up(IpsecAlg& shard, Lookup& lookup, std::size_t /*budget*/) {
  const lsn44::SubscriberId subscriber = lsn44::look_up(shard, lookup);
  const bool out = lookup.direction == Direction::kOutbound;
  const InsideAddress client{lookup.local, lookup.td};
  const bool is_inbound_esp = lookup.protocol == Protocol::kEsp && !out;
  lookup.alg = ipsec_alg::look_up(
      shard, out ? client : InsideAddress{},
      out ? nat_ip_of(shard, subscriber, client) : lookup.local.be(), lookup.remote.be(),
      is_inbound_esp ? wire::Be32::of(lookup.spi).raw() : ipsec_alg::kNoSpi);
  lookup.finished = true;
}

bool find_captured(Context& shard, const CapturePoint& point, const PacketEnds& ends,
                   CapturedFlow& flow) {
  const auto protocol = protocol_of(ends.protocol);
  const bool is_esp = protocol == Protocol::kEsp;
  if (!protocol || (!is_esp && !ends.has_ports)) return false;
  const Lsn44& nat = static_cast<Lsn44&>(shard);
  const lsn44::Tables& tables = nat.lsn44;
  const auto [local, remote] = ends_at(point, ends);
  const bool inside = point.side == Side::kInside;
  const state::FlowKey key = is_esp ? esp_key(local.address, remote.address, ends.spi)
                                    : flow_key(*protocol, local, remote);
  if (const lsn44::SessionId id = inside ? lsn44::find_outbound(nat, point.td, key)
                                         : tables.inbound.find(key, tables.inbound.hash(key));
      id != state::kNone) {
    const lsn44::Session& session = tables.sessions[id];
    flow.subscriber = {session.inside_ip, is_esp ? wire::Be16{} : session.inside_port};
    flow.nat = {session.nat_ip, is_esp ? wire::Be16{} : lsn44::shown_nat_port(session)};
    return true;
  }
  if (inside || is_esp) return false;
  if (const lsn44::MappingId id = lsn44::find_mapping(nat, *protocol, local.address, local.port);
      id != state::kNone)
    flow.subscriber = {tables.mappings[id].inside_ip, tables.mappings[id].inside_port};
  return false;
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
  for (KernelBuffer& buffer : shard.kernel) {
    rte_pktmbuf_free_bulk(buffer.packets.data(), buffer.count);
    buffer.count = 0;
  }
}

}  // namespace lsn::datapath
