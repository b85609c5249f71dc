// The ALG's part in packets that have a session: IKE on UDP 500; UDP 4500, to notice a float; ESP
// of a turn that is not over. Packets of known SPIs pass none of this: they are the fast path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lsn/datapath/ipsec_alg/tables.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"

namespace lsn::datapath {
struct IpsecAlg;
}

namespace lsn::datapath::ipsec_alg {

/// next: translate it. consumed: it is held. drop.
[[nodiscard]] Verdict inspect(IpsecAlg& shard, Packet& packet, SessionId id, Direction direction);

/// Whether an inbound packet is IKE to a port 500 that several clients may share (ikePreservePort).
[[nodiscard]] bool is_for_port_keepers(const IpsecAlg& shard, const Packet& packet);
/// Finds such a packet's session by its initiator SPI, and names the packet by that session's key
/// from now on. state::kNone: there is none.
[[nodiscard]] SessionId demultiplex(IpsecAlg& shard, Packet& packet);
/// The same of a datagram's first bytes, `size` in all, between port 500 and port 500.
[[nodiscard]] SessionId find_port_keeper(IpsecAlg& shard, wire::Be32 nat_ip, wire::Be32 server,
                                         std::span<const std::uint8_t> datagram, std::size_t size);

/// AH cannot cross a NAT: a packet from inside is counted, and reported once per client.
void on_ah(IpsecAlg& shard, const Packet& packet);

}  // namespace lsn::datapath::ipsec_alg
