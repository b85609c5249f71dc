// Port blocks: the ports of one NAT address that one subscriber has to himself, so that one record
// says who is behind any of them.
//
// A group with port blocks takes no port outside of its subscribers' blocks. A subscriber's first
// session allocates a random free block, on his own NAT address where pooling is PAIRED, on any of
// his shard where it is RANDOM; further ones follow when a protocol has no port left in those that
// he has, up to the group's maxBlocks. A block without ports in use is given back after
// blockTimeout; ports that wait for portrealloctimeout are in use. A subscriber stays as long as he
// has a block.
//
// Deterministic NAT knows no Block objects: the one block of a subscriber follows from the
// configuration (shared/deterministic.hpp), and is asked for when a port is taken.
//
// After a reload a block stays as long as ports of it are in use. A session whose port lies in no
// block of its subscriber, as the group had none before or its blocks were others, is given the
// block around it if that is free, and ends otherwise (holds_port()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>

#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/lsn44/pools.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/block_map.hpp"
#include "lsn/state/index_list.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/state/timer_wheel.hpp"
#include "lsn/wire/big_endian.hpp"
#include "lsn/wire/endpoint.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

struct Subscriber;

struct Block {
  wire::Be32 nat_ip;
  std::uint32_t serial;  ///< of the NatAddress: the address may go and come back meanwhile
  state::PortSpan ports;
  SubscriberId subscriber;
  state::Ticks given_back;  ///< when a port of it was, the last time
  std::uint8_t in_use;
  std::uint8_t full;    ///< bit per protocol: no port was left; it is asked again when one is freed
  bool drains : 1;      ///< its address does
  bool is_retired : 1;  ///< its group has no such blocks any more: no further port of it is taken
  bool is_recorded : 1;  ///< there is a record that is to have an end
  state::ListLinks of_subscriber;
  state::WheelLinks wheel;
};
static_assert(sizeof(Block) <= 40);

/// The blocks of a deterministic subscriber, or of one with blocks of his own, are all that he may
/// take ports of.
[[nodiscard]] inline bool has_blocks(const Group& group) {
  return group.deterministic != nullptr || group.blocks.size != 0;
}

/// Allocates a random free block of an address. kPortBlockFull: the subscriber has maxBlocks.
[[nodiscard]] std::expected<BlockId, DropReason> allocate_block(Lsn44& shard,
                                                                Subscriber& subscriber,
                                                                const Group& group,
                                                                NatAddress& address);
/// ... the one around a port, if it is free.
[[nodiscard]] std::expected<BlockId, DropReason> allocate_block_at(Lsn44& shard,
                                                                   Subscriber& subscriber,
                                                                   const Group& group,
                                                                   NatAddress& address,
                                                                   std::uint16_t port);
/// An address of the group on this shard with a free block, the less loaded of two chosen at
/// random if both have one; nullptr: there is none.
[[nodiscard]] NatAddress* find_address_with_block(Lsn44& shard, const Group& group);
/// Whether an address has a free block of the group's size.
[[nodiscard]] bool has_free_block(NatAddress& address, const Group& group);

/// The subscriber's block around a NAT endpoint, or state::kNone.
[[nodiscard]] BlockId find_block(const Lsn44& shard, const Subscriber& subscriber,
                                 wire::Be32 nat_ip, std::uint16_t port);
/// A port of a subscriber's is free again.
void note_port_given_back(Lsn44& shard, const Subscriber& subscriber, Protocol protocol,
                          wire::Endpoint endpoint);

/// Whether a subscriber may have a NAT port that he has: in a group with blocks it lies in one of
/// his, or in a free one that becomes his.
[[nodiscard]] bool holds_port(Lsn44& shard, Subscriber& subscriber, const Group& group,
                              wire::Endpoint endpoint);

/// Gives back blocks that have been idle for blockTimeout.
void expire_blocks(Lsn44& shard, std::size_t budget);
/// Retires the blocks of a subscriber that its present group has not: of other pools, of an address
/// that a static mapping has whole, or as it has none. nullptr: it is no client's any more.
void refresh_blocks(Lsn44& shard, const Subscriber& subscriber, const Group* group);
/// A reload may have shortened blockTimeout, or taken blocks away.
void rearm_blocks(Lsn44& shard, const Subscriber& subscriber);

}  // namespace lsn::datapath::lsn44
