#include "lsn/runtime/eal.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <rte_eal.h>
#include <rte_eal_memconfig.h>
#include <rte_errno.h>
#include <rte_interrupts.h>
#include <rte_log.h>
#include <rte_memory.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string_view>
#include <thread>
#include <utility>

namespace lsn::runtime {
namespace {

std::size_t read_number(const std::string& path) {
  std::ifstream file(path);
  std::size_t number = 0;
  file >> number;
  return file ? number : 0;
}

std::size_t free_huge_pages() {
  const std::string root = "/sys/kernel/mm/hugepages";
  std::size_t bytes = 0;
  DIR* const directory = opendir(root.c_str());
  if (directory == nullptr) return 0;
  while (const dirent* entry = readdir(directory)) {
    std::size_t kilobytes = 0;
    if (std::sscanf(entry->d_name, "hugepages-%zukB", &kilobytes) != 1) continue;
    const std::string path = root + "/" + entry->d_name;
    const std::size_t free = read_number(path + "/free_hugepages");
    const std::size_t reserved = read_number(path + "/resv_hugepages");
    bytes += (free - std::min(free, reserved)) * kilobytes * 1024;
  }
  closedir(directory);
  return bytes;
}

/// Names of a folder's entries, in order, without plain files.
std::vector<std::string> names_in(const char* path) {
  std::vector<std::string> names;
  DIR* const directory = opendir(path);
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory))
    if (entry->d_name[0] != '.' && entry->d_type != DT_REG) names.emplace_back(entry->d_name);
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> names_of_interfaces() {
  std::vector<std::string> names;
  struct if_nameindex* const all = if_nameindex();
  if (all == nullptr) return names;
  for (const struct if_nameindex* each = all; each->if_index != 0; ++each)
    names.emplace_back(each->if_name);
  if_freenameindex(all);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<Machine::KernelAddress> kernel_addresses() {
  std::vector<Machine::KernelAddress> all;
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return all;
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    sockaddr_in address;
    std::memcpy(&address, each->ifa_addr, sizeof address);
    all.push_back({each->ifa_name, wire::Ipv4Address{ntohl(address.sin_addr.s_addr)}});
  }
  freeifaddrs(first);
  return all;
}

bool has_option(const std::vector<std::string>& options,
                std::initializer_list<std::string_view> names) {
  return std::any_of(options.begin(), options.end(), [&](const std::string& option) {
    return std::any_of(names.begin(), names.end(), [&](std::string_view name) {
      if (name.size() == 2) return std::string_view(option).starts_with(name);  // -m64
      return option == name || std::string_view(option).starts_with(std::string(name) + "=");
    });
  });
}

// ── the log ─────────────────────────────────────────────────────────────────────────────────────

thread_local std::vector<std::string> complaints;
/// Of EAL's own start, when it looked for PCI devices.
std::vector<std::string> start_complaints;
std::vector<std::string> start_arguments;
/// While a device or EAL is being started: drivers complain of much that does not matter. If the
/// start fails the complaint is in the error, else it is a detail.
std::atomic<int> trying{0};
/// EAL ends: a failure to switch something off is no error.
std::atomic<bool> ending{false};

spdlog::level::level_enum level_of(int dpdk_level) {
  if (dpdk_level <= static_cast<int>(RTE_LOG_ERR) && trying == 0 && !ending)
    return spdlog::level::err;
  if (dpdk_level == static_cast<int>(RTE_LOG_WARNING) && trying == 0) return spdlog::level::warn;
  // DPDK's notices are no more than the size of a hugepage.
  if (dpdk_level <= static_cast<int>(RTE_LOG_INFO)) return spdlog::level::debug;
  return spdlog::level::trace;
}

/// A stream's write function: DPDK writes one message at a time, the stream is unbuffered.
ssize_t write_log(void* /*cookie*/, const char* text, std::size_t size) {
  std::string_view message(text, size);
  while (!message.empty() && (message.back() == '\n' || message.back() == ' '))
    message.remove_suffix(1);
  if (!message.empty()) {
    const int dpdk_level = rte_log_cur_msg_loglevel();
    const auto level = level_of(dpdk_level);
    constexpr std::size_t kMostComplaints = 64;
    if (trying != 0 && dpdk_level <= static_cast<int>(RTE_LOG_ERR) &&
        complaints.size() < kMostComplaints)
      complaints.emplace_back(message);
    spdlog::log(level, "dpdk: {}", message);
  }
  return static_cast<ssize_t>(size);
}

/// Opened once, for the life of the process: DPDK's threads may log at any time.
FILE* log_stream() {
  static FILE* const stream = [] {
    cookie_io_functions_t functions{};
    functions.write = write_log;
    FILE* const opened = fopencookie(nullptr, "w", functions);
    // A line at a time: a message may be written in several pieces.
    if (opened != nullptr) setvbuf(opened, nullptr, _IOLBF, 4096);
    return opened;
  }();
  return stream;
}

}  // namespace

