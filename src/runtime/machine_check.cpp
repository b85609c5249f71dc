#include "lsn/runtime/machine_check.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grp.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <new>
#include <optional>
#include <string_view>
#include <system_error>

#include "lsn/control/records/stream_socket.hpp"
#include "lsn/datapath/shard.hpp"
#include "lsn/runtime/table_memory.hpp"

namespace lsn::runtime {
namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

std::size_t megabytes(std::size_t bytes) {
  return (bytes + kMegabyte - 1) / kMegabyte;
}

/// Counts the memory that tables ask for, and maps it as cheaply as can be.
class CountingMemory final : public state::ZeroedMemory {
 public:
  [[nodiscard]] const TableNeed& need() const { return need_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (const std::size_t huge = TableMemory::huge_page_bytes(bytes); huge != 0)
      need_.huge += huge;
    else
      need_.small += bytes;
    return pages_.allocate(bytes, alignment);
  }
  void do_deallocate(void* address, std::size_t bytes, std::size_t alignment) override {
    pages_.deallocate(address, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  state::PageMemory pages_{state::Pages::kSmall};
  TableNeed need_;
};

/// The sum of "512" or "512,512", in MB.
std::size_t sum_of(std::string_view numbers) {
  std::size_t sum = 0;
  while (!numbers.empty()) {
    std::size_t number = 0;
    const auto [end, error] =
        std::from_chars(numbers.data(), numbers.data() + numbers.size(), number);
    if (error != std::errc{}) return 0;
    sum += number;
    numbers.remove_prefix(static_cast<std::size_t>(end - numbers.data()));
    if (!numbers.empty()) numbers.remove_prefix(1);
  }
  return sum;
}

/// Memory that the options name, with the number of the option that does.
struct GivenMemory {
  std::size_t megabytes = 0;
  std::size_t option = 0;
  std::string text;
};

std::optional<GivenMemory> given_memory(const std::vector<std::string>& options) {
  for (std::size_t i = 0; i < options.size(); ++i) {
    const std::string_view option = options[i];
    const bool has_next = i + 1 < options.size();
    for (const std::string_view name : {"-m", "--socket-mem"}) {
      if (option == name && has_next)
        return GivenMemory{sum_of(options[i + 1]), i + 1,
                           fmt::format("{} {}", name, options[i + 1])};
      if (!option.starts_with(name)) continue;
      std::string_view value = option.substr(name.size());
      if (value.starts_with('=')) value.remove_prefix(1);
      return GivenMemory{sum_of(value), i, std::string(option)};
    }
  }
  return std::nullopt;
}

/// The kernel's interface that a virtual device is made of: "" if it is not made of one.
std::string kernel_interface(std::string_view device) {
  const bool takes_one = device.starts_with("net_af_packet") || device.starts_with("net_af_xdp") ||
                         device.starts_with("net_pcap");
  constexpr std::string_view kArgument = ",iface=";
  const std::size_t at = takes_one ? device.find(kArgument) : std::string_view::npos;
  if (at == std::string_view::npos) return "";
  const std::string_view rest = device.substr(at + kArgument.size());
  return std::string(rest.substr(0, rest.find(',')));
}

template <class T>
bool contains(const std::vector<T>& all, const T& wanted) {
  return std::find(all.begin(), all.end(), wanted) != all.end();
}

void check_cpus(const control::Model& model, const Machine& machine, control::Findings& findings) {
  for (std::size_t i = 0; i < model.dataplane.workers.size(); ++i)
    if (const unsigned cpu = model.dataplane.workers[i]; !contains(machine.cpus, cpu))
      findings.report(
          fmt::format("dataplane.workers[{}]", i), "dataplane.workers", fmt::format("CPU {}", cpu),
          fmt::format("a CPU that this machine has for lsnd ({})", fmt::join(machine.cpus, ", ")));
}

void check_devices(const control::Model& model, const Machine& machine,
                   control::Findings& findings) {
  std::vector<std::string> seen, used;
  for (std::size_t i = 0; i < model.interfaces.size(); ++i) {
    const control::InterfaceConfig& interface = model.interfaces[i];
    if (contains(seen, interface.device)) continue;
    seen.push_back(interface.device);
    const auto report = [&](std::string_view given, const std::string& allowed) {
      findings.report(fmt::format("interfaces[{}].device", i),
                      fmt::format("interface {}: device", interface.name), given, allowed);
    };
    for (const std::string& pci : pci_devices(interface.device)) {
      const std::string address = pci.substr(0, pci.find(','));
      if (!contains(machine.pci_devices, address))
        report(fmt::format("\"{}\"", address), "a PCI device of this machine (lspci -D)");
    }
    ComposedDevice composed = decompose(interface.device);
    composed.members.push_back(composed.device);
    for (const std::string& member : composed.members) {
      const std::string name = kernel_interface(member);
      if (!name.empty() && !contains(machine.kernel_interfaces, name))
        report(fmt::format("kernel interface {}", name),
               fmt::format("one that this machine has ({})",
                           fmt::join(machine.kernel_interfaces, ", ")));
      else if (contains(used, name))
        report(fmt::format("kernel interface {} a second time", name),
               "each in one device: what it receives would come twice");
      if (!name.empty()) used.push_back(name);
    }
  }
}

void check_group(const control::Model& model, control::Findings& findings) {
  if (const std::string& group = model.control.group;
      !group.empty() && getgrnam(group.c_str()) == nullptr)
    findings.report("control.group", "control.group", group, "a group of this system");
}

void check_authorities(const control::Model& model, control::Findings& findings) {
  for (std::size_t i = 0; i < model.records.syslog.size(); ++i) {
    const control::RecordSyslogConfig& syslog = model.records.syslog[i];
    if (syslog.transport != control::SyslogTransport::kTls || syslog.ca_file.empty()) continue;
    if (const std::string why = control::authorities_problem({syslog.ca_file}); !why.empty())
      findings.report(fmt::format("records.syslog[{}].caFile", i), "records.syslog: caFile",
                      fmt::format("\"{}\" ({})", syslog.ca_file, why),
                      "a file with certificates (PEM) that lsnd can read on this machine");
  }
}

bool is_the_kernels(const control::InterfaceConfig& interface) {
  ComposedDevice composed = decompose(interface.device);
  composed.members.push_back(composed.device);
  return std::any_of(composed.members.begin(), composed.members.end(),
                     [](const auto& member) { return !kernel_interface(member).empty(); });
}

/// A device that is the kernel's as well lets it hear what comes in: with the address in the same
/// namespace it would answer by itself.
void check_kernel_interfaces(const control::Model& model, control::Findings& findings) {
  for (std::size_t i = 0; i < model.interfaces.size(); ++i) {
    const control::InterfaceConfig& of = model.interfaces[i];
    const auto report = [&](std::string_view given, const std::string& allowed) {
      findings.report(fmt::format("interfaces[{}].kernelNetns", i),
                      fmt::format("interface {}: kernelNetns", of.name), given, allowed);
    };
    if (of.kernel.empty()) continue;
    if (of.kernel_netns.empty()) {
      if (is_the_kernels(of))
        report("none", fmt::format("another namespace than that of the device \"{}\", whose "
                                   "packets the kernel hears, too",
                                   of.device));
    } else if (std::error_code error;
               !std::filesystem::exists("/run/netns/" + of.kernel_netns, error)) {
      report(fmt::format("\"{}\"", of.kernel_netns),
             "a network namespace of this machine (ip netns)");
    }
  }
}

/// If no device is the kernel's as well, the kernel's addresses do not matter.
bool shares_a_device_with_the_kernel(const control::Model& model) {
  return std::any_of(model.interfaces.begin(), model.interfaces.end(), is_the_kernels);
}

void check_addresses(const control::Model& model, const Machine& machine,
                     control::Findings& findings) {
  if (!shares_a_device_with_the_kernel(model)) return;
  const auto allowed = [](const Machine::KernelAddress& taken) {
    return fmt::format("an address that the kernel does not have as well; its {} has {}",
                       taken.interface, wire::to_string(taken.address));
  };
  for (std::size_t i = 0; i < model.interfaces.size(); ++i)
    for (const Machine::KernelAddress& taken : machine.addresses)
      if (taken.address == model.interfaces[i].address.address &&
          taken.interface != model.interfaces[i].kernel)  // of an lsnd that runs
        findings.report(fmt::format("interfaces[{}].address", i),
                        fmt::format("interface {}: address", model.interfaces[i].name),
                        wire::to_string(model.interfaces[i].address), allowed(taken));
  for (std::size_t p = 0; p < model.lsn.pool.size(); ++p)
    for (std::size_t n = 0; n < model.lsn.pool[p].lsnip.size(); ++n)
      for (const Machine::KernelAddress& taken : machine.addresses)
        if (model.lsn.pool[p].lsnip[n].contains(taken.address))
          findings.report(fmt::format("lsn.pool[{}].lsnip[{}]", p, n),
                          fmt::format("pool {}: lsnip", model.lsn.pool[p].name),
                          control::AddressRangeSyntax::format(model.lsn.pool[p].lsnip[n]),
                          allowed(taken));
}

void check_listening(const control::Model& model, const Machine& machine,
                     control::Findings& findings) {
  const auto listen = control::parse_endpoint(model.metrics.listen);
  if (!listen || listen->address.value == 0 || listen->address.value >> 24 == 127) return;
  std::vector<std::string> addresses;
  for (const Machine::KernelAddress& each : machine.addresses) {
    if (each.address == listen->address) return;
    addresses.push_back(wire::to_string(each.address));
  }
  findings.report("metrics.listen", "metrics: listen", model.metrics.listen,
                  fmt::format("an address that the kernel of this machine has ({}) or 0.0.0.0",
                              fmt::join(addresses, ", ")));
}

}  // namespace

void check_memory(const control::Model& model, control::Findings& findings) {
  const auto given = given_memory(model.dataplane.eal);
  if (!given || given->megabytes == 0) return;
  const Plan plan = make_plan(model);
  const bool no_huge = contains(model.dataplane.eal, std::string("--no-huge"));
  const auto pages = no_huge ? BufferPlan::Pages::kSmall : BufferPlan::Pages::kHuge;
  // Only a certain fault is reported: the pools alone do not fit. The amount asked for has room for
  // drivers.
  if (given->megabytes * kMegabyte >= plan.buffers.bare_bytes(plan.cpus.size(), pages)) return;
  findings.report(fmt::format("dataplane.eal[{}]", given->option), "dataplane.eal", given->text,
                  fmt::format("{} MB at least for the packet buffers of this configuration",
                              megabytes(plan.buffers.bytes(plan.cpus.size(), pages))));
}

void check_machine(const control::Model& model, const Machine& machine,
                   control::Findings& findings) {
  check_cpus(model, machine, findings);
  check_devices(model, machine, findings);
  check_addresses(model, machine, findings);
  check_kernel_interfaces(model, findings);
  check_group(model, findings);
  check_authorities(model, findings);
  check_listening(model, machine, findings);
}

TableNeed table_need(const Plan& plan) {
  CountingMemory memory;
  datapath::ShardConfig config;
  config.shards = static_cast<unsigned>(plan.cpus.size());
  config.max_sessions = plan.sessions_per_worker;
  config.max_fragments = plan.fragments_per_worker;
  config.alg = plan.alg_per_worker;
  config.devices = static_cast<std::uint16_t>(plan.ports.size());
  config.memory = &memory;
  config.now = state::Ticks{1};
  const datapath::Shard shard(config);
  return memory.need();
}

std::vector<std::string> describe_memory(const Plan& plan, const Machine& machine) {
  const std::size_t workers = plan.cpus.size();
  const std::size_t buffers = plan.buffers.bytes(workers, BufferPlan::Pages::kHuge);
  TableNeed tables;
  try {
    tables = table_need(plan);
  } catch (const std::bad_alloc&) {
    return {fmt::format("memory: this machine cannot have tables of {} sessions",
                        plan.sessions_per_worker * workers)};
  }
  const std::size_t in_all = buffers + workers * tables.huge;
  const auto pages_of = [](std::size_t bytes, unsigned shift) {
    return (bytes + (std::size_t{1} << shift) - 1) >> shift;
  };
  std::vector<std::string> lines{
      fmt::format("memory: {} MB for packet buffers, {} MB for tables of {} sessions, {} MB for "
                  "small tables, and 25 KB for each NAT address",
                  megabytes(buffers), megabytes(workers * tables.huge),
                  plan.sessions_per_worker * workers, megabytes(workers * tables.small)),
      // Pages of 1 GB are not shared between workers, nor with the buffers.
      fmt::format("huge pages: {} MB, which is {} pages of 2 MB, or {} of 1 GB; {} MB are free",
                  megabytes(in_all), pages_of(in_all, 21),
                  pages_of(buffers, 30) + workers * pages_of(tables.huge, 30),
                  machine.free_huge_page_bytes / kMegabyte)};
  if (machine.free_huge_page_bytes < buffers)
    lines.push_back("  too few for the packet buffers: lsnd would run without huge pages, slower");
  else if (machine.free_huge_page_bytes < in_all)
    lines.push_back("  too few for the tables: some would be in other pages, slower");
  return lines;
}

}  // namespace lsn::runtime
