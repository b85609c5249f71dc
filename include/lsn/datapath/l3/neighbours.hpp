// Next hops and their hardware addresses: ARP (RFC 826, RFC 5227 for announcements).
//
// Each shard has a table of its own. A neighbour is an (interface, IPv4 address); sessions remember
// its index. It begins as incomplete: requests are sent once a second, up to kMaxProbes, and a few
// packets wait with it. An answer makes it reachable: link_header then holds all bytes in front of
// the IP header, ready to be copied. A reachable one that is in use is asked again (unicast) after
// kConfirmAfter without a sign of life and goes back to incomplete when it does not answer; one
// that is not in use is forgotten after kForgetAfter, one that never answered much earlier: a scan
// of a connected network shall not fill the table. A forgotten one keeps its index for those
// sessions that remember it, and begins again if they use it, until the table is three quarters
// full: then all forgotten ones are freed together, and since an index may then mean another
// neighbour, Context::epoch is raised: sessions look their next hops up again.
//
// ARP packets that are for the NAT, and announcements (RFC 5227 section 3), reach every worker: the
// one that received it hands off copies to the others, so one answer fills all tables. That is
// limited per second and group of senders (concerns_all()); from one that is for another host its
// receiver alone learns. Requests for the NAT's addresses are answered by the worker that got them.
// A sender that speaks to the NAT is learned without being asked while the table is not half full:
// forged senders cannot take the places of next hops that are in use.
//
// Gateways, the next hops of configured routes, are asked for when their link comes up and when a
// configuration brings them (resolve_gateways()), before any packet needs them. They are never
// forgotten: reachable ones are confirmed whether they are in use or not, others are asked for
// again every kRetryGatewayAfter. Next hops of routes from the kernel, and of those that have
// several ways, are treated so while packets want to go there.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/shared/queries.hpp"
#include "lsn/state/flow_table.hpp"
#include "lsn/state/index_list.hpp"
#include "lsn/state/slab.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/state/timer_wheel.hpp"
#include "lsn/wire/ethernet.hpp"

namespace lsn::datapath {

struct Context;
struct L3;

/// Whether an address of a link is no host's: the network itself or its broadcast address (RFC 1812
/// section 4.2.3.1); /31 and /32 have neither (RFC 3021).
[[nodiscard]] constexpr bool is_link_broadcast(const wire::Ipv4Prefix& network,
                                               wire::Ipv4Address address) {
  return network.length < 31 && (address == network.first() || address == network.last());
}

/// A hardware address that one station has: no group's (I/G bit, IEEE 802 section 8.2) and not
/// zero.
[[nodiscard]] inline bool is_station(const wire::MacAddress& mac) {
  return (mac[0] & 1) == 0 && mac != wire::MacAddress{};
}

/// Whether the NAT answers for an address on an interface: the interface's own, or a NAT address
/// that lies in an outside interface's network (others are routed to the NAT). No other station
/// there may have it.
[[nodiscard]] bool is_ours_on(const Generation& generation, InterfaceId interface,
                              wire::Be32 address);

struct Neighbour;
/// Whether a configured route leads through it.
[[nodiscard]] bool is_gateway(const Generation& generation, const Neighbour& neighbour);

/// Index of a neighbour in its shard's table.
using NeighbourId = std::uint16_t;
inline constexpr NeighbourId kNoNeighbour = 0xFFFF;
/// Session::hop of a session whose remote side is a NAT address.
inline constexpr NeighbourId kHairpinHop = 0xFFFE;

enum class NeighbourState : std::uint8_t { kFree, kForgotten, kIncomplete, kReachable };

/// The packet path's part of a neighbour: one cache line.
struct alignas(64) Neighbour {
  std::array<std::uint8_t, 18> link_header;  ///< Ethernet, with the VLAN tag if there is one
  std::uint8_t link_header_size;             ///< 14 or 18
  NeighbourState state;
  std::uint16_t device;
  std::uint16_t mtu;  ///< of the interface: largest IP packet
  InterfaceId interface;
  std::uint8_t probes;  ///< unanswered requests
  bool is_next_hop;     ///< of a route that may change, or that has other ways (want())
  wire::Be32 ip;
  std::uint8_t waiting_count;
  state::Ticks last_used;  ///< a packet went there
  state::Ticks confirmed;  ///< a sign of life came
  state::Ticks asked;      ///< the last request went out
  state::WheelLinks wheel;
  state::ListHead waiting;     ///< packets, by index into the table's waiting room
  state::ListLinks forgotten;  ///< among the forgotten ones
};
static_assert(sizeof(Neighbour) == 64);

class Neighbours {
 public:
  static constexpr std::uint32_t kCapacity = 16384;
  static constexpr std::uint32_t kWaitingRoom = 1024;  ///< packets that wait, in all
  /// And per neighbour: the largest datagram in fragments for Ethernet has 45.
  static constexpr std::uint32_t kWaitingPerNeighbour = 48;
  static constexpr unsigned kMaxProbes = 3;
  static constexpr state::TickDuration kProbeInterval = std::chrono::seconds{1};
  static constexpr state::TickDuration kConfirmAfter = std::chrono::seconds{30};
  static constexpr state::TickDuration kForgetAfter = std::chrono::seconds{300};
  /// of one that does not answer
  static constexpr state::TickDuration kForgetUnresolvedAfter = std::chrono::seconds{30};
  /// Until a gateway that did not answer is asked for again.
  static constexpr state::TickDuration kRetryGatewayAfter = std::chrono::seconds{10};
  /// Incomplete ones beyond which none is created for an answer of the NAT's own.
  static constexpr std::uint32_t kIncompleteForAnswers = 256;
  /// Copies of ARP packets for the other workers: per second and group of senders, by their hash.
  /// Of replies, which the NAT itself has asked for, a second's worth is the whole table.
  static constexpr std::uint32_t kCopiesPerSecond = 16, kRepliesPerSecond = 64;
  static constexpr std::size_t kCopyGroups = 256;
  /// Beyond so many neighbours none is learned that was not asked for.
  static constexpr std::uint32_t kUnaskedLimit = kCapacity / 2;
  /// Beyond so many, forgotten ones included, those are freed.
  static constexpr std::uint32_t kFreeBeyond = kCapacity / 4 * 3;
  /// Announcements, and questions for gateways, per call of announce() and of advance(): a transmit
  /// buffer holds few hundred.
  static constexpr std::size_t kAnnouncedAtOnce = 64;