Attempt::Attempt() {
  complaints.clear();
  ++trying;
}

Attempt::~Attempt() {
  --trying;
}

std::string Attempt::first_complaint() const {
  return complaints.empty() ? "" : complaints.front();
}

std::string Attempt::last_complaint() const {
  return complaints.empty() ? "" : complaints.back();
}

Machine Machine::inspect() {
  Machine machine;
  cpu_set_t present;
  CPU_ZERO(&present);
  cpu_set_t all;
  CPU_ZERO(&all);
  sched_getaffinity(0, sizeof present, &present);
  // A narrower choice for the main thread (taskset) does not keep workers from their CPUs, a cpuset
  // does: the kernel shows it by reducing a request for all.
  cpu_set_t wish;
  std::fill_n(reinterpret_cast<unsigned char*>(&wish), sizeof wish, 0xFF);
  if (sched_setaffinity(0, sizeof wish, &wish) != 0 || sched_getaffinity(0, sizeof all, &all) != 0)
    all = present;
  sched_setaffinity(0, sizeof present, &present);
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &all)) machine.cpus.push_back(cpu);
  machine.free_huge_page_bytes = free_huge_pages();
  machine.pci_devices = names_in("/sys/bus/pci/devices");
  machine.kernel_interfaces = names_of_interfaces();
  machine.addresses = kernel_addresses();
  return machine;
}

std::expected<EalArguments, std::string> eal_arguments(const EalRequest& request,
                                                       const Machine& machine) {
  EalArguments result;
  std::vector<std::string>& arguments = result.arguments;
  arguments = {"lsnd"};

  std::vector<unsigned> others = machine.cpus;
  for (const unsigned cpu : request.cpus) {
    if (std::find(machine.cpus.begin(), machine.cpus.end(), cpu) == machine.cpus.end())
      return std::unexpected(
          fmt::format("dataplane.workers: CPU {}, allowed: a CPU that this "
                      "machine has for us ({})",
                      cpu, fmt::join(machine.cpus, ", ")));
    std::erase(others, cpu);
  }
  std::string lcores =
      fmt::format("0@({})", fmt::join(others.empty() ? machine.cpus : others, ","));
  for (unsigned shard = 0; shard < request.cpus.size(); ++shard)
    lcores += fmt::format(",{}@{}", lcore_of(shard), request.cpus[shard]);
  arguments.push_back("--lcores=" + lcores);

  constexpr std::size_t kMegabyte = std::size_t{1} << 20;
  const bool enough = machine.free_huge_page_bytes >= request.buffer_bytes;
  bool no_huge = has_option(request.options, {"--no-huge"});
  for (const std::string& option : request.options) {
    if (option == "--in-memory" && !enough && !no_huge) {
      result.remarks.push_back(fmt::format(
          "dataplane.eal: --in-memory replaced by --no-huge: {} MB of huge pages are free, packet "
          "buffers need {} MB; it will be slower",
          machine.free_huge_page_bytes / kMegabyte, request.buffer_bytes / kMegabyte + 1));
      // As private as --in-memory would have been.
      arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
      no_huge = true;
      continue;
    }
    arguments.push_back(option);
  }
  if (no_huge && !has_option(request.options, {"-m", "--socket-mem"})) {
    arguments.push_back("-m");
    arguments.push_back(fmt::format("{}", request.small_page_bytes / kMegabyte + 1));
  }
  result.huge_pages = !no_huge;

  if (request.pci.empty()) {
    // EAL would take every NIC that is bound to a driver of its kind.
    if (!has_option(request.options, {"--no-pci"})) arguments.push_back("--no-pci");
  } else {
    for (const std::string& address : request.pci) {
      arguments.push_back("-a");
      arguments.push_back(address);
    }
  }
  return result;
}

