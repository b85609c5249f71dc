// The tables of LSN44 in one shard: sessions, mappings, subscribers, and how one finds another.
//
//   outbound  (inside, remote)  ─┐
//   inbound   (NAT, remote)     ─┴─► Session ──► Subscriber ──► its sessions and mappings
//   mapping_index               ───► Mapping
//   permission_index            ───► count of sessions
//   subscriber_index (inside ip) ──► Subscriber ──► its port blocks
//
// Everything has the capacity that the configuration gave it at start; a newcomer that does not fit
// is refused. Sessions and idle mappings stand on timer wheels. Lists lead from a subscriber to all
// that it has, so that flushing one, or ending sessions that a reload does not allow, never scans a
// table of sessions.
#pragma once

#include <cstdint>

#include "lsn/datapath/lsn44/blocks.hpp"
#include "lsn/datapath/lsn44/follow_routes.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/pools.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/session_rate.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/state/flow_table.hpp"
#include "lsn/state/slab.hpp"
#include "lsn/state/timer_wheel.hpp"

namespace lsn::datapath::lsn44 {

/// Where the tables' memory comes from.
struct TableMemories {
  state::ZeroedMemory* sessions;  ///< for every session's objects
  state::ZeroedMemory* mappings;  ///< for every mapping's objects
  state::ZeroedMemory* rest;
};

struct Tables {
  Tables(std::uint32_t max_sessions, state::Ticks now, const state::HashSecret& secret,
         const TableMemories& memories);

  state::FlowTable outbound;
  state::FlowTable inbound;
  state::Slab<Session> sessions;
  state::ParallelArray<SessionCold> cold;
  state::LongTimerWheel session_wheel;
  std::uint32_t ended = 0;  ///< counts sessions that ended: an index found before may be another's

  state::FlowTable mapping_index;  ///< outbound and inbound keys
  state::Slab<Mapping> mappings;
  state::TimerWheel mapping_wheel;

  // Of ADDRESS-DEPENDENT filtering only.
  state::FlowTable permission_index;
  state::Slab<std::uint32_t> permissions;  ///< counts of sessions

  state::FlowTable subscriber_index;
  state::Slab<Subscriber> subscribers;
  state::ParallelArray<SessionBuckets> session_buckets;  ///< of subscribers

  RouteWalk route_walk;  ///< follow_routes.hpp

  state::Slab<Block> blocks;
  state::LongTimerWheel block_wheel;

  /// Given by the control thread together with the generation.
  ShardAddresses* addresses = nullptr;

  // The links of a session on its wheel and on its subscriber's list, of a mapping and of a block
  // likewise.
  [[nodiscard]] auto session_wheel_links() {
    return [this](std::uint32_t id) -> state::WheelLinks& { return cold[id].wheel; };
  }
  [[nodiscard]] auto session_list_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return cold[id].of_subscriber; };
  }
  [[nodiscard]] auto mapping_wheel_links() {
    return [this](std::uint32_t id) -> state::WheelLinks& { return mappings[id].wheel; };
  }
  [[nodiscard]] auto mapping_list_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return mappings[id].of_subscriber; };
  }
  [[nodiscard]] auto block_wheel_links() {
    return [this](std::uint32_t id) -> state::WheelLinks& { return blocks[id].wheel; };
  }
  [[nodiscard]] auto block_list_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return blocks[id].of_subscriber; };
  }
};

}  // namespace lsn::datapath::lsn44
