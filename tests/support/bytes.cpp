#include "support/bytes.hpp"

#include <cstdio>

namespace lsn::test {

std::string cat(std::initializer_list<std::string_view> pieces) {
  std::string text;
  for (const std::string_view piece : pieces) text += piece;
  return text;
}

std::string to_text(Ip ip) {
  char text[16];
  std::snprintf(text, sizeof text, "%u.%u.%u.%u", ip.value >> 24, ip.value >> 16 & 0xFF,
                ip.value >> 8 & 0xFF, ip.value & 0xFF);
  return text;
}

std::string to_text(Endpoint endpoint) {
  return cat({to_text(endpoint.ip), ":", std::to_string(endpoint.port)});
}

std::string to_text(const Mac& mac) {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                mac[4], mac[5]);
  return text;
}

Bytes pattern(std::size_t size, unsigned seed) {
  Bytes bytes(size);
  std::uint32_t state = seed * 2654435761u + 12345;
  for (std::uint8_t& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>(state >> 24);
  }
  return bytes;
}

std::string hexdump(ByteView bytes, ByteView other) {
  std::string text;
  char piece[24];
  for (std::size_t line = 0; line < bytes.size(); line += 16) {
    std::snprintf(piece, sizeof piece, "  %04zx ", line);
    text += piece;
    for (std::size_t i = line; i < line + 16 && i < bytes.size(); ++i) {
      const bool differs = !other.empty() && (i >= other.size() || other[i] != bytes[i]);
      std::snprintf(piece, sizeof piece, differs ? "[%02x]" : " %02x ", bytes[i]);
      text += piece;
    }
    text += '\n';
  }
  return text;
}

unsigned internet_checksum(ByteView bytes, std::uint64_t start) {
  std::uint64_t sum = start;
  for (std::size_t i = 0; i < bytes.size(); i += 2)
    sum += bytes[i] * 256u + (i + 1 < bytes.size() ? bytes[i + 1] : 0u);
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<unsigned>(~sum & 0xFFFF);
}

std::uint64_t pseudo_header(Ip source, Ip destination, unsigned protocol, std::size_t size) {
  return std::uint64_t{source.value >> 16} + (source.value & 0xFFFF) + (destination.value >> 16) +
         (destination.value & 0xFFFF) + protocol + size;
}

}  // namespace lsn::test
