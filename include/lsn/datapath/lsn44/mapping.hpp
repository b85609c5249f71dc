// A mapping: an inside endpoint bound to a NAT endpoint, for more than one session.
//
// Only policies that share a NAT endpoint between sessions, or let unsolicited hosts in, need the
// object: with ADDRESS-PORT-DEPENDENT mapping and filtering a session is its own mapping. A mapping
// is found in two ways: by the inside endpoint and as much of the destination as its policy looks
// at (RFC 4787 section 4.1), for the next outbound session; and by the NAT endpoint, for an inbound
// packet of no session. ADDRESS-DEPENDENT filtering asks whether the subscriber has a session from
// this mapping to the sender's address: a Permission counts those sessions.
//
// A mapping lives as long as it has sessions, and then for stuntimeout. After a reload
// revalidate_mapping() decides about it, at its first look-up or when the sweep comes to it: it may
// be void (its subscriber or its NAT address is gone), filter in another way from now on, or be
// retired: then it serves the sessions that it has and no others, and goes with the last of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>

#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/flow_table.hpp"
#include "lsn/state/index_list.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/state/timer_wheel.hpp"
#include "lsn/wire/big_endian.hpp"
#include "lsn/wire/endpoint.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

struct alignas(64) Mapping {
  wire::Be32 inside_ip;
  wire::Be32 nat_ip;
  wire::Be32 remote_ip;  ///< zero for ENDPOINT-INDEPENDENT mapping
  wire::Be16 inside_port;
  wire::Be16 nat_port;
  wire::Be16 remote_port;  ///< zero unless ADDRESS-PORT-DEPENDENT
  Protocol protocol;
  Dependence mapping;
  Dependence filtering;
  std::uint8_t in_use;
  wire::Be16 policy_port;  ///< destination port of its first session: whose policy it follows
  std::uint32_t subscriber;
  std::uint32_t sessions;   ///< of it
  state::Ticks idle_since;  ///< when the last one ended
  state::WheelLinks wheel;  ///< armed while it has no session
  state::ListLinks of_subscriber;
  std::uint32_t generation;  ///< for which the following holds, as Generation::number
  std::uint32_t tightened;   ///< since when its filtering admits fewer, likewise; 0: it never did
  bool is_void;              ///< the generation does not allow it
  bool is_retired;           ///< for no new sessions
  bool is_detached;          ///< its outbound key may be another one's
  bool is_recorded;          ///< there is a record that is to have an end
};
static_assert(sizeof(Mapping) == 64);

/// Kinds of FlowKey in the mapping index, by protocol p: kOutboundMapping + p and so on.
inline constexpr unsigned kOutboundMappingKind = 1;
inline constexpr unsigned kInboundMappingKind = 4;
inline constexpr unsigned kPermissionKind = 7;

[[nodiscard]] inline state::FlowKey outbound_mapping_key(Protocol protocol, wire::Be32 inside_ip,
                                                         wire::Be16 inside_port,
                                                         wire::Be32 remote_ip,
                                                         wire::Be16 remote_port) {
  return state::FlowKey::make(inside_ip.raw(), remote_ip.raw(), inside_port.raw(),
                              remote_port.raw(),
                              kOutboundMappingKind + static_cast<unsigned>(protocol));
}
/// RFC 4787 section 4.1: as much of the destination as the policy's mapping depends on.
[[nodiscard]] inline state::FlowKey outbound_mapping_key(const AppPolicy& policy, Protocol protocol,
                                                         wire::Be32 inside_ip,
                                                         wire::Be16 inside_port,
                                                         wire::Be32 remote_ip,
                                                         wire::Be16 remote_port) {
  return outbound_mapping_key(
      protocol, inside_ip, inside_port,
      policy.mapping == Dependence::kEndpointIndependent ? wire::Be32{} : remote_ip,
      policy.mapping == Dependence::kAddressPort ? remote_port : wire::Be16{});
}
[[nodiscard]] inline state::FlowKey inbound_mapping_key(Protocol protocol, wire::Be32 nat_ip,
                                                        wire::Be16 nat_port) {
  return state::FlowKey::make(nat_ip.raw(), 0, nat_port.raw(), 0,
                              kInboundMappingKind + static_cast<unsigned>(protocol));
}
/// A mapping's two keys. The one of the inside is marked as a flow's is (packet.hpp): what is found
/// by it is a subscriber's only if it names that subscriber.
[[nodiscard]] state::FlowKey outbound_key(const Lsn44& shard, const Mapping& m);
[[nodiscard]] inline state::FlowKey inbound_key(const Mapping& m) {
  return inbound_mapping_key(m.protocol, m.nat_ip, m.nat_port);
}
[[nodiscard]] inline state::FlowKey permission_key(Protocol protocol, wire::Be32 nat_ip,
                                                   wire::Be16 nat_port, wire::Be32 remote_ip) {
  return state::FlowKey::make(nat_ip.raw(), remote_ip.raw(), nat_port.raw(), 0,
                              kPermissionKind + static_cast<unsigned>(protocol));
}

/// Whether sessions of that policy share mappings; otherwise a session holds its port itself.
[[nodiscard]] constexpr bool has_mapping(const AppPolicy& policy) {
  return policy.mapping != Dependence::kAddressPort || policy.filtering != Dependence::kAddressPort;
}
/// The two ends that a mapping is wanted for.
struct MappingRequest {
  SubscriberId subscriber;
  Protocol protocol;
  wire::Be16 inside_port;
  wire::Endpoint remote;
  std::optional<wire::Be16> nat_port = std::nullopt;  ///< this very one, of the paired address
};
/// The mapping for a new outbound session, found or created.
[[nodiscard]] std::expected<MappingId, DropReason> obtain_mapping(Lsn44& shard, const Group& group,
                                                                  const AppPolicy& policy,
                                                                  const MappingRequest& request);
/// The mapping that owns a NAT endpoint, or state::kNone.
[[nodiscard]] MappingId find_mapping(const Lsn44& shard, Protocol protocol, wire::Be32 nat_ip,
                                     wire::Be16 nat_port);
/// Brings a mapping up to the present generation; false if it is not allowed any more. It is left
/// in its place: the sweep after the reload removes it.
[[nodiscard]] bool revalidate_mapping(Lsn44& shard, MappingId id);
/// Whether it lets the first packet of a new remote endpoint in (RFC 4787 section 5).
[[nodiscard]] bool admits(const Lsn44& shard, const Mapping& mapping, wire::Be32 remote_ip);
/// Counts a session to that address for ADDRESS-DEPENDENT filtering, until remove_permission();
/// false: no room.
[[nodiscard]] bool add_permission(Lsn44& shard, const Mapping& mapping, wire::Be32 remote_ip);
void remove_permission(Lsn44& shard, const Mapping& mapping, wire::Be32 remote_ip);
/// One session less (or a mapping that got none): idle from now on, for stuntimeout.
void mapping_became_idle(Lsn44& shard, MappingId id);
/// Removes a mapping without sessions.
void remove_mapping(Lsn44& shard, MappingId id);
/// Its timeout may have become shorter: by a reload.
void rearm_mapping(Lsn44& shard, MappingId id);
void expire_mappings(Lsn44& shard, std::size_t budget);

}  // namespace lsn::datapath::lsn44
