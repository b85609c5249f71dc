// Header views over any bytes: no length makes one read past the end, and every range that a view
// returns lies within the packet. Addresses in any text: an address that is read is written and
// read again the same.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "lsn/wire/esp.hpp"
#include "lsn/wire/ethernet.hpp"
#include "lsn/wire/icmp.hpp"
#include "lsn/wire/ipv4.hpp"
#include "lsn/wire/ipv4_address.hpp"
#include "lsn/wire/tcp.hpp"
#include "lsn/wire/udp.hpp"

namespace {

using namespace lsn::wire;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

/// Every view that there is, over bytes that end where the allocation ends.
void view(std::span<std::uint8_t> bytes) {
  if (const UdpHeader* udp = UdpHeader::parse(bytes, false))
    require(udp->length.host() >= 8 && udp->length.host() <= bytes.size(), "UDP's length");
  if (UdpHeader::parse(bytes, true) != nullptr) require(bytes.size() >= 8, "UDP has a header");
  if (const TcpHeader* tcp = TcpHeader::parse(bytes))
    require(bytes.size() >= 20 && tcp->flags == bytes[13], "TCP has a header");
  if (const IcmpHeader* icmp = IcmpHeader::parse(bytes))
    require(bytes.size() >= 8 && icmp->type == bytes[0], "ICMP has a header");
  if (EspHeader::parse(bytes) != nullptr) require(bytes.size() >= 8, "ESP has a header");
  if (ArpHeader::parse(bytes) != nullptr) require(bytes.size() >= 28, "ARP is whole");
  if (const auto ip = Ipv4Header::parse(bytes)) {
    const Ipv4Header& header = **ip;
    require(header.header_size() >= 20 && header.header_size() <= header.total_size() &&
                header.total_size() <= bytes.size(),
            "IPv4's lengths");
  }
  static_cast<void>(checksum(bytes.data(), bytes.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> copy(data, data + size);
  view(copy);
  if (const auto ip = Ipv4Header::parse(std::span(copy))) {
    std::vector<std::uint8_t> payload((*ip)->payload(), (*ip)->payload() + (*ip)->payload_size());
    view(payload);
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto address = parse_ipv4(text))
    require(parse_ipv4(to_string(*address)) == address, "an address is written as it is read");
  if (const auto prefix = parse_ipv4_prefix(text))
    require(parse_ipv4_prefix(to_string(*prefix)) == prefix, "a prefix is written as it is read");
  static_cast<void>(parse_mac(text));
  return 0;
}