  Neighbours(state::Ticks now, const state::HashSecret& secret, state::ZeroedMemory* memory);

  [[nodiscard]] Neighbour& operator[](NeighbourId id) { return table_[id]; }
  [[nodiscard]] const Neighbour& operator[](NeighbourId id) const { return table_[id]; }

  /// The neighbour of that address, created (incomplete, not yet asked for) if it is new;
  /// kNoNeighbour when the table is full.
  [[nodiscard]] NeighbourId find_or_add(Context& shard, InterfaceId interface, wire::Be32 ip);

  /// find_or_add() of a next hop that other ways may take the place of: it is asked for at once,
  /// and confirmed and asked for again as a gateway is while it is wanted.
  [[nodiscard]] NeighbourId want(Context& shard, InterfaceId interface, wire::Be32 ip);
  /// Counts such next hops that became reachable, or are not any more.
  [[nodiscard]] std::uint32_t next_hop_changes() const { return next_hop_changes_; }

  /// The neighbour of that address, or kNoNeighbour.
  [[nodiscard]] NeighbourId find(InterfaceId interface, wire::Be32 ip) const;
  /// A reachable one that is not in the table: a station on a link, by its hardware address alone.
  [[nodiscard]] Neighbour station(const Context& shard, InterfaceId interface,
                                  const wire::MacAddress& mac) const;
  /// Whether one more may be created only to send an answer of the NAT's own.
  [[nodiscard]] bool has_room_for_answers() const {
    return table_.size() - forgotten_count_ - reachable_ < kIncompleteForAnswers;
  }

  /// Keeps a packet whose data begins at its IP header until the neighbour is known, and asks for
  /// it; a packet that may not wait is dropped and counted. Takes the packet in any case.
  void wait(Context& shard, NeighbourId id, rte_mbuf* packet);

  /// An ARP packet of the given interface: learns the sender (RFC 826: only if it is known or asks
  /// for the NAT, and of the interface's network), answers a request for an interface's or a pool's
  /// address if `answer`. Says consumed, or drop when it is neither request nor reply or the sender
  /// is impossible: no station, or with an address of the NAT's. Does not take the packet.
  enum class Answer : std::uint8_t { kYes, kNo };
  [[nodiscard]] Verdict arp_received(L3& shard, InterfaceId interface, const wire::ArpHeader& arp,
                                     Answer answer);