std::expected<Eal, std::string> Eal::start(const EalArguments& arguments) {
  if (log_stream() != nullptr) rte_openlog_stream(log_stream());
  const Attempt attempt;

  // EAL keeps and reorders the pointers.
  static std::vector<std::string> kept;
  kept = arguments.arguments;
  static std::vector<char*> argv;
  argv.clear();
  for (std::string& argument : kept) argv.push_back(argument.data());
  argv.push_back(nullptr);

  if (rte_eal_init(static_cast<int>(kept.size()), argv.data()) < 0) {
    const std::string complaint = attempt.last_complaint();
    return std::unexpected(fmt::format("DPDK does not start with \"{}\": {}",
                                       fmt::join(arguments.arguments, " "),
                                       complaint.empty() ? rte_strerror(rte_errno) : complaint));
  }
  start_complaints = complaints;
  start_arguments = arguments.arguments;
  return Eal();
}

Eal::Eal(Eal&& other) noexcept : alive_(std::exchange(other.alive_, false)) {}

namespace {

/// EAL's interrupt thread no longer reads EAL's memory.
constinit std::atomic<bool> stands_still{false};

/// A callback of EAL's interrupt thread that does not return.
void stand_still(void* /*nothing*/) {
  stands_still.store(true, std::memory_order_release);
  for (;;) pause();
}

/// rte_eal_cleanup() unmaps EAL's memory while EAL's interrupt thread goes on (DPDK 22.11), and the
/// thread would look once more at descriptors that a driver has left there, as net_memif its
/// listening socket: the thread stands still from now on.
void stop_interrupt_thread() {
  using namespace std::chrono_literals;
  // It stays with the thread, which lives as long as the process.
  static rte_intr_handle* const handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
  const int event = eventfd(1, EFD_CLOEXEC);
  const bool asked = handle != nullptr && event >= 0 &&
                     rte_intr_type_set(handle, RTE_INTR_HANDLE_EXT) == 0 &&
                     rte_intr_fd_set(handle, event) == 0 &&
                     rte_intr_callback_register(handle, stand_still, nullptr) == 0;
  const auto deadline = std::chrono::steady_clock::now() + 3s;
  while (asked && !stands_still.load(std::memory_order_acquire)) {
    if (std::chrono::steady_clock::now() > deadline) break;
    std::this_thread::sleep_for(1ms);
  }
  if (!stands_still.load(std::memory_order_acquire))
    spdlog::error("DPDK's interrupt thread does not stop");
}

}  // namespace

Eal::~Eal() {
  if (!alive_) return;
  ending = true;
  stop_interrupt_thread();
  rte_eal_cleanup();
  ending = false;
}

// ── devices that are not there ──────────────────────────────────────────────────────────────────

bool is_for_dpdk(std::string_view kernel_driver) {
  return kernel_driver.starts_with("vfio") || kernel_driver.starts_with("uio") ||
         kernel_driver.starts_with("igb_uio");
}

