#include "lsn/control/config/vocabulary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <vector>

namespace lsn::control {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

bool alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z');
}

bool hex_digit(char c) {
  return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'f');
}

bool all_printable(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = printable_character(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

/// Letters that have to be inserted, removed or changed, without regard to case.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t change = diagonal + (lower(a[i]) == lower(b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::size_t printable_character(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc0 || first > 0xf4 || text.size() < size) return 0;
  unsigned code = first & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3fU);
  }
  // The shortest form only; no surrogates, no C1 control characters.
  constexpr std::array<unsigned, 5> kLowest{0, 0, 0xa0, 0x800, 0x10000};
  return code < kLowest[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : size;
}

std::string printable(std::string_view text, std::size_t longest) {
  std::string result;
  while (!text.empty()) {
    if (result.size() >= longest) return result + "...";
    const std::size_t size = printable_character(text);
    if (size == 0)
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    else
      result += text.substr(0, size);
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return result;
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<unsigned> parse_number(std::string_view text, unsigned highest, int base) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size() || value > highest)
    return std::nullopt;
  return value;
}

std::optional<std::string_view> nearest_word(std::string_view given,
                                             std::span<const std::string_view> candidates) {
  std::optional<std::string_view> best;
  if (given.size() > 256) return best;
  std::size_t best_distance = 0;
  for (const std::string_view candidate : candidates) {
    // A third of the letters may be wrong: "rolle" is "role", "via" is not "mac". Shortened and
    // lengthened words are near as well: "timeout" for "sessiontimeout" is not.
    const std::size_t far = std::max<std::size_t>(1, std::max(given.size(), candidate.size()) / 3);
    const std::size_t d = distance(given, candidate);
    if (d <= far && (!best || d < best_distance)) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

std::optional<std::string> check_name(std::string_view name, std::size_t longest) {
  if (name.empty() || name.size() > longest) return fmt::format("1-{} characters", longest);
  if (!alphanumeric(name[0]) && name[0] != '_') return "a letter, a digit or _ at the beginning";
  for (const char c : name)
    if (!alphanumeric(c) && std::string_view("_#.: @=-").find(c) == std::string_view::npos)
      return "letters, digits, blanks and _ # . : @ = -";
  return std::nullopt;
}

std::optional<wire::Ipv4Prefix> InterfaceAddressSyntax::parse(std::string_view text) {
  const auto prefix = wire::parse_ipv4_prefix(text);
  if (!prefix || prefix->length == 0 || !wire::is_host_address(prefix->address))
    return std::nullopt;
  // RFC 3021: both addresses of a /31 are hosts.
  if (prefix->length <= 30 &&
      (prefix->address == prefix->first() || prefix->address == prefix->last()))
    return std::nullopt;
  return prefix;
}

std::optional<std::string> host_bits_set(std::string_view text) {
  const auto prefix = wire::parse_ipv4_prefix(text);
  if (!prefix || prefix->address == prefix->first()) return std::nullopt;
  return fmt::format("host bits set, did you mean {}?",
                     wire::to_string(wire::Ipv4Prefix{prefix->first(), prefix->length}));
}

std::optional<wire::Ipv4Prefix> PrefixSyntax::parse(std::string_view text) {
  const auto prefix = wire::parse_ipv4_prefix(text);
  if (!prefix || prefix->address != prefix->first()) return std::nullopt;
  return prefix;
}

std::optional<wire::Ipv4Prefix> NetworkSyntax::parse(std::string_view text) {
  if (const auto address = wire::parse_ipv4(text)) return wire::Ipv4Prefix{*address, 32};
  return PrefixSyntax::parse(text);
}

std::optional<ClientNetwork> ClientNetworkSyntax::parse(std::string_view text) {
  constexpr std::string_view kBetween = " td ";
  const std::size_t between = text.find(kBetween);
  const auto prefix = NetworkSyntax::parse(text.substr(0, between));
  if (!prefix) return std::nullopt;
  if (between == std::string_view::npos) return ClientNetwork{*prefix, 0};
  const std::string_view number = text.substr(between + kBetween.size());
  unsigned td = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), td);
  if (error != std::errc{} || end != number.data() + number.size() || td > shared::kLastDomain)
    return std::nullopt;
  return ClientNetwork{*prefix, static_cast<shared::DomainId>(td)};
}

