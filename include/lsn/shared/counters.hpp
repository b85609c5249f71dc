// A worker's counters. One writer (the worker), any reader, no lock and no shared line: each worker
// has a Counters of its own, readers add them up.
//
// A Counter is written with a plain load and store (no other writer), relaxed: a reader may see one
// counter of a packet and not yet the other, never half a number. Gauges are counters that their
// owner may set. A packet's way: counted in `interfaces[i].rx` when it is received, in exactly one
// of `drops`, `consumed` (ARP, answers of the NAT's own), `handoff_sent`, `interfaces[i].tx` when
// it leaves the worker.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lsn/shared/drop_reason.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/enum_array.hpp"

namespace lsn::shared {

class Counter {
 public:
  Counter() = default;
  /// A copy has the value that its reader saw.
  Counter(const Counter& other) : value_(other.get()) {}
  Counter& operator=(const Counter& other) {
    if (this != &other) set(other.get());
    return *this;
  }

  void add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void subtract(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

enum class Direction : std::uint8_t { kOutbound, kInbound };
inline constexpr std::size_t kDirections = 2;

template <class T>
using ByDirection = state::EnumArray<Direction, T, kDirections>;

struct PacketsAndBytes {
  Counter packets;
  Counter bytes;  ///< of IP packets, without link headers

  void add(std::uint64_t n_packets, std::uint64_t n_bytes) {
    packets.add(n_packets);
    bytes.add(n_bytes);
  }
};

struct InterfaceCounters {
  PacketsAndBytes rx;
  PacketsAndBytes tx;
  PacketsAndBytes to_kernel;    ///< taken by its kernel interface
  PacketsAndBytes from_kernel;  ///< sent for it; tx has them as well
};

/// Of one device, by the queues that the worker polls (runtime/steering.hpp).
struct DeviceCounters {
  Counter received;
  Counter handed_over;   ///< of these, packets of another worker
  Counter checked;       ///< of these, packets of which the distribution was compared
  Counter as_predicted;  ///< of the checked ones
};

/// Why sessions end.
enum class SessionEnd : std::uint8_t {
  kExpired,
  kFlushed,
  kReload,
  kWithdrawn,  ///< its first packet could not be sent on; of ESP: it gave way, or was joined
};
inline constexpr std::size_t kSessionEnds = 4;

/// Of one protocol.
struct ProtocolCounters {
  ByDirection<PacketsAndBytes> translated;
  PacketsAndBytes hairpinned;
  ByDirection<Counter> icmp_errors;  ///< translated ICMP errors about this protocol
  Counter created;
  Counter ended[kSessionEnds];
  Counter sessions;  ///< gauge
  Counter mappings;  ///< gauge: Mapping objects (lsn44/mapping.hpp)
};

struct alignas(64) Counters {
  std::array<Counter, kDropReasons> drops;
  std::array<InterfaceCounters, kMaxInterfaces> interfaces;
  std::array<DeviceCounters, kMaxDevices> devices;
  ByProtocol<ProtocolCounters> protocols;

  ByDirection<PacketsAndBytes> by_address;  ///< one-to-one static mappings, protocols without ports
  ByDirection<PacketsAndBytes> bypassed;    ///< routed without translation

  Counter subscribers;  ///< gauge
  Counter port_blocks;  ///< gauge
  Counter displaced;    ///< gauge: those that the present ShardMap gives to another shard
  Counter consumed;     ///< packets for the NAT: ARP, echo requests, fragments joined
  Counter arp_requests_received, arp_requests_sent, arp_replies_received, arp_replies_sent;
  Counter arp_not_copied;  ///< to the other workers: beyond the limit
  Counter neighbours;      ///< gauge: resolved next hops
  Counter echo_replies;
  Counter icmp_errors_sent;
  Counter icmp_errors_suppressed;  ///< by a rate limit, or by RFC 1812 section 4.3.2.7
  Counter resets_sent;             ///< TCP, about segments to the NAT's interfaces
  Counter fragments_received;
  Counter fragmented;         ///< packets that were cut for a smaller MTU, and sent in fragments
  Counter fragments_sent;     ///< the fragments that they were cut into
  Counter fragments_waiting;  ///< gauge: datagrams that wait for a first fragment or the rest
  Counter handoff_sent, handoff_received;
  Counter polls;
  Counter idle_polls;
  Counter busy_cycles;  ///< TSC cycles in polls that found work
  Counter timer_lag;    ///< gauge: ticks that the timer wheel that is farthest behind lags
  Counter generation;   ///< gauge: the generation that the worker has read last

  void drop(DropReason reason, std::uint64_t n = 1) {
    drops[static_cast<std::size_t>(reason)].add(n);
  }
  [[nodiscard]] std::uint64_t dropped(DropReason reason) const {
    return drops[static_cast<std::size_t>(reason)].get();
  }
  [[nodiscard]] ProtocolCounters& of(Protocol protocol) { return protocols[protocol]; }
};

}  // namespace lsn::shared
