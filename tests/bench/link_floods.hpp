// Unsolicited packets, as outside hosts and infected subscribers send them.
#pragma once

#include <memory>
#include <string>

#include "link_flows.hpp"

namespace lsn::bench {

/// `name`:
///   tuples       UDP from outside, from anywhere to any port of the pool's addresses
///   spis         ESP from outside, from anywhere to the pool's addresses, any SPI
///   server-spis  ESP from outside in the names of tunnels' servers to their clients' NAT
///                addresses, any SPI
///   syn          TCP from inside, the first packets of connections of flows' subscribers to
///                anywhere
/// Throws if there is none of that name. `tunnels`: of `server-spis`, those that are open.
std::unique_ptr<Flood> make_flood(const std::string& name, const Link& link, const Flows& tunnels);

}  // namespace lsn::bench
