// What the kernel path carries to the kernel, in classes, each with a rate of its own on each
// interface (interfaces[].kernelRate), so that a flood of one does not starve the others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace lsn::shared {

/// In the order of their precedence.
enum class KernelClass : std::uint8_t {
  kRouting,     ///< BGP, OSPF, BFD, VRRP, ARP, and what IPv6 has in place of ARP
  kManagement,  ///< ssh, SNMP, HTTPS
  kRest,
};
inline constexpr std::size_t kKernelClasses = 3;

/// What the kernel hears of an interface.
enum class KernelUse : std::uint8_t {
  kNone,  ///< it has no kernel interface
  kIpv4,
  kWithIpv6,  ///< link-local IPv6 as well
};

/// Packets per second, by class.
using KernelRates = std::array<std::uint32_t, kKernelClasses>;

/// A kernel interface as `stat interface` shows it.
struct KernelStatus {
  std::string name;   ///< in the kernel
  std::string netns;  ///< empty: lsnd's own
  bool present = false;
};

}  // namespace lsn::shared
