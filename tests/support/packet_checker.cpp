#include "support/packet_checker.hpp"

#include <algorithm>
#include <cstdio>

namespace lsn::test {
namespace {

std::string number(std::uint32_t value) {
  return std::to_string(value);
}

std::string hex(std::uint32_t value, int digits) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%0*x", digits, value);
  return text;
}

std::string hex_of(ByteView bytes) {
  std::string text;
  char piece[4];
  for (const std::uint8_t byte : bytes) {
    std::snprintf(piece, sizeof piece, "%02x", byte);
    text += piece;
  }
  return text;
}

Mac mac_at(ByteView bytes, std::size_t at) {
  Mac mac{};
  for (std::size_t i = 0; i < mac.size(); ++i)
    mac[i] = static_cast<std::uint8_t>(get8(bytes, at + i));
  return mac;
}

ByteView from(ByteView bytes, std::size_t at) {
  return bytes.subspan(std::min(at, bytes.size()));
}

std::size_t header_size(ByteView ip) {
  return (get8(ip, 0) & 0x0Fu) * 4u;
}
bool is_icmp_query(unsigned type) {
  return type == 0 || type == 8 || type == 13 || type == 14;
}
bool is_icmp_error(unsigned type) {
  return type == 3 || type == 11 || type == 12;
}

std::uint16_t port(ByteView ip, bool source) {
  const ByteView l4 = from(ip, header_size(ip));
  switch (get8(ip, 9)) {
    case 6:
    case 17:
      return static_cast<std::uint16_t>(get16(l4, source ? 0 : 2));
    case 1:
      return is_icmp_query(get8(l4, 0)) ? static_cast<std::uint16_t>(get16(l4, 4))
                                        : std::uint16_t{0};
    default:
      return 0;
  }
}

std::string flags_text(unsigned flags) {
  std::string text;
  const char* const names = "FSRPAUEC";
  for (unsigned i = 0; i < 8; ++i)
    if ((flags >> i & 1) != 0) text += names[i];
  return text.empty() ? "none" : text;
}

void add_l4(Fields& fields, ByteView l4, unsigned protocol, const std::string& prefix) {
  const auto add = [&](const char* name, std::string value) {
    fields.emplace_back(prefix + name, std::move(value));
  };
  switch (protocol) {
    case 17:
      add(".udp.source port", number(get16(l4, 0)));
      add(".udp.destination port", number(get16(l4, 2)));
      add(".udp.length", number(get16(l4, 4)));
      add(".udp.checksum", hex(get16(l4, 6), 4));
      add(".udp.payload", hex_of(from(l4, 8)));
      return;
    case 6: {
      add(".tcp.source port", number(get16(l4, 0)));
      add(".tcp.destination port", number(get16(l4, 2)));
      add(".tcp.sequence", hex(get32(l4, 4), 8));
      add(".tcp.acknowledgment", hex(get32(l4, 8), 8));
      add(".tcp.data offset", number(get8(l4, 12) >> 4));
      add(".tcp.flags", flags_text(get8(l4, 13)));
      add(".tcp.window", number(get16(l4, 14)));
      add(".tcp.checksum", hex(get16(l4, 16), 4));
      add(".tcp.urgent", number(get16(l4, 18)));
      add(".tcp.options and payload", hex_of(from(l4, 20)));
      return;
    }
    case 1: {
      const unsigned type = get8(l4, 0);
      add(".icmp.type", number(type));
      add(".icmp.code", number(get8(l4, 1)));
      add(".icmp.checksum", hex(get16(l4, 2), 4));
      if (is_icmp_error(type)) {
        add(".icmp.rest", hex(get32(l4, 4), 8));
        const Fields quoted = fields_of_ip(from(l4, 8), prefix + ".quoted");
        fields.insert(fields.end(), quoted.begin(), quoted.end());
      } else {
        add(".icmp.identifier", number(get16(l4, 4)));
        add(".icmp.sequence", number(get16(l4, 6)));
        add(".icmp.payload", hex_of(from(l4, 8)));
      }
      return;
    }
    default:
      add(".payload", hex_of(l4));
  }
}

}  // namespace

