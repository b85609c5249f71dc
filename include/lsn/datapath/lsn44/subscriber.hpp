// Subscribers: inside hosts with state, each an address in a traffic domain. One is created with
// its first session or mapping, and goes with the last of them, its last port block and the last
// pin. In a deterministic group it is paired with the NAT address that the configuration gives it,
// from the beginning.
#pragma once

#include <array>
#include <cstdint>
#include <expected>

#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/domain.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/index_list.hpp"
#include "lsn/wire/big_endian.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// An inside host with state. It goes with its last session, mapping and block.
struct alignas(64) Subscriber {
  wire::Be32 ip;
  wire::Be32 paired_ip;  ///< its NAT address under PAIRED pooling; zero: none yet
  std::uint16_t group;   ///< stable id
  DomainId td;
  std::uint8_t in_use;
  std::uint8_t counted;         ///< bit per protocol: its sessions are in GroupUsage
  std::uint8_t displaced;       ///< whether the present ShardMap has another owner (subscriber.cpp)
  bool is_client : 1;           ///< in that group; false: the generation has none for it
  bool has_binding_record : 1;  ///< that is to have an end
  bool has_moved : 1;           ///< to another group, and the sweep has not armed its timers again
  std::uint32_t generation;     ///< for which all of this holds, as Generation::number
  std::uint32_t pins;           ///< other holders of it and its pairing: ALG state
  state::ListHead sessions;
  state::ListHead mappings;
  state::ListHead blocks;  ///< ports that it has to itself (blocks.hpp), the latest first
  ByProtocol<std::uint32_t> session_count;
  ByPortProtocol<std::uint32_t> port_count;

  [[nodiscard]] InsideAddress inside() const { return {wire::Ipv4Address{ip}, td}; }
};
static_assert(sizeof(Subscriber) == 64);

/// Whether something of a subscriber's is there that will outlive the present packet's refusal.
[[nodiscard]] inline bool is_alive(const Subscriber& subscriber) {
  return !subscriber.sessions.empty() || !subscriber.mappings.empty() ||
         !subscriber.blocks.empty() || subscriber.pins != 0;
}

/// The subscriber with that address, or state::kNone.
[[nodiscard]] SubscriberId find_subscriber(const Lsn44& shard, const InsideAddress& inside);
/// The same in two steps, for callers that prefetch subscriber_index.line_of(hash) in between.
[[nodiscard]] std::uint32_t subscriber_hash(const Lsn44& shard, const InsideAddress& inside);
[[nodiscard]] SubscriberId find_subscriber(const Lsn44& shard, const InsideAddress& inside,
                                           std::uint32_t hash);
/// Finds or creates it, up to the present generation, which has it in that group.
/// kSubscriberTableFull when there is no room.
[[nodiscard]] std::expected<SubscriberId, DropReason> obtain_subscriber(Lsn44& shard,
                                                                        const InsideAddress& inside,
                                                                        std::uint16_t group);
/// Brings a subscriber up to the present generation: into the group that its address belongs to
/// now, whose limits count its sessions; its pairing stays only if the group has that NAT address;
/// and whether it is displaced. Returns the group; nullptr: it is no client's any more.
const Group* refresh_subscriber(Lsn44& shard, SubscriberId id);
/// Forgets a subscriber that has nothing left; otherwise nothing happens.
void release_subscriber(Lsn44& shard, SubscriberId id);

}  // namespace lsn::datapath::lsn44
