#include "lsn/datapath/lsn44/hairpin.hpp"

#include "lsn/datapath/lsn44/by_address.hpp"
#include "lsn/datapath/lsn44/fragments.hpp"
#include "lsn/datapath/lsn44/icmp_error.hpp"
#include "lsn/datapath/lsn44/inbound.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/steer.hpp"
#include "lsn/datapath/parse.hpp"

namespace lsn::datapath::lsn44 {

Verdict hairpin(Lsn44& shard, Packet& packet) {
  packet.hairpin = true;
  packet.side = Side::kOutside;
  const Verdict steered = steer_inbound(shard, packet.ip->destination);
  if (!steered.is_next()) return steered;
  // Named again, as seen from outside.
  packet.key.local = packet.ip->destination.raw();
  packet.key.remote = packet.ip->source.raw();
  packet.identification = {};
  if (packet.kind == PacketKind::kFragment) return fragment(shard, packet);
  packet.kind = PacketKind::kNone;
  if (const Verdict verdict = parse_l4(packet); !verdict.is_next()) return verdict;
  if (packet.kind == PacketKind::kOther) return other_protocol(shard, packet);
  packet.hash = shard.lsn44.outbound.hash(packet.key);
  return packet.kind == PacketKind::kIcmpError ? icmp_error_inbound(shard, packet)
                                               : inbound(shard, packet);
}

}  // namespace lsn::datapath::lsn44
