// How subscribers, NAT ports, mappings and sessions come into being and go.
//
// A session is made from a SessionRequest that outbound or inbound has filled in. Order: subscriber
// (by its address, made if need be) -> quotas -> mapping (found, or made with a NAT port) or a NAT
// port of its own -> the session's line, its two keys, its place on the wheel. What fails on the way
// is taken back and the packet is dropped for exactly one reason; nothing that lives is touched.
//
// A session ends by expiry, by flush or because a reload does not allow it. Its mapping then waits
// stuntimeout for another; its subscriber goes with the last session, mapping and pin.
#pragma once

#include <expected>
#include <optional>

#include "lsn/datapath/path.hpp"
#include "lsn/datapath/shard.hpp"
#include "lsn/state/fetch_list.hpp"

namespace lsn::datapath::lsn44 {

/// An endpoint of ours outside.
struct NatEndpoint {
  wire::Be32 ip;
  wire::Be16 port;
};

// ── subscribers (subscriber.cpp) ────────────────────────────────────────────────────────────────

/// The subscriber with that address, or state::kNone.
[[nodiscard]] SubscriberId find_subscriber(const Shard& shard, wire::Be32 ip);
/// The same in two steps, for who fetches subscriber_index.line_of(hash) in between.
[[nodiscard]] std::uint32_t subscriber_hash(const Shard& shard, wire::Be32 ip);
[[nodiscard]] SubscriberId find_subscriber(const Shard& shard, wire::Be32 ip, std::uint32_t hash);
/// Finds or makes it, up to the present generation, which has it in that group.
/// kSubscriberTableFull when there is no room.
[[nodiscard]] std::expected<SubscriberId, DropReason> obtain_subscriber(Shard& shard, wire::Be32 ip,
                                                                        std::uint16_t group);
/// Brings a subscriber up to the present generation: into the group that its address belongs to
/// now, whose limits count its sessions; its pairing stays only if the group has that NAT address;
/// and whether it is displaced. Returns the group; nullptr: it is no client's any more.
const Group* refresh_subscriber(Shard& shard, SubscriberId id);
/// One that has nothing left.
void forget_subscriber(Shard& shard, SubscriberId id);
/// Forgets a subscriber that has nothing left; otherwise nothing happens.
inline void release_subscriber(Shard& shard, SubscriberId id) {
  const Subscriber& subscriber = shard.lsn44.subscribers[id];
  if (subscriber.sessions.empty() && subscriber.mappings.empty() && subscriber.pins == 0)
    forget_subscriber(shard, id);
}

// ── NAT addresses and ports (ports.cpp) ─────────────────────────────────────────────────────────

/// Ours, with that address, or nullptr.
[[nodiscard]] NatAddress* find_nat_address(Shard& shard, wire::Be32 ip);
/// Takes a NAT port for a subscriber as its policies want it: address by pooling, port by range and
/// parity (RFC 4787 REQ-2, REQ-3, REQ-4), or the `wanted` one of its paired address if that is free.
/// Counts against portquota.
[[nodiscard]] std::expected<NatEndpoint, DropReason> take_port(Shard& shard,
                                                               Subscriber& subscriber,
                                                               const Group& group,
                                                               Protocol protocol, Pooling pooling,
                                                               wire::Be16 inside_port,
                                                               std::optional<wire::Be16> wanted);
/// Whether take_port() would find one, whatever the inside port; nullptr: a subscriber that is not there
/// yet.
[[nodiscard]] bool is_port_left(Shard& shard, const Subscriber* subscriber, const Group& group,
                                Protocol protocol, Pooling pooling);
/// Which NAT endpoint take_port() is going to find, as far as that can be told before; for who
/// fetches early what it will touch (foresight.cpp). Nothing is taken.
struct PortOutlook {
  NatAddress* address = nullptr;  ///< nullptr: cannot be told
  NatAddress* other = nullptr;    ///< the better one of both, if there are two
  bool by_ports = false;          ///< by ports taken, not by subscribers
  std::uint32_t random = 0;
};
/// What is to be fetched of all packets of a burst, or of as many objects, in one step: at most
/// nine lines of each.
using Fetches = state::FetchList<9 * kBurst>;
static_assert(kBurst >= state::kForeseen);
/// `draw`: how many random numbers will have been drawn before; raised by what this one draws.
[[nodiscard]] PortOutlook look_ahead(Shard& shard, const Subscriber* subscriber, const Group& group,
                                     Protocol protocol, Pooling pooling, std::uint32_t& draw,
                                     Fetches& fetches);
/// Settles for one of two addresses; to be fetched is what taking the port touches.
void narrow(PortOutlook& outlook, const Group& group, Protocol protocol, wire::Be16 inside_port,
            Fetches& fetches);
/// The endpoint, once that is there.
[[nodiscard]] std::optional<NatEndpoint> likely_endpoint(const PortOutlook& outlook,
                                                         const Group& group, Protocol protocol,
                                                         wire::Be16 inside_port);
/// Gives a port back, after the pool's portrealloctimeout if it has one.
void give_back_port(Shard& shard, Subscriber& subscriber, Protocol protocol, NatEndpoint endpoint);
/// Frees ports that have waited long enough, at most `budget`. Whether it came to an end before that.
bool free_waiting_ports(Shard& shard, std::size_t budget);
/// Pairs a subscriber with a NAT address of this shard; with any of its group's, the less loaded of
/// two chosen at random (false: there is none).
void pair_with(Shard& shard, Subscriber& subscriber, wire::Be32 nat_ip);
[[nodiscard]] bool pair_anywhere(Shard& shard, Subscriber& subscriber, const Group& group);
/// Gives up the subscriber's pairing with its NAT address.
void unpair(Shard& shard, Subscriber& subscriber);

// ── mappings (mapping.cpp) ──────────────────────────────────────────────────────────────────────

/// Whether sessions of that policy share mappings; otherwise a session holds its port itself.
[[nodiscard]] constexpr bool has_mapping(const AppPolicy& policy) {
  return policy.mapping != Dependence::kAddressPort || policy.filtering != Dependence::kAddressPort;
}
/// The mapping for a new outbound session, found or made.
[[nodiscard]] std::expected<MappingId, DropReason> obtain_mapping(
    Shard& shard, SubscriberId subscriber, const Group& group, Protocol protocol,
    const AppPolicy& policy, wire::Be16 inside_port, wire::Be32 remote_ip, wire::Be16 remote_port,
    std::optional<wire::Be16> wanted = std::nullopt);
/// The mapping that owns a NAT endpoint, or state::kNone.
[[nodiscard]] MappingId find_mapping(const Shard& shard, Protocol protocol, wire::Be32 nat_ip,
                                     wire::Be16 nat_port);
/// Brings a mapping up to the present generation; false if it is not allowed any more. It is left
/// in its place: the sweep after the reload removes it.
[[nodiscard]] bool revalidate_mapping(Shard& shard, MappingId id);
/// Whether it lets the first packet of a new remote endpoint in (RFC 4787 section 5).
[[nodiscard]] bool admits(const Shard& shard, const Mapping& mapping, wire::Be32 remote_ip);
/// Counts a session to that address for ADDRESS-DEPENDENT filtering, until remove_permission();
/// false: no room.
[[nodiscard]] bool add_permission(Shard& shard, const Mapping& mapping, wire::Be32 remote_ip);
void remove_permission(Shard& shard, const Mapping& mapping, wire::Be32 remote_ip);
/// One session less (or a mapping that got none): idle from now on, for stuntimeout.
void mapping_became_idle(Shard& shard, MappingId id);
/// Removes a mapping without sessions.
void remove_mapping(Shard& shard, MappingId id);
/// Its timeout may have become shorter: by a reload.
void rearm_mapping(Shard& shard, MappingId id);
void expire_mappings(Shard& shard, std::size_t budget);

// ── sessions (session.cpp) ──────────────────────────────────────────────────────────────────────

struct SessionRequest {
  Protocol protocol;
  Direction first;  ///< of the packet that asks for it
  wire::Be32 inside_ip;
  wire::Be16 inside_port;
  wire::Be32 remote_ip;
  wire::Be16 remote_port;
  std::uint8_t flags = 0;             ///< SessionFlags to begin with
  MappingId mapping = state::kNone;   ///< inbound: the mapping that admitted it
  /// The hash of the outbound key, if the caller has just looked for it in vain.
  std::optional<std::uint32_t> missed = std::nullopt;
  std::optional<wire::Be16> nat_port = std::nullopt;  ///< this very one, of the paired address
};

/// Makes a session; `policy` is that of the destination port and says how (outbound only).
[[nodiscard]] std::expected<SessionId, DropReason> create_session(Shard& shard, const Group& group,
                                                                  std::uint16_t group_id,
                                                                  const AppPolicy& policy,
                                                                  const SessionRequest& request);
/// Makes the session's part that the packet path needs of an ESP session: one of the subscriber's
/// sessions. Its quota (the ALG profile's, no other), its keys and its first place on the wheel
/// (rearm_session) are the ALG's, which knows it as `esp`.
[[nodiscard]] std::expected<SessionId, DropReason> create_esp_session(Shard& shard,
                                                                      SubscriberId subscriber,
                                                                      wire::Be32 nat_ip,
                                                                      wire::Be32 server,
                                                                      std::uint32_t esp);
void end_session(Shard& shard, SessionId id, SessionEnd why);
/// How long it may be idle, by protocol and TCP state.
[[nodiscard]] state::TickDuration idle_timeout(const Shard& shard, const Session& session,
                                               const SessionCold& cold);
/// Its timeout became shorter: TCP is closing, or a reload says so.
void rearm_session(Shard& shard, SessionId id);
void expire_sessions(Shard& shard, std::size_t budget);
/// groupSessionLimit: a limit that a reload has brought counts the sessions that are there; one
/// that it took away forgets them.
void count_in_limits(const Group& group, Subscriber& subscriber);

/// Whether the current generation still allows it: its subscriber's group, its NAT address, the
/// filtering of the mapping that let it in. Brings its subscriber and its mapping up to it.
[[nodiscard]] bool is_allowed(Shard& shard, SessionId id);

/// The links of a session on its wheel and on its subscriber's list, of a mapping likewise.
[[nodiscard]] inline auto session_wheel_links(Tables& tables) {
  return [&tables](std::uint32_t id) -> state::WheelLinks& { return tables.cold[id].wheel; };
}
[[nodiscard]] inline auto session_list_links(Tables& tables) {
  return [&tables](std::uint32_t id) -> state::ListLinks& { return tables.cold[id].of_subscriber; };
}
[[nodiscard]] inline auto mapping_wheel_links(Tables& tables) {
  return [&tables](std::uint32_t id) -> state::WheelLinks& { return tables.mappings[id].wheel; };
}
[[nodiscard]] inline auto mapping_list_links(Tables& tables) {
  return
      [&tables](std::uint32_t id) -> state::ListLinks& { return tables.mappings[id].of_subscriber; };
}

}  // namespace lsn::datapath::lsn44
