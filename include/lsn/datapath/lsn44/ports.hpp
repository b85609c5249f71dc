// NAT ports: which one a flow gets, and when it is free again.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "lsn/datapath/lsn44/pools.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/state/prefetch_batch.hpp"
#include "lsn/state/timer_wheel.hpp"
#include "lsn/wire/endpoint.hpp"

namespace lsn::datapath::lsn44 {

/// The shard's own NatAddress of that address, or nullptr.
[[nodiscard]] NatAddress* find_nat_address(Lsn44& shard, wire::Be32 ip);
/// The addresses of a group on this shard.
[[nodiscard]] const AddressSet& addresses_of(const Lsn44& shard, const Group& group);
/// Whether a subscriber that is paired with it will have ports.
[[nodiscard]] bool has_room_for_subscriber(NatAddress& address, const Group& group);
struct PortRequest {
  Protocol protocol;
  Pooling pooling;
  wire::Be16 inside_port;
  wire::Be16 remote_port{};
  std::optional<wire::Be16> wanted = std::nullopt;  ///< this very one, of the paired address
};
/// Takes a NAT port for a subscriber as its policies want it: address by pooling, port by range and
/// parity (RFC 4787 REQ-2, REQ-3, REQ-4), or the `wanted` one of its paired address if that is
/// free; in a group with port blocks of one of the subscriber's (blocks.hpp). Counts against
/// portquota, whose last ports may be kept for some remote ports (portReserve).
[[nodiscard]] std::expected<wire::Endpoint, DropReason> take_port(Lsn44& shard,
                                                                  Subscriber& subscriber,
                                                                  const Group& group,
                                                                  const PortRequest& request);
/// What take_port() would do, whatever the inside port: why it would find none, and the block that
/// it would take one of, if the group has blocks and the subscriber one with room.
struct PortOutlook {
  std::optional<DropReason> refusal{};
  std::optional<shared::PortBlock> block{};
};
/// `subscriber`: nullptr if that of address `ip` is not there yet.
[[nodiscard]] PortOutlook port_outlook(Lsn44& shard, const Subscriber* subscriber,
                                       const InsideAddress& inside, const Group& group,
                                       Protocol protocol, Pooling pooling);
/// Which NAT endpoint take_port() is going to find, as far as that can be predicted: the lines that
/// it will touch are prefetched (prefetch.cpp). Nothing is taken.
struct PortPrediction {
  NatAddress* address = nullptr;  ///< nullptr: cannot be predicted
  NatAddress* other = nullptr;    ///< the better one of both, if there are two
  bool by_ports = false;          ///< by ports taken, not by subscribers
  std::uint32_t random = 0;
  state::PortSpan ports{0, 65535};  ///< of the block that it will be in
};
/// The lines to prefetch for all packets of a burst, or for as many objects, in one step: at most
/// nine for each.
using PrefetchBatch = state::PrefetchBatch<9 * kBurst>;
static_assert(kBurst >= state::kAnnounced);
/// `draw`: how many random numbers will have been drawn before; raised by what this one draws.
[[nodiscard]] PortPrediction predict_port(Lsn44& shard, const Subscriber* subscriber,
                                          const Group& group, Protocol protocol, Pooling pooling,
                                          std::uint32_t& draw, PrefetchBatch& batch);
/// Decides for one of two addresses; the batch gets the lines that taking the port touches.
void narrow(PortPrediction& prediction, const Group& group, Protocol protocol,
            wire::Be16 inside_port, PrefetchBatch& batch);
/// The endpoint, once that is there.
[[nodiscard]] std::optional<wire::Endpoint> likely_endpoint(const PortPrediction& prediction,
                                                            const Group& group, Protocol protocol,
                                                            wire::Be16 inside_port);
/// Gives a port back, after the pool's portrealloctimeout if it has one.
void give_back_port(Lsn44& shard, Subscriber& subscriber, Protocol protocol,
                    wire::Endpoint endpoint);
/// Frees ports that have waited long enough, at most `budget`. Whether it came to an end before
/// that.
bool free_waiting_ports(Lsn44& shard, std::size_t budget);
/// Pairs a subscriber with a NAT address of this shard; with any of its group's, the less loaded of
/// two chosen at random (false: there is none).
void pair_with(Lsn44& shard, Subscriber& subscriber, wire::Be32 nat_ip);
[[nodiscard]] bool pair_anywhere(Lsn44& shard, Subscriber& subscriber, const Group& group);
/// Gives up the subscriber's pairing with its NAT address.
void unpair(Lsn44& shard, Subscriber& subscriber);

}  // namespace lsn::datapath::lsn44
