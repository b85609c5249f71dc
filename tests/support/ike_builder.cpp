#include "support/ike_builder.hpp"

namespace lsn::test {
namespace {

constexpr unsigned kPayloadNone = 0, kPayloadSa = 33, kPayloadEncrypted = 46, kPayloadFragment = 53,
                   kPayloadSa1 = 1, kPayloadHash1 = 8, kPayloadFragment1 = 132;

void put64(Bytes& to, std::uint64_t value) {
  put32(to, static_cast<std::uint32_t>(value >> 32));
  put32(to, static_cast<std::uint32_t>(value));
}

/// A payload with its generic header.
Bytes payload(unsigned next, ByteView data) {
  Bytes bytes;
  put8(bytes, next);
  put8(bytes, 0);
  put16(bytes, static_cast<unsigned>(data.size() + 4));
  put(bytes, data);
  return bytes;
}

/// A message that begins an SA (its first payload is in clear) or is protected by one.
Ike message(unsigned version, unsigned exchange, std::uint64_t initiator, std::uint64_t responder,
            std::uint32_t id, bool clear) {
  Ike m;
  m.initiator = initiator;
  m.responder = responder;
  m.version = version;
  m.exchange = exchange;
  m.message_id = id;
  if (version == 2) {
    m.flags = kIkeInitiator;
    m.next_payload = clear ? kPayloadSa : kPayloadEncrypted;
  } else {
    m.flags = clear ? 0 : kIkeEncrypted;
    m.next_payload = clear ? kPayloadSa1 : kPayloadHash1;
  }
  m.body = clear          ? payload(kPayloadNone, pattern(60, exchange))
           : version == 2 ? payload(kPayloadNone, pattern(60, exchange + id))
                          : pattern(64, exchange + id);
  return m;
}

}  // namespace

Bytes Ike::bytes() const {
  Bytes out;
  put64(out, initiator);
  put64(out, responder);
  put8(out, next_payload);
  put8(out, version << 4);
  put8(out, exchange);
  put8(out, flags);
  put32(out, message_id);
  put32(out, length.value_or(static_cast<std::uint32_t>(28 + body.size())));
  put(out, body);
  return out;
}

Ike Ike::with_body(Bytes value) const {
  Ike m = *this;
  m.body = std::move(value);
  return m;
}

Ike response(const Ike& request, std::uint64_t responder) {
  Ike m = request;
  if (m.responder == 0) m.responder = responder;
  if (m.version == 2) m.flags = (m.flags ^ kIkeInitiator) | kIkeResponse;
  m.body.back() ^= 0xFF;
  return m;
}

Ike sa_init(std::uint64_t initiator) {
  return message(2, kSaInit, initiator, 0, 0, true);
}
Ike auth(std::uint64_t initiator, std::uint64_t responder, std::uint32_t id) {
  return message(2, kIkeAuth, initiator, responder, id, false);
}
Ike create_child(std::uint64_t initiator, std::uint64_t responder, std::uint32_t id) {
  return message(2, kCreateChild, initiator, responder, id, false);
}
Ike informational(std::uint64_t initiator, std::uint64_t responder, std::uint32_t id) {
  return message(2, kInformational2, initiator, responder, id, false);
}

Ike fragment(const Ike& whole, unsigned number, unsigned of, std::size_t size) {
  Bytes data;
  put16(data, number);
  put16(data, of);
  put(data, pattern(size, number));
  Ike m = whole;
  m.next_payload = kPayloadFragment;
  m.body = payload(number == 1 ? whole.next_payload : kPayloadNone, data);
  return m;
}

Ike main_mode(std::uint64_t initiator, std::uint64_t responder) {
  return message(1, kMainMode, initiator, responder, 0, true);
}
Ike quick_mode(std::uint64_t initiator, std::uint64_t responder, std::uint32_t id) {
  return message(1, kQuickMode, initiator, responder, id, false);
}

Ike fragment1(const Ike& whole, unsigned fragment_id, unsigned number, bool last,
              std::uint32_t outer_id, std::size_t size) {
  Bytes data;
  put16(data, fragment_id);
  put8(data, number);
  put8(data, last ? 1 : 0);
  if (number == 1) put(data, ByteView{whole.bytes()}.first(28));
  put(data, pattern(size, number));
  Ike m = whole;
  m.message_id = outer_id;
  m.next_payload = kPayloadFragment1;
  m.flags = 0;
  m.body = payload(kPayloadNone, data);
  return m;
}

IpPacket ike(Endpoint source, Endpoint destination, const Ike& message) {
  return udp(source, destination, message.bytes());
}

IpPacket ike_floated(Endpoint source, Endpoint destination, const Ike& message) {
  Bytes datagram(4, 0);
  put(datagram, message.bytes());
  return udp(source, destination, std::move(datagram));
}

}  // namespace lsn::test
