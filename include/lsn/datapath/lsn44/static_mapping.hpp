// Static mappings as packets meet them (shared/static_mappings.hpp).
//
// A packet that begins a session is looked up in the generation's table first, outbound by its
// inside endpoint, inbound by its NAT endpoint: a mapping that fits gives the session its other
// end, before any policy, without a Mapping object and without a port of its own. The mapping is
// endpoint-independent and admits every sender, within its destination. It is in force as far as
// it has its NAT ports (NatAddress::statics): until then its subscriber is served as if there were
// none, and nobody is let in by it.
//
// A session knows that a static mapping has its NAT endpoint (SessionCold::by_static) and lives as
// long as the generation has that very mapping. A subscriber with mappings of single ports is
// paired with their NAT address, if its group may use that, so that all of its traffic has one
// address.
#pragma once

#include <cstdint>
#include <optional>

#include "lsn/datapath/lsn44/pools.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/wire/endpoint.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

struct Session;

/// What a static mapping says of a packet.
struct StaticMatch {
  wire::Endpoint endpoint;  ///< the other end
  DomainId td;              ///< of the inside
  bool is_one_to_one;       ///< by a mapping of the whole address for all protocols
  bool is_active;           ///< it has its NAT port
  bool is_of_one_destination;
};

/// Of an inside endpoint towards a remote address: its NAT endpoint; of a NAT endpoint and a
/// sender: the inside endpoint. nullopt: no mapping fits.
[[nodiscard]] std::optional<StaticMatch> match_inside(Lsn44& shard, Protocol protocol,
                                                      const InsideAddress& inside, wire::Be16 port,
                                                      wire::Be32 remote);
[[nodiscard]] std::optional<StaticMatch> match_nat(Lsn44& shard, Protocol protocol,
                                                   const wire::Endpoint& nat, wire::Be32 remote);
/// The same of a protocol without ports: of mappings for all protocols. The endpoint has no port.
[[nodiscard]] std::optional<StaticMatch> match_inside(Lsn44& shard, const InsideAddress& inside,
                                                      wire::Be32 remote);
[[nodiscard]] std::optional<StaticMatch> match_nat(Lsn44& shard, wire::Be32 nat, wire::Be32 remote);

/// Whether a session that a static mapping has made is still one of such a mapping.
[[nodiscard]] bool is_static_still(const Lsn44& shard, const Session& session);

/// Pairs a subscriber without a NAT address with that of its static mappings, if its group may use
/// that address.
void pair_by_static(Lsn44& shard, Subscriber& subscriber, const Group& group);
/// Whether a subscriber cannot be paired with an address, as a static mapping has it whole.
[[nodiscard]] inline bool is_taken_whole(const Generation& generation, wire::Be32 nat_ip) {
  return generation.is_static_whole(wire::Ipv4Address{nat_ip});
}

}  // namespace lsn::datapath::lsn44
