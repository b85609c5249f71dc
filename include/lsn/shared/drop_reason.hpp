// Every reason for which a packet is not forwarded: its name in `show drops`, in telemetry and in
// the docs, and its meaning. One list prints them all; docs/counters.md is checked against it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lsn::shared {

enum class DropReason : std::uint8_t {
  // the link
  kFrameMalformed,
  kVlanUnknown,
  kMacNotOurs,
  kEtherTypeIpv6,
  kEtherTypeOther,
  kArpMalformed,
  // IPv4
  kIpMalformed,
  kIpTruncated,
  kIpChecksum,
  kIpSourceRoute,
  kIpSourceInvalid,
  kIpDestinationInvalid,
  kTtlExpired,
  kNoRoute,
  kFragmentationNeeded,
  kNeighbourQueueFull,
  kNeighbourUnresolved,
  kNeighbourTableFull,
  // not translated
  kProtocolGre,
  kProtocolAh,
  kProtocolSctp,
  kProtocolIpv6,
  kProtocolOther,
  kEspNoProfile,
  kIcmpTypeUntranslated,
  kL4Malformed,
  // fragments
  kFragmentMalformed,
  kFragmentOverlap,
  kFragmentTableFull,
  kFragmentDisplaced,
  kFragmentTooMany,
  kFragmentTimeout,
  // addresses that may not send or receive
  kNotForUs,
  kNoListener,
  kNotAClient,
  kInsideDestination,
  kSpoofedClientSource,
  kSpoofedNatSource,
  // the kernel path
  kKernelRateRouting,
  kKernelRateManagement,
  kKernelRateRest,
  kKernelFull,
  kKernelRefused,
  kKernelFrame,
  // LSN44
  kOverload,
  kNoSession,
  kNoMapping,
  kFiltered,
  kStaticInactive,
  kTcpNotSyn,
  kPoolExhausted,
  kPortsExhausted,
  kPortBlockFull,
  kNoFreeBlock,
  kPortQuota,
  kSessionQuota,
  kSessionRate,
  kGroupSessionLimit,
  kSubscriberTableFull,
  kMappingTableFull,
  kSessionTableFull,
  kFlowTableFull,
  kIcmpErrorMalformed,
  kIcmpErrorForeign,
  kIcmpErrorNoSession,
  // the IPsec ALG
  kAlgHairpin,
  kIkeGateBlocked,
  kIkeWaitersFull,
  kIkeFlightFull,
  kIkeHoldFull,
  kIkeHeldReplaced,
  kIkeHeldAged,
  kIkeHeldFlushed,
  kIkeSpiUnknown,
  kGateQuota,
  kGateTableFull,
  kEspSpiZero,
  kEspOutGateBusy,
  kEspOutNoIke,
  kEspOutCandidates,
  kEspInNoGate,
  kEspInAmbiguous,
  kEspInNotFresh,
  kEspInDangling,
  kEspInCandidates,
  kEspSessionQuota,
  kEspSessionTableFull,
  // handoff and transmission
  kHandoffFull,
  kHandoffLoop,
  kTxFull,
  kLinkDown,
  kNoBuffer,
  kCount
};

inline constexpr std::size_t kDropReasons = static_cast<std::size_t>(DropReason::kCount);

struct DropReasonText {
  DropReason reason;
  std::string_view name;
  std::string_view meaning;
};

