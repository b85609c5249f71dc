// DPDK's environment: its arguments, its life, its log.
//
// Workers are EAL threads, each pinned to its CPU (lcore 1 + shard); the main thread is lcore 0,
// floats on all CPUs that are no worker's, or on the workers' own if there is no other. Devices are
// not EAL's to make: PCI devices are allowed by argument, vdevs are plugged in afterwards
// (port.hpp), so that one that fails can be named. DPDK's lines go to the program's log, its
// warnings and errors at the same level, all lower levels as debug.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/wire/ipv4_address.hpp"

namespace lsn::runtime {

struct EalRequest {
  std::vector<std::string> options;  ///< dataplane.eal
  std::vector<unsigned> cpus;        ///< of the workers
  std::vector<std::string> pci;      ///< addresses
  std::size_t buffer_bytes = 0;      ///< for packet buffers and rings
  std::size_t small_page_bytes = 0;  ///< the same without huge pages
};

/// The machine's CPUs and nodes.
struct Machine {
  std::vector<unsigned> cpus;            ///< on which this process may run
  std::size_t free_huge_page_bytes = 0;  ///< neither used nor reserved
  std::vector<std::string> kernel_interfaces{};
  std::vector<std::string> pci_devices{};  ///< addresses with their domain
  struct KernelAddress {
    std::string interface;
    wire::Ipv4Address address;
  };
  std::vector<KernelAddress> addresses{};  ///< of the kernel's interfaces

  [[nodiscard]] static Machine inspect();
};

struct EalArguments {
  std::vector<std::string> arguments;
  std::vector<std::string> remarks;  ///< replaced options, for the log
  bool huge_pages = true;            ///< the arguments do not exclude them
};

/// Error: one line, a worker's CPU that is not there.
[[nodiscard]] std::expected<EalArguments, std::string> eal_arguments(const EalRequest& request,
                                                                     const Machine& machine);

/// lcore of a shard's worker.
[[nodiscard]] constexpr unsigned lcore_of(unsigned shard) {
  return shard + 1;
}

/// EAL is there while this lives: one per process and life.
class Eal {
 public:
  /// Error: one line.
  [[nodiscard]] static std::expected<Eal, std::string> start(const EalArguments& arguments);

  Eal(Eal&& other) noexcept;
  Eal& operator=(Eal&&) = delete;
  ~Eal();

 private:
  Eal() = default;
  bool alive_ = true;
};

/// The driver that a PCI device is bound to: "" for none, nothing if there is no such device.
[[nodiscard]] std::optional<std::string> driver_of(const std::string& address);

/// Whether a kernel's driver does nothing but give the device to user space.
[[nodiscard]] bool is_for_dpdk(std::string_view kernel_driver);

/// Why EAL has made no port of a PCI device: the kernel's reason, or EAL's from its start, in one
/// line.
[[nodiscard]] std::string why_no_device(const std::string& address);

/// The same from given facts: the driver that the device is bound to ("" for none, nothing if there
/// is no such device), EAL's arguments, and the errors that it has logged, in their order.
[[nodiscard]] std::string why_no_device(const std::string& address,
                                        const std::optional<std::string>& bound_to,
                                        const std::vector<std::string>& arguments,
                                        const std::vector<std::string>& errors);

/// While one lives, a call is tried that may fail, and DPDK's errors are only details (logged as
/// debug): the caller reports. This thread keeps them: they say more about a failure than an error
/// number.
class Attempt {
 public:
  Attempt();
  ~Attempt();
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  /// "" if there was none.
  [[nodiscard]] std::string first_complaint() const;
  [[nodiscard]] std::string last_complaint() const;
};

}  // namespace lsn::runtime
