// Reads packets for people: every field by name, the differences of two packets, the faults of one.
// Like the builder it shares nothing with the product.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/bytes.hpp"

namespace lsn::test {

/// A frame's link header, read.
struct Link {
  Mac destination{}, source{};
  unsigned vlan = 0;
  unsigned type = 0;
  std::size_t size = 14;  ///< 18 with a tag
};
[[nodiscard]] Link link_of(ByteView frame);
/// The bytes behind the link header.
[[nodiscard]] Bytes behind_link(ByteView frame);

/// Endpoints of an IP packet; an ICMP query's identifier stands in both, other protocols have port
/// 0.
[[nodiscard]] Endpoint source_of(ByteView ip_packet);
[[nodiscard]] Endpoint destination_of(ByteView ip_packet);
[[nodiscard]] unsigned protocol_of(ByteView ip_packet);

using Fields = std::vector<std::pair<std::string, std::string>>;
/// Every field of a frame, or of an IP packet, also of an ICMP error's quoted packet.
[[nodiscard]] Fields fields_of_frame(ByteView frame);
[[nodiscard]] Fields fields_of_ip(ByteView ip_packet, const std::string& prefix = "ip");

/// One line: source, destination, content.
[[nodiscard]] std::string summary_of_frame(ByteView frame);

/// Empty if they are equal; else the fields that differ, and both dumps.
[[nodiscard]] std::string difference(ByteView expected_frame, ByteView actual_frame);

/// The fault of an IP packet's lengths and checksums: nullopt if there is none. The checksum behind
/// the IP header is looked at in packets that are whole.
[[nodiscard]] std::optional<std::string> fault_of_ip(ByteView ip_packet);
[[nodiscard]] std::optional<std::string> fault_of_l4(ByteView ip_packet);

}  // namespace lsn::test