inline constexpr std::array<DropReasonText, kDropReasons> kDropReasonTexts = {{
    {DropReason::kFrameMalformed, "frame_malformed",
     "The frame is shorter than its Ethernet or VLAN header."},
    {DropReason::kVlanUnknown, "vlan_unknown",
     "No interface is configured for the frame's VLAN on this device."},
    {DropReason::kMacNotOurs, "mac_not_ours",
     "The frame is for another hardware address (promiscuous device or flooding switch)."},
    {DropReason::kEtherTypeIpv6, "ethertype_ipv6", "IPv6 is not forwarded."},
    {DropReason::kEtherTypeOther, "ethertype_other",
     "The frame carries neither IPv4 nor ARP nor IPv6."},
    {DropReason::kArpMalformed, "arp_malformed",
     "An ARP packet is too short, not for IPv4 over Ethernet, or from an impossible sender."},
    {DropReason::kIpMalformed, "ip_malformed",
     "The IPv4 header's version, header length or total length is wrong."},
    {DropReason::kIpTruncated, "ip_truncated",
     "The IPv4 header speaks of more bytes than have come: the packet was cut short on its way, or "
     "is "
     "larger than the device's frames."},
    {DropReason::kIpChecksum, "ip_checksum", "The IPv4 header's checksum is wrong."},
    {DropReason::kIpSourceRoute, "ip_source_route",
     "The packet has a loose or strict source route (RFC 7126 sections 4.3 and 4.4)."},
    {DropReason::kIpSourceInvalid, "ip_source_invalid",
     "The source address cannot be a host's: multicast, broadcast, loopback or 0/8."},
    {DropReason::kIpDestinationInvalid, "ip_destination_invalid",
     "The destination cannot be forwarded to: multicast, broadcast, loopback or 0/8."},
    {DropReason::kTtlExpired, "ttl_expired",
     "The packet's time to live ended here; its sender gets ICMP time exceeded, unless it is an "
     "ICMP error."},
    {DropReason::kNoRoute, "no_route", "No route covers the packet's destination."},
    {DropReason::kFragmentationNeeded, "fragmentation_needed",
     "The packet is larger than the next link's MTU and must not be fragmented; its sender gets "
     "ICMP fragmentation needed, unless it is an ICMP error."},
    {DropReason::kNeighbourQueueFull, "neighbour_queue_full",
     "Too many packets wait for the next hop's hardware address."},
    {DropReason::kNeighbourUnresolved, "neighbour_unresolved", "The next hop did not answer ARP."},
    {DropReason::kNeighbourTableFull, "neighbour_table_full", "No room for another next hop."},
    {DropReason::kProtocolGre, "protocol_gre",
     "GRE (47) is translated by one-to-one static mappings only."},
    {DropReason::kProtocolAh, "protocol_ah", "AH (51) cannot pass a NAT: it protects addresses."},
    {DropReason::kProtocolSctp, "protocol_sctp",
     "SCTP (132) is translated by one-to-one static mappings only."},
    {DropReason::kProtocolIpv6, "protocol_ipv6",
     "IPv6 in IPv4 (41) is translated by one-to-one static mappings only."},
    {DropReason::kProtocolOther, "protocol_other",
     "The IP protocol is none of those that are counted apart, and only one-to-one static mappings "
     "translate it."},
    {DropReason::kEspNoProfile, "esp_no_profile",
     "ESP (50) is not translated without the IPsec ALG or a one-to-one static mapping."},
    {DropReason::kIcmpTypeUntranslated, "icmp_type_untranslated",
     "The ICMP message is neither a query nor an error that a NAT translates."},
    {DropReason::kL4Malformed, "l4_malformed",
     "The TCP, UDP, ICMP or ESP header is cut short or contradicts the packet's length."},
    {DropReason::kFragmentMalformed, "fragment_malformed",
     "A fragment's offset and length are impossible (RFC 791, RFC 1858)."},
    {DropReason::kFragmentOverlap, "fragment_overlap",
     "Fragments of one datagram overlap: the datagram is refused (RFC 3128, RFC 5722's rule)."},
    {DropReason::kFragmentTableFull, "fragment_table_full",
     "Too many datagrams wait for their fragments (dataplane.fragments.max)."},
    {DropReason::kFragmentDisplaced, "fragment_displaced",
     "A fragment waited for its datagram's first one until newer ones needed its place: its "
     "sender, "
     "its address or all that wait had more than their share."},
    {DropReason::kFragmentTooMany, "fragment_too_many",
     "A datagram has more fragments, or more of them wait, than we keep."},
    {DropReason::kFragmentTimeout, "fragment_timeout",
     "The first fragment of a datagram did not come in time (dataplane.fragments.timeout)."},
    {DropReason::kNotForUs, "not_for_us",
     "The packet came from outside and is for none of our addresses, or it is an ICMP message to "
     "one "
     "of them that asks for nothing."},
    {DropReason::kNoListener, "no_listener",
     "The packet is for an address of an interface of ours, where only pings are answered; its "
     "sender "
     "gets ICMP port or protocol unreachable, or a TCP reset."},
    {DropReason::kNotAClient, "not_a_client",
     "The packet came from inside and its source is in no client's network."},
    {DropReason::kInsideDestination, "inside_destination",
     "A subscriber's packet is routed to an inside interface: it would not be translated."},
    {DropReason::kSpoofedClientSource, "spoofed_client_source",
     "The packet came from outside with the source address of a client."},
    {DropReason::kSpoofedNatSource, "spoofed_nat_source",
     "The packet's source is one of our own addresses."},
    {DropReason::kKernelRateRouting, "kernel_rate_routing",
     "BGP, OSPF, BFD, VRRP or ARP for the kernel beyond the interface's kernelRate.routing."},
    {DropReason::kKernelRateManagement, "kernel_rate_management",
     "ssh, SNMP or HTTPS for the kernel beyond the interface's kernelRate.management."},
    {DropReason::kKernelRateRest, "kernel_rate_rest",
     "Anything else for the kernel beyond the interface's kernelRate.rest."},
    {DropReason::kKernelFull, "kernel_full",
     "Packets for the kernel came faster than the kernel path's thread gave them to it."},
    {DropReason::kKernelRefused, "kernel_refused",
     "The kernel did not take the packet: its interface was set down, or deleted."},
    {DropReason::kKernelFrame, "kernel_frame",
     "The kernel sent a frame that cannot leave by the interface: larger than its mtu, empty, or "
     "with a VLAN tag of its own."},
    {DropReason::kOverload, "overload",
     "Of an unknown flow while the worker was overloaded: packets of sessions go first."},
    {DropReason::kNoSession, "no_session",
     "An outbound packet has no session and cannot begin one: the reply to a query, a fragment "
     "whose "
     "first one was refused, a packet whose session a reload ended."},
    {DropReason::kNoMapping, "no_mapping",
     "No session or mapping exists for an inbound packet's NAT address and port."},
    {DropReason::kFiltered, "filtered",
     "A mapping exists, but its filtering does not admit this sender (RFC 4787 section 5)."},
    {DropReason::kStaticInactive, "static_inactive",
     "A packet is for a static mapping whose NAT port, or address, another session still has (show "
     "lsn static)."},
    {DropReason::kTcpNotSyn, "tcp_not_syn",
     "A TCP packet without a session is not a SYN (syncheck)."},
    {DropReason::kPoolExhausted, "pool_exhausted",
     "No NAT address of the group's pools has anything left."},
    {DropReason::kPortsExhausted, "ports_exhausted",
     "The subscriber's NAT address has no free port that will do (PAIRED pooling does not move)."},
    {DropReason::kPortBlockFull, "port_block_full",
     "The subscriber's port blocks have no port left, and it may not have another one (maxBlocks, "
     "or deterministic NAT)."},
    {DropReason::kNoFreeBlock, "no_free_block",
     "The subscriber needs a port block, and its NAT address (PAIRED) or all of the group's have "
     "none that is free; or there is no room for another block."},
    {DropReason::kPortQuota, "port_quota",
     "The subscriber has as many NAT ports as portquota allows."},
    {DropReason::kSessionQuota, "session_quota",
     "The subscriber has as many sessions as sessionquota allows."},
    {DropReason::kSessionRate, "session_rate",
     "The subscriber begins more sessions per second than sessionRate allows."},
    {DropReason::kGroupSessionLimit, "group_session_limit",
     "The group has as many sessions as groupSessionLimit allows."},
    {DropReason::kSubscriberTableFull, "subscriber_table_full", "No room for another subscriber."},
    {DropReason::kMappingTableFull, "mapping_table_full", "No room for another mapping."},
    {DropReason::kSessionTableFull, "session_table_full",
     "No room for another session (dataplane.maxSessions)."},
    {DropReason::kFlowTableFull, "flow_table_full",
     "No bucket within reach takes another flow key."},
    {DropReason::kIcmpErrorMalformed, "icmp_error_malformed",
     "An ICMP error quotes no readable packet, goes to another than the quoted sender, or its "
     "checksum "
     "is wrong (RFC 5508 REQ-3)."},
    {DropReason::kIcmpErrorForeign, "icmp_error_foreign",
     "A subscriber's ICMP error quotes a packet to another one."},
    {DropReason::kIcmpErrorNoSession, "icmp_error_no_session",
     "An ICMP error quotes a packet of no session."},
    {DropReason::kAlgHairpin, "alg_hairpin",
     "An IKE or ESP packet of a subscriber is for one of our own NAT addresses: the ALG does not "
     "serve that."},
    {DropReason::kIkeGateBlocked, "ike_gate_blocked",
     "A phase 2 message came while another client had the gate, and phase2Hold is 0."},
    {DropReason::kIkeWaitersFull, "ike_waiters_full",
     "A phase 2 message came while another client had the gate, and phase2Hold clients wait."},
    {DropReason::kIkeFlightFull, "ike_flight_full",
     "A waiting client sent more messages than are held for one."},
    {DropReason::kIkeHoldFull, "ike_hold_full",
     "No room to hold a phase 2 message (dataplane.alg.maxHeldBytes, of which a subscriber gets a "
     "quarter)."},
    {DropReason::kIkeHeldReplaced, "ike_held_replaced",
     "The older copy of a held message that was retransmitted."},
    {DropReason::kIkeHeldAged, "ike_held_aged",
     "A held message whose client was silent for 35 seconds."},
    {DropReason::kIkeHeldFlushed, "ike_held_flushed",
     "A held message whose client began phase 1 anew, moved to UDP 4500, or was flushed."},
    {DropReason::kIkeSpiUnknown, "ike_spi_unknown",
     "IKE from outside to port 500 of a NAT address whose clients all keep that port "
     "(ikePreservePort): its initiator SPI is none of theirs."},
    {DropReason::kGateQuota, "gate_quota",
     "ESP for a further IPsec server: the subscriber has to do with 64 already."},
    {DropReason::kGateTableFull, "gate_table_full",
     "ESP for a server without a gate: no room for another one (dataplane.alg.maxGates)."},
    {DropReason::kEspSpiZero, "esp_spi_zero",
     "ESP with the reserved SPI 0 (RFC 4303 section 2.1)."},
    {DropReason::kEspOutGateBusy, "esp_out_gate_busy",
     "ESP of an unknown SPI from a client while another one had the gate: its answer could not be "
     "attributed."},
    {DropReason::kEspOutNoIke, "esp_out_no_ike",
     "ESP of an unknown SPI from a client without a live IKE session (requireIke)."},
    {DropReason::kEspOutCandidates, "esp_out_candidates",
     "A client sent more unknown SPIs in one turn than spiCandidates allows."},
    {DropReason::kEspInNoGate, "esp_in_no_gate",
     "ESP of an unknown SPI from outside that no client expects."},
    {DropReason::kEspInAmbiguous, "esp_in_ambiguous",
     "ESP of an unknown SPI from outside that several clients may expect, or that came before its "
     "exchange was answered."},
    {DropReason::kEspInNotFresh, "esp_in_not_fresh",
     "ESP of an unknown SPI from outside that is no new SA's: its sequence number is beyond "
     "freshSequence."},
    {DropReason::kEspInDangling, "esp_in_dangling",
     "ESP of an unknown SPI from outside that may be for a client whose turn ended without one."},
    {DropReason::kEspInCandidates, "esp_in_candidates",
     "More unknown SPIs from outside in one turn than spiCandidates allows."},
    {DropReason::kEspSessionQuota, "esp_session_quota",
     "The subscriber has as many ESP sessions as espSessionQuota allows, none of single packets."},
    {DropReason::kEspSessionTableFull, "esp_session_table_full",
     "No room for another ESP session (dataplane.alg.maxEspSessions)."},
    {DropReason::kHandoffFull, "handoff_full", "The ring to the owning worker is full."},
    {DropReason::kHandoffLoop, "handoff_loop",
     "Workers passed the packet on too often while they changed to a new configuration."},
    {DropReason::kTxFull, "tx_full", "The device's transmit queue is full."},
    {DropReason::kLinkDown, "link_down", "The device's link is down or the device is gone."},
    {DropReason::kNoBuffer, "no_buffer", "No packet buffer was free for an answer or a fragment."},
}};

static_assert(
    [] {
      for (std::size_t i = 0; i < kDropReasons; ++i)
        if (static_cast<std::size_t>(kDropReasonTexts[i].reason) != i) return false;
      return true;
    }(),
    "the texts stand in the order of the enumeration");

/// A reason of the ALG's that only ESP packets are dropped for: esp_dropped is their sum.
[[nodiscard]] constexpr bool is_esp_reason(DropReason reason) {
  return reason == DropReason::kEspNoProfile ||
         (reason >= DropReason::kGateQuota && reason <= DropReason::kEspSessionTableFull);
}

[[nodiscard]] constexpr const DropReasonText& text_of(DropReason reason) {
  return kDropReasonTexts[static_cast<std::size_t>(reason)];
}
[[nodiscard]] constexpr std::string_view name_of(DropReason reason) {
  return text_of(reason).name;
}

}  // namespace lsn::shared
