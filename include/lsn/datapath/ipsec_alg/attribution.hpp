// The owner of an ESP packet of an unknown SPI (design 5).
//
// Both functions are the section's numbered rules in their order. They refuse a packet, not an SPI:
// as soon as there is one owner left the SPI is learned. They learn the SPI, so that the packet and
// all that follow go the way of known ones, or they say why it is dropped. A packet costs a bounded
// number of look-ups, however many a host sends.
#pragma once

#include <cstdint>
#include <expected>

#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::datapath::ipsec_alg {

/// From a client of a group.
[[nodiscard]] std::expected<SessionId, DropReason> attribute_outbound(IpsecAlg& shard,
                                                                      const Packet& packet,
                                                                      std::uint16_t group);
/// From a server to a NAT address.
[[nodiscard]] std::expected<SessionId, DropReason> attribute_inbound(IpsecAlg& shard,
                                                                     const Packet& packet);

/// The peer that an inbound packet is taken to be for until the rules have decided: the holder,
/// else the peer that the gate lingers for, else any peer of the gate.
[[nodiscard]] inline PeerId asked_about(const Gate& gate) {
  if (gate.state != GateState::kClosed) return gate.turn.holder;
  return gate.lingering.holder != state::kNone ? gate.lingering.holder : gate.peers.first;
}

}  // namespace lsn::datapath::ipsec_alg