std::string ClientNetworkSyntax::format(const Value& value) {
  return wire::to_string(static_cast<const wire::Ipv4Prefix&>(value)) + td_text(value.td);
}

std::string td_text(shared::DomainId td) {
  return td == 0 ? std::string() : fmt::format(" td {}", td);
}

std::optional<wire::Ipv4Address> AddressSyntax::parse(std::string_view text) {
  const auto address = wire::parse_ipv4(text);
  return address && wire::is_host_address(*address) ? address : std::nullopt;
}

std::optional<wire::Ipv4Range> AddressRangeSyntax::parse(std::string_view text) {
  std::optional<wire::Ipv4Range> range;
  if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
    const auto first = wire::parse_ipv4(text.substr(0, dash));
    const auto last = wire::parse_ipv4(text.substr(dash + 1));
    if (first && last && *first <= *last) range = {*first, *last};
  } else if (text.find('/') != std::string_view::npos) {
    if (const auto prefix = PrefixSyntax::parse(text)) range = {prefix->first(), prefix->last()};
  } else if (const auto address = wire::parse_ipv4(text)) {
    range = {*address, *address};
  }
  if (!range || !wire::is_host_address(range->first) || !wire::is_host_address(range->last) ||
      (range->first.value >> 24 < 127 && range->last.value >> 24 > 127))
    return std::nullopt;
  return range;
}

std::string AddressRangeSyntax::format(const wire::Ipv4Range& value) {
  if (value.first == value.last) return wire::to_string(value.first);
  return wire::to_string(value.first) + '-' + wire::to_string(value.last);
}

std::optional<wire::Ipv4Range> SourceRangeSyntax::parse(std::string_view text) {
  return text.find('/') == std::string_view::npos ? AddressRangeSyntax::parse(text) : std::nullopt;
}

std::optional<PortRange> PortRangeSyntax::parse(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_number(text.substr(0, dash), 65535);
  const auto last =
      dash == std::string_view::npos ? first : parse_number(text.substr(dash + 1), 65535);
  if (!first || !last || *first > *last) return std::nullopt;
  return PortRange{static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
}

std::string PortRangeSyntax::format(PortRange value) {
  if (value.first == value.last) return fmt::format("{}", value.first);
  return fmt::format("{}-{}", value.first, value.last);
}

std::optional<StaticPort> StaticPortSyntax::parse(std::string_view text) {
  if (text == "*") return StaticPort{0, true};
  const auto port = parse_number(text, 65535);
  if (!port) return std::nullopt;
  return StaticPort{static_cast<std::uint16_t>(*port), false};
}

std::string StaticPortSyntax::format(StaticPort value) {
  return value.is_any ? "*" : fmt::format("{}", value.number);
}

std::optional<wire::MacAddress> MacSyntax::parse(std::string_view text) {
  const auto mac = wire::parse_mac(text);
  if (!mac || ((*mac)[0] & 1) != 0 || *mac == wire::MacAddress{}) return std::nullopt;
  return mac;
}

namespace {

/// A plain file name of letters, digits and _ - . of at most `longest` bytes, or nothing.
bool is_plain_name(std::string_view text, std::size_t longest) {
  const auto is_plain = [](char c) { return alphanumeric(c) || c == '_' || c == '-' || c == '.'; };
  return text.size() <= longest && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), is_plain);
}

}  // namespace

std::optional<std::string> KernelNameSyntax::parse(std::string_view text) {
  // The kernel has no interface of these names: they stand for all, and for new ones (sysctl).
  if (text == "all" || text == "default") return std::nullopt;
  return is_plain_name(text, 15) ? std::optional(std::string(text)) : std::nullopt;
}

std::optional<std::string> NetnsSyntax::parse(std::string_view text) {
  return is_plain_name(text, 255) ? std::optional(std::string(text)) : std::nullopt;
}