Link link_of(ByteView frame) {
  Link link;
  link.destination = mac_at(frame, 0);
  link.source = mac_at(frame, 6);
  link.type = get16(frame, 12);
  if (link.type == 0x8100) {
    link.vlan = get16(frame, 14) & 0x0FFF;
    link.type = get16(frame, 16);
    link.size = 18;
  }
  return link;
}

Bytes behind_link(ByteView frame) {
  const ByteView rest = from(frame, link_of(frame).size);
  return {rest.begin(), rest.end()};
}

Endpoint source_of(ByteView ip) {
  return {Ip{get32(ip, 12)}, port(ip, true)};
}
Endpoint destination_of(ByteView ip) {
  return {Ip{get32(ip, 16)}, port(ip, false)};
}
unsigned protocol_of(ByteView ip) {
  return get8(ip, 9);
}

Fields fields_of_ip(ByteView ip, const std::string& prefix) {
  Fields fields;
  const auto add = [&](const char* name, std::string value) {
    fields.emplace_back(prefix + name, std::move(value));
  };
  const std::size_t header = header_size(ip);
  add(".version", number(get8(ip, 0) >> 4));
  add(".header size", number(static_cast<std::uint32_t>(header)));
  add(".tos", hex(get8(ip, 1), 2));
  add(".total length", number(get16(ip, 2)));
  add(".identification", hex(get16(ip, 4), 4));
  add(".flags",
      cat({(get8(ip, 6) & 0x40) != 0 ? "DF " : "", (get8(ip, 6) & 0x20) != 0 ? "MF" : ""}));
  add(".offset", number((get16(ip, 6) & 0x1FFF) * 8));
  add(".ttl", number(get8(ip, 8)));
  add(".protocol", number(get8(ip, 9)));
  add(".checksum", hex(get16(ip, 10), 4));
  add(".source", to_text(Ip{get32(ip, 12)}));
  add(".destination", to_text(Ip{get32(ip, 16)}));
  if (header > 20)
    add(".options",
        hex_of(ip.subspan(std::min<std::size_t>(20, ip.size()),
                          std::min(header, ip.size()) - std::min<std::size_t>(20, ip.size()))));
  if ((get16(ip, 6) & 0x1FFF) != 0)
    add(".payload", hex_of(from(ip, header)));
  else
    add_l4(fields, from(ip, header), get8(ip, 9), prefix);
  return fields;
}

Fields fields_of_frame(ByteView frame) {
  const Link link = link_of(frame);
  Fields fields = {{"ethernet.destination", to_text(link.destination)},
                   {"ethernet.source", to_text(link.source)},
                   {"ethernet.vlan", number(link.vlan)},
                   {"ethernet.type", hex(link.type, 4)}};
  const ByteView rest = from(frame, link.size);
  if (link.type == 0x0800) {
    const Fields ip = fields_of_ip(rest);
    fields.insert(fields.end(), ip.begin(), ip.end());
  } else if (link.type == 0x0806) {
    fields.emplace_back("arp.operation", number(get16(rest, 6)));
    fields.emplace_back("arp.sender mac", to_text(mac_at(rest, 8)));
    fields.emplace_back("arp.sender", to_text(Ip{get32(rest, 14)}));
    fields.emplace_back("arp.target mac", to_text(mac_at(rest, 18)));
    fields.emplace_back("arp.target", to_text(Ip{get32(rest, 24)}));
    fields.emplace_back("arp.rest", hex_of(from(rest, 28)));
  } else {
    fields.emplace_back("payload", hex_of(rest));
  }
  return fields;
}

