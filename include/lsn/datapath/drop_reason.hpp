// Every reason for which a packet is not forwarded: its name in `show drops`, in telemetry and in
// the docs, and what it means. One list prints them all; docs/counters.md is checked against it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lsn::datapath {

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
  kIpChecksum,
  kIpSourceInvalid,
  kIpDestinationInvalid,
  kTtlExpired,
  kNoRoute,
  kFragmentationNeeded,
  kNeighbourQueueFull,
  kNeighbourUnresolved,
  kNeighbourTableFull,
  // what we do not translate
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
  kFragmentTooMany,
  kFragmentTimeout,
  // who may send
  kNotForUs,
  kNotAClient,
  kInsideDestination,
  kSpoofedClientSource,
  kSpoofedNatSource,
  // LSN44
  kNoMapping,
  kFiltered,
  kTcpNotSyn,
  kPoolExhausted,
  kPortsExhausted,
  kPortQuota,
  kSessionQuota,
  kGroupSessionLimit,
  kSubscriberTableFull,
  kMappingTableFull,
  kSessionTableFull,
  kFlowTableFull,
  kIcmpErrorMalformed,
  kIcmpErrorNoSession,
  // between us and the NIC
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
    {DropReason::kIpChecksum, "ip_checksum", "The IPv4 header's checksum is wrong."},
    {DropReason::kIpSourceInvalid, "ip_source_invalid",
     "The source address cannot be a host's: multicast, broadcast, loopback or 0/8."},
    {DropReason::kIpDestinationInvalid, "ip_destination_invalid",
     "The destination cannot be forwarded to: multicast, broadcast, loopback or 0/8."},
    {DropReason::kTtlExpired, "ttl_expired",
     "The packet's time to live ended here; its sender gets ICMP time exceeded."},
    {DropReason::kNoRoute, "no_route", "No route covers the packet's destination."},
    {DropReason::kFragmentationNeeded, "fragmentation_needed",
     "The packet is larger than the next link's MTU and must not be fragmented; its sender gets "
     "ICMP fragmentation needed."},
    {DropReason::kNeighbourQueueFull, "neighbour_queue_full",
     "Too many packets wait for the next hop's hardware address."},
    {DropReason::kNeighbourUnresolved, "neighbour_unresolved",
     "The next hop did not answer ARP."},
    {DropReason::kNeighbourTableFull, "neighbour_table_full",
     "No room for another next hop."},
    {DropReason::kProtocolGre, "protocol_gre", "GRE (47) is not translated."},
    {DropReason::kProtocolAh, "protocol_ah", "AH (51) cannot pass a NAT: it protects addresses."},
    {DropReason::kProtocolSctp, "protocol_sctp", "SCTP (132) is not translated."},
    {DropReason::kProtocolIpv6, "protocol_ipv6", "IPv6 in IPv4 (41) is not translated."},
    {DropReason::kProtocolOther, "protocol_other",
     "The IP protocol is none of those that are translated or counted apart."},
    {DropReason::kEspNoProfile, "esp_no_profile",
     "ESP (50) is not translated without the IPsec ALG."},
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
    {DropReason::kFragmentTooMany, "fragment_too_many",
     "A datagram has more fragments, or more of them wait, than we keep."},
    {DropReason::kFragmentTimeout, "fragment_timeout",
     "The first fragment of a datagram did not come in time (dataplane.fragments.timeout)."},
    {DropReason::kNotForUs, "not_for_us",
     "The packet came from outside and is for none of our addresses."},
    {DropReason::kNotAClient, "not_a_client",
     "The packet came from inside and its source is in no client's network."},
    {DropReason::kInsideDestination, "inside_destination",
     "A subscriber's packet is routed to an inside interface: it would not be translated."},
    {DropReason::kSpoofedClientSource, "spoofed_client_source",
     "The packet came from outside with the source address of a client."},
    {DropReason::kSpoofedNatSource, "spoofed_nat_source",
     "The packet's source is one of our own addresses."},
    {DropReason::kNoMapping, "no_mapping",
     "No session or mapping exists for an inbound packet's NAT address and port."},
    {DropReason::kFiltered, "filtered",
     "A mapping exists, but its filtering does not admit this sender (RFC 4787 section 5)."},
    {DropReason::kTcpNotSyn, "tcp_not_syn",
     "A TCP packet without a session is not a SYN (syncheck)."},
    {DropReason::kPoolExhausted, "pool_exhausted",
     "No NAT address of the group's pools has anything left."},
    {DropReason::kPortsExhausted, "ports_exhausted",
     "The subscriber's NAT address has no free port that will do (PAIRED pooling does not move)."},
    {DropReason::kPortQuota, "port_quota", "The subscriber has as many NAT ports as portquota allows."},
    {DropReason::kSessionQuota, "session_quota",
     "The subscriber has as many sessions as sessionquota allows."},
    {DropReason::kGroupSessionLimit, "group_session_limit",
     "The group has as many sessions as groupSessionLimit allows."},
    {DropReason::kSubscriberTableFull, "subscriber_table_full", "No room for another subscriber."},
    {DropReason::kMappingTableFull, "mapping_table_full", "No room for another mapping."},
    {DropReason::kSessionTableFull, "session_table_full",
     "No room for another session (dataplane.maxSessions)."},
    {DropReason::kFlowTableFull, "flow_table_full",
     "No bucket within reach takes another flow key."},
    {DropReason::kIcmpErrorMalformed, "icmp_error_malformed",
     "An ICMP error quotes no readable packet, or its checksum is wrong (RFC 5508 REQ-3)."},
    {DropReason::kIcmpErrorNoSession, "icmp_error_no_session",
     "An ICMP error quotes a packet of no session."},
    {DropReason::kHandoffFull, "handoff_full", "The ring to the owning worker is full."},
    {DropReason::kHandoffLoop, "handoff_loop",
     "Workers passed the packet on too often while they changed to a new configuration."},
    {DropReason::kTxFull, "tx_full", "The device's transmit queue is full."},
    {DropReason::kLinkDown, "link_down", "The device's link is down or the device is gone."},
    {DropReason::kNoBuffer, "no_buffer", "No packet buffer was free for an answer or a fragment."},
}};

static_assert([] {
  for (std::size_t i = 0; i < kDropReasons; ++i)
    if (static_cast<std::size_t>(kDropReasonTexts[i].reason) != i) return false;
  return true;
}(), "the texts stand in the order of the enumeration");

[[nodiscard]] constexpr std::string_view name_of(DropReason reason) {
  return kDropReasonTexts[static_cast<std::size_t>(reason)].name;
}

}  // namespace lsn::datapath
