#include "lsn/datapath/parse.hpp"

namespace lsn::datapath {

Verdict parse_l4(Packet& packet) {
  return packet.kind == PacketKind::kFragment ? parse_l4<Datagram::kFirstFragment>(packet, 0)
                                              : parse_l4<Datagram::kWhole>(packet, 0);
}

}  // namespace lsn::datapath
