// Builds IKE messages from the meaning of their headers (RFC 2408 section 3.1, RFC 7296 section
// 3.1). Encrypted parts are a pattern here: no host on the way can tell.
//
//   Ike m = create_child(0xA1, 0xB1, 2);            // a request of the IKE SA a1/b1, message ID 2
//   lab.from_inside(ike({client, 500}, {server, 500}, m).bytes());
//   ... ike(server, nat, response(m))
#pragma once

#include "support/packet_builder.hpp"

namespace lsn::test {

/// Exchange types (IANA).
inline constexpr unsigned kMainMode = 2, kAggressive = 4, kInformational1 = 5, kTransaction = 6,
                          kQuickMode = 32, kNewGroup = 33, kSaInit = 34, kIkeAuth = 35,
                          kCreateChild = 36, kInformational2 = 37, kResume = 38, kIntermediate = 43,
                          kFollowupKe = 44;
/// Flags.
inline constexpr unsigned kIkeInitiator = 0x08, kIkeResponse = 0x20, kIkeEncrypted = 0x01;

struct Ike {
  std::uint64_t initiator = 0, responder = 0;
  unsigned next_payload = 0;
  unsigned version = 2;  ///< major
  unsigned exchange = 0;
  unsigned flags = 0;
  std::uint32_t message_id = 0;
  Bytes body = pattern(64, 9);
  std::optional<std::uint32_t> length;  ///< instead of the right one

  [[nodiscard]] Bytes bytes() const;
  [[nodiscard]] Ike with_body(Bytes value) const;
};

/// The answer: same IDs, the response flag (IKEv2), another body. `responder` is filled in if the
/// request had none.
[[nodiscard]] Ike response(const Ike& request, std::uint64_t responder = 0);

// IKEv2
[[nodiscard]] Ike sa_init(std::uint64_t initiator);
[[nodiscard]] Ike auth(std::uint64_t initiator, std::uint64_t responder, std::uint32_t id = 1);
[[nodiscard]] Ike create_child(std::uint64_t initiator, std::uint64_t responder, std::uint32_t id);
[[nodiscard]] Ike informational(std::uint64_t initiator, std::uint64_t responder, std::uint32_t id);
/// One of `of` fragments of that message (RFC 7383 section 2.5).
[[nodiscard]] Ike fragment(const Ike& message, unsigned number, unsigned of,
                           std::size_t size = 100);

// IKEv1
[[nodiscard]] Ike main_mode(std::uint64_t initiator, std::uint64_t responder);
[[nodiscard]] Ike quick_mode(std::uint64_t initiator, std::uint64_t responder, std::uint32_t id);
/// One fragment as most IKEv1 peers send them: payload 132, the first one with the header of the
/// whole message in its data, all with message ID `outer_id` (often zero).
[[nodiscard]] Ike fragment1(const Ike& message, unsigned fragment_id, unsigned number, bool last,
                            std::uint32_t outer_id = 0, std::size_t size = 100);

/// As a UDP datagram; on port 4500 behind the non-ESP marker (RFC 3948 section 2.2).
[[nodiscard]] IpPacket ike(Endpoint source, Endpoint destination, const Ike& message);
[[nodiscard]] IpPacket ike_floated(Endpoint source, Endpoint destination, const Ike& message);

}  // namespace lsn::test
