#include "lsn/wire/ipv4_address.hpp"

#include <bit>
#include <charconv>
#include <cstdio>

namespace lsn::wire {
namespace {

/// A decimal number without leading zeros, at most `limit`, taken off the front of `text`.
std::optional<std::uint32_t> take_number(std::string_view& text, std::uint32_t limit) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (error != std::errc{} || number > limit) return std::nullopt;
  if (digits > 1 && text.front() == '0') return std::nullopt;
  text.remove_prefix(digits);
  return number;
}

std::optional<Ipv4Address> take_address(std::string_view& text) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    if (i != 0) {
      if (!text.starts_with('.')) return std::nullopt;
      text.remove_prefix(1);
    }
    const auto byte = take_number(text, 255);
    if (!byte) return std::nullopt;
    value = value << 8 | *byte;
  }
  return Ipv4Address{value};
}

}  // namespace

std::optional<unsigned> length_of_netmask(Ipv4Address mask) {
  // The inverted mask is one less than a power of two.
  if ((~mask.value & (~mask.value + 1)) != 0) return std::nullopt;
  return static_cast<unsigned>(std::popcount(mask.value));
}

std::vector<Ipv4Prefix> prefixes_of(const Ipv4Range& range) {
  std::vector<Ipv4Prefix> prefixes;
  for (std::uint64_t first = range.first.value; first <= range.last.value;) {
    unsigned length = first == 0 ? 0 : 32 - static_cast<unsigned>(std::countr_zero(first));
    while (first + (std::uint64_t{1} << (32 - length)) - 1 > range.last.value) ++length;
    prefixes.push_back({Ipv4Address{static_cast<std::uint32_t>(first)}, length});
    first += std::uint64_t{1} << (32 - length);
  }
  return prefixes;
}

std::optional<Ipv4Address> parse_ipv4(std::string_view text) {
  const auto address = take_address(text);
  return text.empty() ? address : std::nullopt;
}

std::optional<Ipv4Prefix> parse_ipv4_prefix(std::string_view text) {
  const auto address = take_address(text);
  if (!address || !text.starts_with('/')) return std::nullopt;
  text.remove_prefix(1);
  const auto length = take_number(text, 32);
  if (!length || !text.empty()) return std::nullopt;
  return Ipv4Prefix{*address, *length};
}

std::string to_string(Ipv4Address address) {
  char text[16];
  const std::uint32_t a = address.value;
  std::snprintf(text, sizeof text, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
  return text;
}

std::string to_string(const Ipv4Prefix& prefix) {
  return to_string(prefix.address) + "/" + std::to_string(prefix.length);
}

std::optional<MacAddress> parse_mac(std::string_view text) {
  MacAddress mac{};
  if (text.size() != 17) return std::nullopt;
  for (std::size_t i = 0; i < 6; ++i) {
    const char* digits = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(digits, digits + 2, mac[i], 16);
    if (error != std::errc{} || end != digits + 2) return std::nullopt;
    if (i != 5 && digits[2] != ':') return std::nullopt;
  }
  return mac;
}

std::string to_string(const MacAddress& m) {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
                m[5]);
  return text;
}

}  // namespace lsn::wire
