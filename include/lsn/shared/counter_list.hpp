// Every counter by its name and its meaning, once.
//
// `stat`, telemetry, metrics and docs/counters.md read these lists (a unit test holds the document
// against them); drop reasons have a list of their own (drop_reason.hpp). A *gauge* goes up and
// down, a *counter* only up, from the start of lsnd. A worker's values are added up over all
// workers, except where they stand for one worker alone.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lsn/shared/alg_counters.hpp"
#include "lsn/shared/counters.hpp"
#include "lsn/shared/port_status.hpp"
#include "lsn/shared/queries.hpp"

namespace lsn::shared {

enum class CounterKind : std::uint8_t { kCounter, kGauge };

template <class Of>
struct CounterText {
  std::string_view name;  ///< in tables, JSON and telemetry
  CounterKind kind;
  std::string_view meaning;
  std::uint64_t (*read)(const Of& counters);
};

namespace counter_list {

using enum CounterKind;

inline constexpr auto kOut = static_cast<std::size_t>(Direction::kOutbound);
inline constexpr auto kIn = static_cast<std::size_t>(Direction::kInbound);

constexpr std::size_t at(SessionEnd end) {
  return static_cast<std::size_t>(end);
}

}  // namespace counter_list

/// Of one protocol.
[[nodiscard]] inline std::span<const CounterText<ProtocolCounters>> protocol_counters() {
  using namespace counter_list;
  using Text = CounterText<ProtocolCounters>;
  static constexpr std::array kAll{
      Text{"sessions", kGauge, "Sessions that exist.",
           [](const ProtocolCounters& c) { return c.sessions.get(); }},
      Text{"mappings", kGauge,
           "Mappings that are shared by sessions, or let other senders in, and therefore exist by "
           "themselves.",
           [](const ProtocolCounters& c) { return c.mappings.get(); }},
      Text{"created", kCounter, "Sessions that were created.",
           [](const ProtocolCounters& c) { return c.created.get(); }},
      Text{"expired", kCounter, "Sessions that ended because they were idle, or closed.",
           [](const ProtocolCounters& c) { return c.ended[at(SessionEnd::kExpired)].get(); }},
      Text{"flushed", kCounter, "Sessions that a flush command ended.",
           [](const ProtocolCounters& c) { return c.ended[at(SessionEnd::kFlushed)].get(); }},
      Text{"ended_by_reload", kCounter,
           "Sessions that ended because a new configuration does not allow them.",
           [](const ProtocolCounters& c) { return c.ended[at(SessionEnd::kReload)].get(); }},
      Text{"withdrawn", kCounter,
           "Sessions that ended at once because their first packet could not be sent on; of ESP "
           "also "
           "those that gave way to others or were joined with their other half.",
           [](const ProtocolCounters& c) { return c.ended[at(SessionEnd::kWithdrawn)].get(); }},
      Text{"outbound_packets", kCounter, "Packets translated from inside to outside.",
           [](const ProtocolCounters& c) { return c.translated[kOut].packets.get(); }},
      Text{"outbound_bytes", kCounter, "Bytes of IP translated from inside to outside.",
           [](const ProtocolCounters& c) { return c.translated[kOut].bytes.get(); }},
      Text{"inbound_packets", kCounter, "Packets translated from outside to inside.",
           [](const ProtocolCounters& c) { return c.translated[kIn].packets.get(); }},
      Text{"inbound_bytes", kCounter, "Bytes of IP translated from outside to inside.",
           [](const ProtocolCounters& c) { return c.translated[kIn].bytes.get(); }},
      Text{"hairpin_packets", kCounter,
           "Packets from one subscriber to another one's NAT address (RFC 4787 section 6).",
           [](const ProtocolCounters& c) { return c.hairpinned.packets.get(); }},
      Text{"hairpin_bytes", kCounter,
           "Bytes of IP from one subscriber to another one's NAT address.",
           [](const ProtocolCounters& c) { return c.hairpinned.bytes.get(); }},
      Text{"outbound_icmp_errors", kCounter,
           "ICMP errors of subscribers about packets of this protocol, translated (RFC 5508).",
           [](const ProtocolCounters& c) { return c.icmp_errors[kOut].get(); }},
      Text{"inbound_icmp_errors", kCounter,
           "ICMP errors from outside about packets of this protocol, translated (RFC 5508).",
           [](const ProtocolCounters& c) { return c.icmp_errors[kIn].get(); }},
  };
  return kAll;
}

/// Of one interface.
[[nodiscard]] inline std::span<const CounterText<InterfaceCounters>> interface_counters() {
  using namespace counter_list;
  using Text = CounterText<InterfaceCounters>;
  static constexpr std::array kAll{
      Text{"rx_packets", kCounter, "Packets received.",
           [](const InterfaceCounters& c) { return c.rx.packets.get(); }},
      Text{"rx_bytes", kCounter, "Bytes received, without link headers.",
           [](const InterfaceCounters& c) { return c.rx.bytes.get(); }},
      Text{"tx_packets", kCounter, "Packets sent.",
           [](const InterfaceCounters& c) { return c.tx.packets.get(); }},
      Text{"tx_bytes", kCounter, "Bytes sent, without link headers.",
           [](const InterfaceCounters& c) { return c.tx.bytes.get(); }},
      Text{"to_kernel_packets", kCounter, "Packets that its kernel interface took.",
           [](const InterfaceCounters& c) { return c.to_kernel.packets.get(); }},
      Text{"to_kernel_bytes", kCounter, "Their bytes, without link headers.",
           [](const InterfaceCounters& c) { return c.to_kernel.bytes.get(); }},
      Text{"from_kernel_packets", kCounter,
           "Packets that its kernel interface sent; they are among those sent.",
           [](const InterfaceCounters& c) { return c.from_kernel.packets.get(); }},
      Text{"from_kernel_bytes", kCounter, "The bytes of these, without link headers.",
           [](const InterfaceCounters& c) { return c.from_kernel.bytes.get(); }},
  };
  return kAll;
}

namespace counter_list {

/// Of packets that have no session.
inline constexpr std::array kSessionless{
    CounterText<Counters>{
        "one_to_one_outbound_packets", kCounter,
        "Packets of subscribers of protocols without ports that one-to-one static mappings "
        "translated: ESP, GRE and others.",
        [](const Counters& c) { return c.by_address[kOut].packets.get(); }},
    CounterText<Counters>{"one_to_one_outbound_bytes", kCounter,
                          "Their bytes, without link headers.",
                          [](const Counters& c) { return c.by_address[kOut].bytes.get(); }},
    CounterText<Counters>{"one_to_one_inbound_packets", kCounter,
                          "Packets from outside of such protocols that they translated.",
                          [](const Counters& c) { return c.by_address[kIn].packets.get(); }},
    CounterText<Counters>{"one_to_one_inbound_bytes", kCounter,
                          "Their bytes, without link headers.",
                          [](const Counters& c) { return c.by_address[kIn].bytes.get(); }},
    CounterText<Counters>{
        "bypass_outbound_packets", kCounter,
        "Packets of subscribers that were routed without translation (lsn bypass).",
        [](const Counters& c) { return c.bypassed[kOut].packets.get(); }},
    CounterText<Counters>{"bypass_outbound_bytes", kCounter,
                          "The bytes of these, without link headers.",
                          [](const Counters& c) { return c.bypassed[kOut].bytes.get(); }},
    CounterText<Counters>{
        "bypass_inbound_packets", kCounter,
        "Packets to subscribers that were routed without translation (lsn bypass).",
        [](const Counters& c) { return c.bypassed[kIn].packets.get(); }},
    CounterText<Counters>{"bypass_inbound_bytes", kCounter, "Likewise.",
                          [](const Counters& c) { return c.bypassed[kIn].bytes.get(); }},
};

template <class Text, std::size_t kFirst, std::size_t kSecond>
[[nodiscard]] constexpr std::array<Text, kFirst + kSecond> joined(
    const std::array<Text, kFirst>& first, const std::array<Text, kSecond>& second) {
  return [&]<std::size_t... i, std::size_t... j>(std::index_sequence<i...>,
                                                 std::index_sequence<j...>) {
    return std::array{first[i]..., second[j]...};
  }(std::make_index_sequence<kFirst>{}, std::make_index_sequence<kSecond>{});
}

}  // namespace counter_list

/// Of the router as a whole.
[[nodiscard]] inline std::span<const CounterText<Counters>> router_counters() {
  using namespace counter_list;
  using Text = CounterText<Counters>;
  static constexpr std::array kWithoutThose{
      Text{"subscribers", kGauge, "Subscribers that have sessions or mappings.",
           [](const Counters& c) { return c.subscribers.get(); }},
      Text{"port_blocks", kGauge, "Port blocks that subscribers have.",
           [](const Counters& c) { return c.port_blocks.get(); }},
      Text{"displaced", kGauge,
           "Subscribers that stay with the worker that has their state although the present "
           "configuration has another one for them.",
           [](const Counters& c) { return c.displaced.get(); }},
      Text{"consumed", kCounter,
           "Packets that ended here as they should: ARP, echo requests to us, packets that the "
           "kernel "
           "took, fragments that were joined.",
           [](const Counters& c) { return c.consumed.get(); }},
      Text{"arp_requests_received", kCounter, "ARP requests for our addresses.",
           [](const Counters& c) { return c.arp_requests_received.get(); }},
      Text{"arp_requests_sent", kCounter, "ARP requests for next hops, and announcements.",
           [](const Counters& c) { return c.arp_requests_sent.get(); }},
      Text{"arp_replies_received", kCounter, "ARP replies from next hops.",
           [](const Counters& c) { return c.arp_replies_received.get(); }},
      Text{"arp_replies_sent", kCounter, "ARP replies for our addresses and pool addresses.",
           [](const Counters& c) { return c.arp_replies_sent.get(); }},
      Text{
          "arp_not_copied", kCounter,
          "ARP packets for us, and announcements, that the other workers were not shown: more than "
          "16 requests or 64 replies per second and group of neighbours.",
          [](const Counters& c) { return c.arp_not_copied.get(); }},
      Text{"neighbours", kGauge,
           "Next hops whose hardware address is known, each counted by every worker that knows it.",
           [](const Counters& c) { return c.neighbours.get(); }},
      Text{"echo_replies", kCounter, "Echo requests to our own addresses that were answered.",
           [](const Counters& c) { return c.echo_replies.get(); }},
      Text{
          "icmp_errors_sent", kCounter,
          "ICMP errors that we sent: time exceeded, fragmentation needed, destination unreachable.",
          [](const Counters& c) { return c.icmp_errors_sent.get(); }},
      Text{
          "icmp_errors_suppressed", kCounter,
          "ICMP errors and TCP resets that we did not send: the limits (dataplane.unreachable.rate "
          "and those of the other kinds), or RFC 1812 section 4.3.2.7.",
          [](const Counters& c) { return c.icmp_errors_suppressed.get(); }},
      Text{"resets_sent", kCounter, "TCP resets about segments to our own addresses.",
           [](const Counters& c) { return c.resets_sent.get(); }},
      Text{"fragments_received", kCounter, "Fragments received.",
           [](const Counters& c) { return c.fragments_received.get(); }},
      Text{"fragmented", kCounter, "Packets that were cut into fragments for a smaller MTU.",
           [](const Counters& c) { return c.fragmented.get(); }},
      Text{"fragments_sent", kCounter, "Fragments that we made for a smaller MTU.",
           [](const Counters& c) { return c.fragments_sent.get(); }},
      Text{"fragments_waiting", kGauge, "Datagrams that wait for fragments.",
           [](const Counters& c) { return c.fragments_waiting.get(); }},
  };
  static constexpr auto kAll = joined(kWithoutThose, kSessionless);
  return kAll;
}

/// Of one worker.
[[nodiscard]] inline std::span<const CounterText<Counters>> worker_counters() {
  using namespace counter_list;
  using Text = CounterText<Counters>;
  static constexpr std::array kAll{
      Text{"handoff_sent", kCounter, "Packets handed off to the worker that owns them.",
           [](const Counters& c) { return c.handoff_sent.get(); }},
      Text{"handoff_received", kCounter, "Packets that other workers have handed off.",
           [](const Counters& c) { return c.handoff_received.get(); }},
      Text{"polls", kCounter, "Turns of the worker's loop.",
           [](const Counters& c) { return c.polls.get(); }},
      Text{"idle_polls", kCounter, "Turns that found nothing to do.",
           [](const Counters& c) { return c.idle_polls.get(); }},
      Text{"busy_cycles", kCounter, "Cycles of the time stamp counter in turns that found work.",
           [](const Counters& c) { return c.busy_cycles.get(); }},
      Text{"timer_lag", kGauge,
           "Ticks of 10 ms that the timer wheels are behind the clock, the one that is farthest.",
           [](const Counters& c) { return c.timer_lag.get(); }},
      Text{"generation", kGauge, "Generation of the configuration that the worker works with.",
           [](const Counters& c) { return c.generation.get(); }},
  };
  return kAll;
}

/// Of one device: as its driver reports them, and how its packets come to their owners.
[[nodiscard]] inline std::span<const CounterText<PortStatus>> device_counters() {
  using namespace counter_list;
  using Text = CounterText<PortStatus>;
  static constexpr std::array kAll{
      Text{"rx_missed", kCounter,
           "Packets that the device dropped because the worker did not take them in time: "
           "overload.",
           [](const PortStatus& p) { return p.rx_missed; }},
      Text{"rx_errors", kCounter, "Packets that the device refused: broken on the way.",
           [](const PortStatus& p) { return p.rx_errors; }},
      Text{"rx_no_buffer", kCounter,
           "Packets for which there was no buffer: see the drop reason no_buffer.",
           [](const PortStatus& p) { return p.rx_no_buffer; }},
      Text{"tx_errors", kCounter, "Packets that the device did not send.",
           [](const PortStatus& p) { return p.tx_errors; }},
      Text{"rx_packets", kCounter, "Packets that workers took from the device.",
           [](const PortStatus& p) { return p.rx_packets; }},
      Text{"handed_over", kCounter,
           "Of these, packets that came to another worker than their owner, and were handed over.",
           [](const PortStatus& p) { return p.handed_over; }},
      Text{"checked", kCounter,
           "Of these, packets of which the device's distribution was checked: one in 1,024, where "
           "it is steered.",
           [](const PortStatus& p) { return p.checked; }},
      Text{"as_predicted", kCounter, "Of the checked ones, those distributed as was predicted.",
           [](const PortStatus& p) { return p.as_predicted; }},
      Text{"failed_seconds", kCounter,
           "Seconds in which the device distributed packets otherwise than was predicted.",
           [](const PortStatus& p) { return p.failed_seconds; }},
  };
  return kAll;
}

/// The room in a worker's tables: `capacity` of `stat lsn`.
[[nodiscard]] inline std::span<const CounterText<ShardCapacity>> lsn_capacities() {
  using namespace counter_list;
  using Text = CounterText<ShardCapacity>;
  static constexpr std::array kAll{
      Text{"sessions", kGauge, "Sessions that there is room for.",
           [](const ShardCapacity& c) { return std::uint64_t{c.sessions}; }},
      Text{"mappings", kGauge, "Mappings that there is room for.",
           [](const ShardCapacity& c) { return std::uint64_t{c.mappings}; }},
      Text{"subscribers", kGauge, "Subscribers that there is room for.",
           [](const ShardCapacity& c) { return std::uint64_t{c.subscribers}; }},
  };
  return kAll;
}

/// The same of `stat ipsecalg`.
[[nodiscard]] inline std::span<const CounterText<ShardCapacity>> alg_capacities() {
  using namespace counter_list;
  using Text = CounterText<ShardCapacity>;
  static constexpr std::array kAll{
      Text{"ike_sessions", kGauge, "IKE sessions that there is room for.",
           [](const ShardCapacity& c) { return std::uint64_t{c.ike_sessions}; }},
      Text{"esp_sessions", kGauge, "ESP sessions that there is room for.",
           [](const ShardCapacity& c) { return std::uint64_t{c.esp_sessions}; }},
      Text{"gates", kGauge, "Gates that there is room for.",
           [](const ShardCapacity& c) { return std::uint64_t{c.gates}; }},
      Text{"held_bytes", kGauge, "Memory that held packets may take, in bytes.",
           [](const ShardCapacity& c) { return std::uint64_t{c.held_bytes}; }},
  };
  return kAll;
}

/// A bucket of the histogram of waiting times: "100ms", "300s", "more"; none is counted twice.
[[nodiscard]] inline std::string wait_bucket_name(std::size_t bucket) {
  if (bucket >= kWaitBounds.size()) return "more";
  const auto ticks = kWaitBounds[bucket].count();
  return ticks % 100 == 0 ? std::to_string(ticks / 100) + "s" : std::to_string(ticks * 10) + "ms";
}

[[nodiscard]] constexpr std::string_view name_of(Protocol protocol) {
  constexpr ByProtocol<std::string_view> kNames{"TCP", "UDP", "ICMP", "ESP"};
  return kNames[protocol];
}

}  // namespace lsn::shared