std::string summary_of_frame(ByteView frame) {
  const Link link = link_of(frame);
  const ByteView rest = from(frame, link.size);
  std::string text = cat({to_text(link.source), " > ", to_text(link.destination)});
  if (link.vlan != 0) text += cat({" vlan ", number(link.vlan)});
  if (link.type == 0x0806) {
    text += cat({get16(rest, 6) == 1 ? " ARP who has " : " ARP reply to ",
                 to_text(Ip{get32(rest, 24)}), ", from ", to_text(Ip{get32(rest, 14)})});
  } else if (link.type == 0x0800) {
    text += cat({" ", to_text(source_of(rest)), " > ", to_text(destination_of(rest)), " protocol ",
                 number(get8(rest, 9))});
    if ((get16(rest, 6) & 0x3FFF) != 0)
      text += cat({" fragment at ", number((get16(rest, 6) & 0x1FFF) * 8)});
    const ByteView l4 = from(rest, header_size(rest));
    if (get8(rest, 9) == 6) text += cat({" flags ", flags_text(get8(l4, 13))});
    if (get8(rest, 9) == 1)
      text += cat({" type ", number(get8(l4, 0)), " code ", number(get8(l4, 1))});
    text += cat({" ttl ", number(get8(rest, 8))});
  } else {
    text += cat({" type ", hex(link.type, 4)});
  }
  return cat({text, ", ", std::to_string(frame.size()), " bytes"});
}

std::string difference(ByteView expected, ByteView actual) {
  if (std::ranges::equal(expected, actual)) return {};
  std::string text;
  const Fields a = fields_of_frame(expected);
  const Fields b = fields_of_frame(actual);
  for (const auto& [name, value] : a) {
    const auto same =
        std::find_if(b.begin(), b.end(), [&](const auto& f) { return f.first == name; });
    if (same == b.end())
      text += cat({"  ", name, ": expected ", value, ", is not there\n"});
    else if (same->second != value)
      text += cat({"  ", name, ": expected ", value, ", is ", same->second, "\n"});
  }
  for (const auto& [name, value] : b)
    if (std::none_of(a.begin(), a.end(), [&](const auto& f) { return f.first == name; }))
      text += cat({"  ", name, ": not expected, is ", value, "\n"});
  return cat({text, "expected (", std::to_string(expected.size()), " bytes):\n",
              hexdump(expected, actual), "actual (", std::to_string(actual.size()), " bytes):\n",
              hexdump(actual, expected)});
}

std::optional<std::string> fault_of_ip(ByteView ip) {
  if (ip.size() < 20) return cat({"an IP packet of ", std::to_string(ip.size()), " bytes"});
  const std::size_t header = header_size(ip);
  if (get8(ip, 0) >> 4 != 4) return cat({"IP version ", number(get8(ip, 0) >> 4)});
  if (header < 20 || header > ip.size())
    return cat({"IP header of ", std::to_string(header), " bytes"});
  if (get16(ip, 2) != ip.size())
    return cat(
        {"IP total length ", number(get16(ip, 2)), " in ", std::to_string(ip.size()), " bytes"});
  if (internet_checksum(ip.first(header)) != 0) return "the IP header's checksum is wrong";
  if (get8(ip, 8) == 0) return "a packet with TTL 0";
  return std::nullopt;
}

std::optional<std::string> fault_of_l4(ByteView ip) {
  if ((get16(ip, 6) & 0x3FFF) != 0) return std::nullopt;
  const ByteView l4 = from(ip, header_size(ip));
  const unsigned protocol = get8(ip, 9);
  std::uint64_t start = 0;
  if (protocol == 6 || protocol == 17)
    start = pseudo_header(Ip{get32(ip, 12)}, Ip{get32(ip, 16)}, protocol, l4.size());
  else if (protocol != 1)
    return std::nullopt;
  if (protocol == 17 && get16(l4, 6) == 0) return std::nullopt;
  if (internet_checksum(l4, start) != 0)
    return cat({"the checksum of protocol ", number(protocol), " is wrong"});
  return std::nullopt;
}

}  // namespace lsn::test