std::optional<std::string> DeviceSyntax::parse(std::string_view text) {
  if (!all_printable(text) || text.find(' ') != std::string_view::npos || text.size() > 1000)
    return std::nullopt;
  const std::size_t comma = std::min(text.find(','), text.size());
  const std::string_view device = text.substr(0, comma);
  const std::string_view arguments = text.substr(comma);
  for (const std::string_view prefix : {"net_", "eth_"})
    if (device.starts_with(prefix) && device.size() > prefix.size()) return std::string(text);
  // [DOMAIN:]BUS:DEVICE.FUNCTION, PCI's own sizes
  std::string pci(device);
  if (pci.size() == 7) pci = "0000:" + pci;
  constexpr std::string_view kShape = "xxxx:xx:xx.x";
  if (pci.size() != kShape.size()) return std::nullopt;
  for (std::size_t i = 0; i < pci.size(); ++i) {
    if (kShape[i] == 'x' ? !hex_digit(pci[i]) : pci[i] != kShape[i]) return std::nullopt;
    pci[i] = lower(pci[i]);
  }
  return pci + std::string(arguments);
}

std::optional<std::string> PathSyntax::parse(std::string_view text) {
  if (!all_printable(text) || (!text.empty() && text[0] != '/') || text.size() > 4000)
    return std::nullopt;
  return std::string(text);
}

std::optional<std::string> FilePathSyntax::parse(std::string_view text) {
  if (text.empty() || text.ends_with('/')) return std::nullopt;
  return PathSyntax::parse(text);
}

std::optional<std::string> NodeSyntax::parse(std::string_view text) {
  constexpr std::size_t kLongestNode = 64;
  const bool good = text.size() <= kLongestNode && std::ranges::all_of(text, [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
                    });
  return good ? std::optional(std::string(text)) : std::nullopt;
}

std::optional<std::string> SocketPathSyntax::parse(std::string_view text) {
  if (text.size() < 2 || text.size() > 107) return std::nullopt;
  return PathSyntax::parse(text);
}

std::optional<std::string> LogTargetSyntax::parse(std::string_view text) {
  if (text == "stderr" || text == "syslog") return std::string(text);
  return text.size() < 2 ? std::nullopt : PathSyntax::parse(text);
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto address = wire::parse_ipv4(text.substr(0, colon));
  const auto port = parse_number(text.substr(colon + 1), 65535);
  if (!address || !port || *port == 0) return std::nullopt;
  // No host can be reached at 0/8 but for 0.0.0.0, nor from 224.0.0.0 on.
  if (address->value != 0 && (address->value >> 24 == 0 || address->value >> 24 >= 224))
    return std::nullopt;
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

std::optional<std::string> ListenSyntax::parse(std::string_view text) {
  return text.empty() || parse_endpoint(text) ? std::optional(std::string(text)) : std::nullopt;
}

std::optional<std::string> ServerSyntax::parse(std::string_view text) {
  const auto endpoint = parse_endpoint(text);
  // Loopback is a collector's place as any other, 0/8 and groups are nobody's (RFC 1122 section
  // 3.2.1.3).
  const bool good =
      endpoint && endpoint->address.value >> 24 != 0 && endpoint->address.value < 0xE0000000;
  return good ? std::optional(std::string(text)) : std::nullopt;
}

std::optional<std::string> TextSyntax::parse(std::string_view text) {
  return all_printable(text) ? std::optional(std::string(text)) : std::nullopt;
}

std::optional<std::string> EalOptionSyntax::parse(std::string_view text) {
  if (text.empty() || !all_printable(text)) return std::nullopt;
  if (text.starts_with("--")) {
    // getopt_long(3) takes any unambiguous beginning of a long option for the option.
    const std::string_view name = text.substr(0, text.find('='));
    for (const std::string_view refused :
         {"--lcores", "--main-lcore", "--allow", "--vdev", "--help"})
      if (name.size() > 2 && refused.starts_with(name)) return std::nullopt;
  } else if (text.size() > 1 && text[0] == '-' &&
             std::string_view("claswSh").find(text[1]) != std::string_view::npos) {
    return std::nullopt;  // coremask, core list, allowed device, service cores, help
  }
  return std::string(text);
}

}  // namespace lsn::control