std::string why_no_device(const std::string& address, const std::optional<std::string>& bound_to,
                          const std::vector<std::string>& arguments,
                          const std::vector<std::string>& errors) {
  if (!bound_to) return "no such PCI device (lspci -D)";
  if (bound_to->empty())
    return fmt::format("it is bound to no driver (dpdk-devbind.py --bind=vfio-pci {})", address);
  if (has_option(arguments, {"--no-pci"}))
    return "dataplane.eal has --no-pci, so that DPDK looks for no PCI device";

  // The errors about a device come before the line that gives it up.
  const std::string given_up = "Requested device " + address;
  const auto last = std::find_if(errors.begin(), errors.end(), [&given_up](const auto& error) {
    return error.find(given_up) != std::string::npos;
  });
  std::vector<std::string> reasons;
  if (last != errors.end()) {
    auto first = last;
    while (first != errors.begin() && (first - 1)->find("Requested device ") == std::string::npos)
      --first;
    for (; first != last; ++first) {
      std::string_view text = *first;
      if (text.starts_with("EAL: ")) text.remove_prefix(5);
      while (text.starts_with(' ')) text.remove_prefix(1);
      if (std::find(reasons.begin(), reasons.end(), text) == reasons.end())
        reasons.emplace_back(text);
    }
    if (reasons.empty()) reasons.push_back("DPDK's driver has refused it");
  }
  const bool has_reason = !reasons.empty();
  std::string all = fmt::format("{}", fmt::join(reasons, "; "));
  if (all.find("IOVA mode") != std::string::npos)
    all += " (without an IOMMU: huge pages, and no --no-huge or --iova-mode=va in dataplane.eal)";
  // net_virtio tries what is the kernel's, and does not say that it is.
  if (has_reason && !bound_to->starts_with("virtio")) return all;
  if (is_for_dpdk(*bound_to))
    return fmt::format(
        "DPDK has no driver for it (lspci -nn -s {}; Debian's package with all of "
        "them is librte-meta-all)",
        address);
  return fmt::format("it is bound to the kernel's {} (dpdk-devbind.py --bind=vfio-pci {})",
                     *bound_to, address);
}

std::optional<std::string> driver_of(const std::string& address) {
  const std::string device = "/sys/bus/pci/devices/" + address;
  if (access(device.c_str(), F_OK) != 0) return std::nullopt;
  char target[512];
  const ssize_t size = readlink((device + "/driver").c_str(), target, sizeof target);
  const std::string_view path(target, size < 0 ? 0 : static_cast<std::size_t>(size));
  return std::string(path.substr(path.rfind('/') + 1));
}

std::string why_no_device(const std::string& address) {
  return why_no_device(address, driver_of(address), start_arguments, start_complaints);
}

}  // namespace lsn::runtime

// DPDK's memif takes the descriptor of the packets' memory for its own: when a zero-copy link has
// come up it closes it (22.11, drivers/net/memif/rte_eth_memif.c, memif_connect()). It was EAL's.
// The next link then sends its peer the file that has that number by then, and closes that as well:
// lsnd's event loop, say. So this definition takes the place of EAL's, for drivers too
// (CMakeLists.txt exports it): each caller gets a descriptor of its own.
extern "C" int rte_memseg_get_fd(const rte_memseg* segment) {
  rte_mcfg_mem_read_lock();
  const int shared = rte_memseg_get_fd_thread_unsafe(segment);
  const int own = shared < 0 ? shared : fcntl(shared, F_DUPFD_CLOEXEC, 0);
  if (own < 0 && shared >= 0) rte_errno = errno;
  rte_mcfg_mem_read_unlock();
  return own;
}

// DPDK's net_af_packet joins its sockets into a fanout group that has the kernel put IP fragments
// together before it deals them out (22.11, drivers/net/af_packet/rte_eth_af_packet.c,
// PACKET_FANOUT_FLAG_DEFRAG, always). A large datagram put together fits neither a frame of the
// ring nor a buffer, whose sizes are 16 bits, and is cut off. lsnd forwards fragments as they are,
// whichever worker they come to, so this definition takes the place of the C library's, for drivers
// too (CMakeLists.txt exports it), and leaves out that flag.
extern "C" int setsockopt(int socket, int level, int option, const void* value,
                          socklen_t size) noexcept {
  std::uint32_t fanout = 0;  // the group; the mode in the upper half
  if (level == SOL_PACKET && option == PACKET_FANOUT && size == sizeof fanout) {
    std::memcpy(&fanout, value, sizeof fanout);
    fanout &= ~(std::uint32_t{PACKET_FANOUT_FLAG_DEFRAG} << 16);
    value = &fanout;
  }
  return static_cast<int>(syscall(SYS_setsockopt, socket, level, option, value, size));
}
