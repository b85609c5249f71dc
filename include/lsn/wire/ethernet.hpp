// Ethernet II frames with at most one VLAN tag (IEEE 802.1Q), and ARP for IPv4 (RFC 826).
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "lsn/wire/big_endian.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::wire {

inline constexpr std::uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr std::uint16_t kEtherTypeArp = 0x0806;
inline constexpr std::uint16_t kEtherTypeVlan = 0x8100;
inline constexpr std::uint16_t kEtherTypeIpv6 = 0x86DD;
inline constexpr MacAddress kBroadcastMac = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

/// In two words, as every frame is asked.
[[nodiscard]] inline bool is_same(const MacAddress& a, const MacAddress& b) {
  std::uint32_t front[2];
  std::uint16_t back[2];
  std::memcpy(&front[0], a.data(), 4);
  std::memcpy(&front[1], b.data(), 4);
  std::memcpy(&back[0], a.data() + 4, 2);
  std::memcpy(&back[1], b.data() + 4, 2);
  return ((front[0] ^ front[1]) | (back[0] ^ back[1])) == 0;
}

struct EthernetHeader {
  MacAddress destination;
  MacAddress source;
  Be16 type;
};
static_assert(sizeof(EthernetHeader) == 14 && alignof(EthernetHeader) == 1);

/// Follows the type 0x8100.
struct VlanTag {
  Be16 control;  ///< priority (3 bits), drop eligible (1), VLAN id (12)
  Be16 type;

  [[nodiscard]] std::uint16_t id() const { return control.host() & 0x0FFF; }
};
static_assert(sizeof(VlanTag) == 4 && alignof(VlanTag) == 1);

inline constexpr std::uint16_t kArpRequest = 1;
inline constexpr std::uint16_t kArpReply = 2;

struct ArpHeader {
  Be16 hardware_type;  ///< 1: Ethernet
  Be16 protocol_type;  ///< 0x0800
  std::uint8_t hardware_size;
  std::uint8_t protocol_size;
  Be16 operation;
  MacAddress sender_mac;
  Be32 sender_ip;
  MacAddress target_mac;
  Be32 target_ip;

  /// The ARP packet for IPv4 over Ethernet that begins here, or nullptr: too short or of another
  /// kind.
  [[nodiscard]] static const ArpHeader* parse(std::span<const std::uint8_t> bytes) {
    if (bytes.size() < sizeof(ArpHeader)) return nullptr;
    const auto* arp = reinterpret_cast<const ArpHeader*>(bytes.data());
    const bool known = arp->hardware_type == Be16::of(1) &&
                       arp->protocol_type == Be16::of(kEtherTypeIpv4) && arp->hardware_size == 6 &&
                       arp->protocol_size == 4;
    return known ? arp : nullptr;
  }
};
static_assert(sizeof(ArpHeader) == 28 && alignof(ArpHeader) == 1);

}  // namespace lsn::wire
