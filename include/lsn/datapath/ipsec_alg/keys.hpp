// The names of the ALG's objects in Tables::index and Tables::quoted.
#pragma once

#include <cstdint>

#include "lsn/datapath/ipsec_alg/tables.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/state/flow_table.hpp"

namespace lsn::datapath::ipsec_alg {

/// Kinds of FlowKey in Tables::index.
inline constexpr unsigned kGateKind = 1;
inline constexpr unsigned kPeerKind = 2;
inline constexpr unsigned kIkeKind = 3;
inline constexpr unsigned kPortKeeperKind = 4;
/// In Tables::quoted, by the direction that the error comes from.
inline constexpr unsigned kQuotedKind = 1;

[[nodiscard]] inline state::FlowKey gate_key(wire::Be32 nat_ip, wire::Be32 server) {
  return state::FlowKey::make(nat_ip.raw(), server.raw(), 0, 0, kGateKind);
}
[[nodiscard]] inline state::FlowKey peer_key(const InsideAddress& client, wire::Be32 server) {
  return state::FlowKey::make(client.address.be().raw(), server.raw(), client.td, 0, kPeerKind);
}
[[nodiscard]] inline state::FlowKey ike_key(PeerId peer, wire::IkeSpi initiator) {
  return state::FlowKey::make(peer, static_cast<std::uint32_t>(initiator),
                              static_cast<std::uint16_t>(initiator >> 32),
                              static_cast<std::uint16_t>(initiator >> 48), kIkeKind);
}
/// An IKE session whose UDP session keeps port 500, by the SPI in the server's messages.
[[nodiscard]] inline state::FlowKey port_keeper_key(GateId gate, wire::IkeSpi initiator) {
  return state::FlowKey::make(gate, static_cast<std::uint32_t>(initiator),
                              static_cast<std::uint16_t>(initiator >> 32),
                              static_cast<std::uint16_t>(initiator >> 48), kPortKeeperKind);
}
/// As the packet path names it (packet.hpp).
[[nodiscard]] inline state::FlowKey esp_key(wire::Be32 local, wire::Be32 server, Spi spi) {
  return datapath::esp_key(local, server, wire::Be32::raw(spi));
}
[[nodiscard]] inline Spi spi_of(const state::FlowKey& key) {
  return key.local_port | static_cast<Spi>(key.remote_port) << 16;
}
[[nodiscard]] inline state::FlowKey quoted_key(Direction error, wire::Be32 local, wire::Be32 server,
                                               Spi spi) {
  return state::FlowKey::make(local.raw(), server.raw(), static_cast<std::uint16_t>(spi),
                              static_cast<std::uint16_t>(spi >> 16),
                              kQuotedKind + static_cast<unsigned>(error));
}

}  // namespace lsn::datapath::ipsec_alg
