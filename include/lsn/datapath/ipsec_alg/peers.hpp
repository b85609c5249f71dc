// Creation and removal of peers and gates; the profile that they follow; its counters.
//
// A peer is created by the first IKE message or ESP packet of a client with a server, together with
// its gate if that is new. It pins its subscriber: the pairing with the NAT address stays while
// there is a peer. If something of a peer ends mark_unused() notes the peer; release_unused()
// removes it between bursts if it is not needed, so that no function loses a peer or a gate that it
// works on.
#pragma once

#include <cstdint>
#include <expected>

#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"

namespace lsn::datapath::ipsec_alg {

/// The profile of a group, or nullptr: it has none.
[[nodiscard]] inline const AlgProfile* find_profile(const Context& shard, std::uint16_t group_id) {
  const Generation& generation = *shard.generation;
  const Group* const group = generation.group(group_id);
  if (group == nullptr || group->alg_profile == kNoId) return nullptr;
  const AlgProfile& profile = generation.alg_profiles[group->alg_profile];
  return profile.present ? &profile : nullptr;
}

inline const AlgProfile kDefaultProfile{};

/// The profile that a peer follows now: a reload changes it for existing peers. Between a reload
/// that unbinds it and the end of the peer, the defaults.
[[nodiscard]] inline const AlgProfile& profile_of(const Lsn44& shard, const Peer& peer) {
  const AlgProfile* const profile =
      find_profile(shard, shard.lsn44.subscribers[peer.subscriber].group);
  return profile == nullptr ? kDefaultProfile : *profile;
}

/// Counts for a profile (by stable id) and in total.
void count(IpsecAlg& shard, std::uint16_t profile, AlgCounter counter, std::uint64_t n = 1);
/// Counts an ESP packet that is dropped; `profile` kNoId: not known, in total only.
void count_drop(IpsecAlg& shard, std::uint16_t profile, DropReason reason);
void raise(IpsecAlg& shard, std::uint16_t profile, AlgGauge gauge, std::uint64_t n = 1);
void lower(IpsecAlg& shard, std::uint16_t profile, AlgGauge gauge, std::uint64_t n = 1);

/// An event about a peer, to be completed and put into Tables::events.
[[nodiscard]] Event event_of(const IpsecAlg& shard, EventKind kind, const Peer& peer);

[[nodiscard]] GateId find_gate(const IpsecAlg& shard, wire::Be32 nat_ip, wire::Be32 server);
[[nodiscard]] PeerId find_peer(const IpsecAlg& shard, const InsideAddress& client,
                               wire::Be32 server);

/// Finds or creates the peer of a subscriber that has its pairing. `cause`: the direction of the
/// packet that asks for it; a packet from outside replaces none.
[[nodiscard]] std::expected<PeerId, DropReason> obtain_peer(IpsecAlg& shard,
                                                            SubscriberId subscriber,
                                                            wire::Be32 server, Direction cause);

/// Design 2: a profile may be bound while a client has live UDP 500 mappings, at another address
/// than it is paired with, or unpaired. A client that has nothing of the ALG yet is paired with the
/// address of its IKE mapping. False: it is paired with another one.
[[nodiscard]] bool follow_ike_mapping(IpsecAlg& shard, SubscriberId subscriber, wire::Be32 nat_ip);
/// The address of a live mapping of the client's UDP 500 towards that server, or, if it has none,
/// to any; zero: it has none.
[[nodiscard]] wire::Be32 find_ike_mapping_address(const Lsn44& shard, SubscriberId subscriber,
                                                  wire::Be32 server);

/// Its peer may not be needed any more.
void mark_unused(IpsecAlg& shard, PeerId id);
/// Removes the peers that are not needed, and their gates.
void release_unused(IpsecAlg& shard);

/// Its IKE was not silent just now: others of its client are replaced before it.
void touch(IpsecAlg& shard, PeerId id);

/// Ends a peer's state (flush, reload) but for its ESP sessions: IKE sessions, turn, waiting,
/// lingering, dangling.
void clear_peer(IpsecAlg& shard, PeerId id, AlgEnd why);

/// Counts the peer for the profile that it follows now.
void recount_profile(IpsecAlg& shard, PeerId id);

}  // namespace lsn::datapath::ipsec_alg
