// Whose is an ESP packet of an unknown SPI? (design 5)
//
// Both functions are the section's numbered rules in their order. What they refuse is a packet, not
// an SPI: as soon as there is one owner left it is learned. They learn the SPI, so that the packet
// and all that follow go the way of known ones, or they say why it is dropped. A packet costs a
// bounded number of look-ups, whoever sends how many of them.
#pragma once

#include <expected>

#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::datapath::ipsec_alg {

/// From a client of a group.
[[nodiscard]] std::expected<SessionId, DropReason> attribute_outbound(IpsecAlg& shard,
                                                                      const Packet& packet,
                                                                      std::uint16_t group);
/// From a server to one of our NAT addresses.
[[nodiscard]] std::expected<SessionId, DropReason> attribute_inbound(IpsecAlg& shard,
                                                                     const Packet& packet);

/// Whose an inbound packet is taken for until the rules have decided: the holder's, else that of
/// whom the gate lingers for, else that of anybody who has to do with the gate.
[[nodiscard]] inline PeerId asked_about(const Gate& gate) {
  if (gate.state != GateState::kClosed) return gate.turn.holder;
  return gate.lingering.holder != state::kNone ? gate.lingering.holder : gate.peers.first;
}

}  // namespace lsn::datapath::ipsec_alg
