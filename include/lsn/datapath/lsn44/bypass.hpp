// Packets that are routed without translation (RFC 6888 REQ-6), as the bypass rules of their
// client's group say (shared/bypass.hpp).
//
// There is no state: the rules decide about each packet that has no session, outbound by its
// destination, inbound, to a client's own address, by its source; so any shard may route it. What
// is translated never asks. A flow that a rule covers has no session: one from before ends with the
// reload that brings the rule, and none is made from outside. The checks of sources stay, as do
// TTL, MTU and next hops. ICMP errors go the way of the packets that they quote. A fragment goes at
// once where its addresses decide; where ports do, its datagram's first one is waited for.
#pragma once

#include <cstdint>
#include <optional>

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/bypass.hpp"
#include "lsn/wire/big_endian.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// Whether a packet's ports, or a quoted one's, can be read from its key.
enum class KnownPorts : bool { kNo, kYes };

/// Whether a packet is routed without translation.
[[nodiscard]] Coverage coverage_of(const Generation& generation, const Packet& packet,
                                   KnownPorts ports);
[[nodiscard]] inline bool is_bypassed(const Generation& generation, const Packet& packet) {
  return generation.has_bypass &&
         coverage_of(generation, packet, KnownPorts::kYes) == Coverage::kYes;
}
/// The same of a flow. `port`: the remote one of TCP and UDP.
[[nodiscard]] Coverage coverage_of(const Generation& generation, const InsideAddress& client,
                                   wire::Be32 remote, std::uint8_t protocol,
                                   std::optional<std::uint16_t> port);
/// ... of a session, or one to be.
[[nodiscard]] bool is_bypassed(const Generation& generation, Protocol protocol,
                               const InsideAddress& client, const wire::Endpoint& remote);

/// Sends a packet on as it is. Takes it in any case but drop.
[[nodiscard]] Verdict route_untranslated(Lsn44& shard, Packet& packet);

}  // namespace lsn::datapath::lsn44
