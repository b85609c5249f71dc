#include "lsn/datapath/lsn44/follow_routes.hpp"

#include <chrono>

#include "lsn/datapath/l3/output.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/translate.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// For a next hop to answer.
constexpr state::TickDuration kPatience = std::chrono::seconds{1};

/// Sessions between the one that is fetched into the cache and the one that is looked at.
constexpr std::uint32_t kAhead = 8;

std::uint32_t version_of(const Lsn44& shard) {
  return shard.fib == nullptr ? 0 : shard.fib->version();
}

/// A session's way in a direction, if it has looked it up.
void follow(Lsn44& shard, Session& session, Direction direction) {
  NeighbourId& hop = session.hop[direction];
  if (hop >= kHairpinHop) return;
  const bool out = direction == Direction::kOutbound;
  const auto found = find_hop(
      shard, in_domain(domain_of(shard, session), out ? session.remote_ip : session.inside_ip),
      direction, session.inside_ip);
  if (!found) {
    hop = kNoNeighbour;  // its next packet is dropped with the reason
    return;
  }
  if (*found == hop) return;
  const bool is_ready = shard.neighbours[*found].state == NeighbourState::kReachable ||
                        shard.neighbours[hop].state != NeighbourState::kReachable;
  if (is_ready || shard.lsn44.route_walk.is_second)
    hop = *found;
  else
    shard.lsn44.route_walk.has_left_over = true;
}

}  // namespace

bool has_routes_to_follow(const Lsn44& shard) {
  const RouteWalk& walk = shard.lsn44.route_walk;
  return walk.is_under_way || walk.routes != version_of(shard) ||
         walk.next_hops != shard.neighbours.next_hop_changes() ||
         (walk.wants_second && !walk.second_at.later_than(shard.now));
}

void follow_routes(Lsn44& shard, std::size_t budget) {
  RouteWalk& walk = shard.lsn44.route_walk;
  if (!walk.is_under_way) {
    walk.is_second = walk.wants_second && !walk.second_at.later_than(shard.now);
    walk.is_under_way = true;
    walk.has_left_over = false;
    walk.routes = version_of(shard);
    walk.next_hops = shard.neighbours.next_hop_changes();
    walk.cursor = 0;
  }
  auto& sessions = shard.lsn44.sessions;
  const std::uint32_t end = sessions.high_water();
  for (; budget != 0 && walk.cursor < end; --budget, ++walk.cursor) {
    sessions.prefetch(walk.cursor + kAhead);
    Session& session = sessions[walk.cursor];
    // One of a former generation looks its ways up with its next packet.
    if ((session.flags & SessionFlags::kInUse) == 0 || session.epoch != shard.epoch) continue;
    follow(shard, session, Direction::kOutbound);
    follow(shard, session, Direction::kInbound);
  }
  if (walk.cursor < end) return;
  walk.is_under_way = false;
  if (walk.is_second || !walk.has_left_over) {
    walk.wants_second = false;
  } else if (!walk.wants_second) {
    walk.wants_second = true;
    walk.second_at = shard.now + kPatience;
  }
}

}  // namespace lsn::datapath::lsn44
