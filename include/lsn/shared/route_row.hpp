// A route from the kernel as `show route` lists it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lsn/shared/domain.hpp"
#include "lsn/shared/route_group.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

struct RouteRow {
  /// Nothing: a route by outside interfaces, which every domain knows.
  std::optional<DomainId> td;
  wire::Ipv4Prefix prefix;
  std::uint32_t metric = 0;
  std::uint8_t protocol = 0;  ///< who has put it into the kernel (rtnetlink(7), rtm_protocol)
  std::uint8_t space = 0;     ///< of the namespaces that are listened to
  std::vector<RouteHop> hops;
  bool is_in_force = false;
};

/// Counts of the thread that follows the kernel's routes.
struct KernelRoutesStatus {
  std::uint64_t routes = 0;    ///< that have a way by an interface of ours
  std::uint64_t groups = 0;    ///< different sets of ways of them
  std::uint64_t no_room = 0;   ///< of the routes in force: not in the packet path
  std::uint64_t changes = 0;   ///< told by the kernel, since start
  std::uint64_t unusable = 0;  ///< of them: by an interface of ours, to no neighbour there
  std::uint64_t readings = 0;  ///< of the whole table, since start
  std::uint64_t overruns = 0;  ///< of them: because the kernel had more changes than it could keep
  bool is_complete = false;    ///< the whole table has been read
};

}  // namespace lsn::shared