  /// Whether the other workers have to be shown an ARP packet; counts those that are one too many.
  [[nodiscard]] bool concerns_all(Context& shard, InterfaceId interface,
                                  const wire::ArpHeader& arp);

  /// Asks for all gateways of the generation, by and by in advance(): known ones are confirmed.
  void resolve_gateways() { next_gateway_ = 0; }

  /// Announces the NAT's addresses (the interface's, and those of pools that it answers for, of all
  /// shards) on a link: the first ones now, the others by advance().
  void announce(Context& shard, InterfaceId interface);

  /// Sends due requests and announcements, gives up, forgets, frees. At most `budget` of each.
  void advance(L3& shard, std::size_t budget);
  /// Whether advance() has something to do that no clock says: announcements, gateways, places to
  /// free.
  [[nodiscard]] bool has_more(const Context& shard) const;

  /// All that were ever created have indices below it; those that are not there now are kFree.
  [[nodiscard]] std::uint32_t high_water() const { return table_.high_water(); }
  /// Places that are taken.
  [[nodiscard]] std::uint32_t places() const { return table_.size(); }
  /// Ticks that its wheel is behind.
  [[nodiscard]] std::uint32_t lag(state::Ticks now) const { return wheel_.lag(now); }

  /// Known next hops that are reachable.
  [[nodiscard]] std::uint32_t size() const { return reachable_; }

  /// Frees every packet that waits (at the end).
  void clear(Context& shard);

 private:
  struct WaitingPacket {
    rte_mbuf* packet;
    std::uint32_t
        adopted;  ///< Context::adopted when it came: with which generation it was translated
    state::ListLinks links;
  };

  [[nodiscard]] auto wheel_links() {
    return [this](std::uint32_t id) -> state::WheelLinks& { return table_[id].wheel; };
  }
  [[nodiscard]] auto waiting_links() {
    return [this](std::uint32_t place) -> state::ListLinks& { return waiting_[place].links; };
  }
  [[nodiscard]] auto forgotten_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return table_[id].forgotten; };
  }
  void probe(Context& shard, NeighbourId id);
  void rearm(NeighbourId id, state::Ticks deadline);
  void announce_more(Context& shard, std::size_t budget);
  void ask_for_gateways(Context& shard, std::size_t budget);
  void learned(L3& shard, NeighbourId id, const wire::MacAddress& mac);
  void lose(Context& shard, Neighbour& neighbour);
  [[nodiscard]] NeighbourId find_or_make(Context& shard, InterfaceId interface, wire::Be32 ip);
  void forget(Context& shard, NeighbourId id);
  void recall(NeighbourId id);
  void free_forgotten(Context& shard, std::size_t budget);
  void drop_waiting(Context& shard, NeighbourId id);
  [[nodiscard]] std::optional<state::Ticks> due(L3& shard, NeighbourId id);

  state::Slab<Neighbour> table_;
  state::FlowTable index_;
  state::Slab<WaitingPacket> waiting_;
  state::TimerWheel wheel_;
  std::uint32_t reachable_ = 0;
  std::uint32_t next_hop_changes_ = 0;
  state::ListHead forgotten_;
  std::uint32_t forgotten_count_ = 0;
  bool freeing_ = false;  ///< forgotten ones are being freed, down to the last
  /// Found last, by address: most new sessions have one of few next hops.
  struct Found {
    NeighbourId id = kNoNeighbour;
    InterfaceId interface = 0;
    wire::Be32 ip;
  };
  static constexpr unsigned kFoundBits = 4;
  std::array<Found, 1u << kFoundBits> found_{};
  std::size_t next_gateway_ = SIZE_MAX;  ///< of the generation's, to be asked for; beyond: none
  /// Copies of ARP packets of a group of senders in the second that began at `since`.
  struct Copies {
    state::Ticks since;
    std::uint16_t requests = 0;
    std::uint16_t replies = 0;
  };
  std::array<Copies, kCopyGroups> copies_{};
  /// Bit per interface that has not announced all yet.
  std::array<std::uint64_t, (kMaxInterfaces + 63) / 64> announcing_{};
  std::uint32_t announcing_count_ = 0;
  std::uint32_t announce_next_ = 0;  ///< of the lowest of them: the NAT address to go on with
};

/// Questions of the control thread (shared/queries.hpp), a step of at most about `budget` objects.
void list_neighbours(L3& shard, NeighbourPage& page, std::size_t budget);

}  // namespace lsn::datapath
