// Brings sessions to the ways that routes have become since they looked theirs up.
//
// Routes from the kernel change without a new generation, thousands a second when a router's
// session comes or goes, and next hops fail and come back. New sessions, and those whose next hop
// fails, take the new way at once; the others stay on theirs, which is reachable, until a walk
// over all sessions has come to them: a few at each poll, so that changes, however many, cost the
// traffic no more than that. A new next hop is asked for first and taken when it has answered, or
// by a second walk. What changes during a walk is seen to by the next one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lsn/state/ticks.hpp"

namespace lsn::datapath {

struct Lsn44;

namespace lsn44 {

struct RouteWalk {
  std::uint32_t routes = 0;     ///< the routes' state when it began
  std::uint32_t next_hops = 0;  ///< the next hops' (Neighbours::next_hop_changes())
  std::uint32_t cursor = 0;     ///< session
  bool is_under_way = false;
  bool is_second = false;      ///< takes next hops that have not answered, too
  bool has_left_over = false;  ///< sessions whose new next hop has not answered
  bool wants_second = false;   ///< not before `second_at`
  state::Ticks second_at;
};

/// Whether there is something to follow.
[[nodiscard]] bool has_routes_to_follow(const Lsn44& shard);
/// Walks on, over at most `budget` places of sessions.
void follow_routes(Lsn44& shard, std::size_t budget);

}  // namespace lsn44
}  // namespace lsn::datapath
