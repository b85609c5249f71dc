// Two subscribers that talk through their NAT addresses (RFC 4787 REQ-9, RFC 5382 REQ-8): the packet
// is translated outbound, so that its source is an external address and port, and is then inbound
// for the other NAT address, whose shard goes on with it. Its TTL has paid for one hop.

#include "lsn/datapath/lsn44/stages.hpp"
#include "lsn/datapath/pipeline.hpp"

namespace lsn::datapath::lsn44 {

Verdict hairpin(Shard& shard, Packet& packet) {
  packet.hairpin = true;
  packet.side = Side::kOutside;
  const Verdict steered = steer_inbound(shard, packet.ip->destination);
  if (!steered.is_next()) return steered;
  // Named anew, as seen from outside.
  packet.key.a = packet.ip->destination.raw();
  packet.key.b = packet.ip->source.raw();
  packet.identification = {};
  if (packet.kind == PacketKind::kFragment) return dispatch(shard, packet);
  packet.kind = PacketKind::kNone;
  if (const Verdict verdict = parse_l4(packet); !verdict.is_next()) return verdict;
  packet.hash = shard.lsn44.outbound.hash(packet.key);
  return dispatch(shard, packet);
}

}  // namespace lsn::datapath::lsn44
