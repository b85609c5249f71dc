#include "lsn/runtime/telemetry.hpp"

#include <fmt/format.h>
#include <rte_telemetry.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "lsn/shared/counter_list.hpp"

namespace lsn::runtime {
namespace {

using shared::Counters;

/// The callbacks' data; copied at start.
struct Source {
  std::vector<control::WorkerStatus> workers;
  std::vector<std::string> interfaces;
};

// rte_telemetry has no user data for its callbacks and cannot unregister them. The lock is held
// while a callback reads: a Telemetry object does not go away under it. Workers never take it.
std::mutex source_mutex;
std::optional<Source> source;

/// A value on its way into another one; freed unless it got there.
class Container {
 public:
  Container() : data_(rte_tel_data_alloc()) {
    if (data_) rte_tel_data_start_dict(data_.get());
  }
  [[nodiscard]] bool valid() const { return data_ != nullptr; }
  [[nodiscard]] rte_tel_data* get() const { return data_.get(); }

  int into_dict(rte_tel_data* dict, const std::string& name) {
    const int result = rte_tel_data_add_dict_container(dict, name.c_str(), data_.get(), 0);
    if (result == 0) static_cast<void>(data_.release());
    return result;
  }

 private:
  struct Free {
    void operator()(rte_tel_data* data) const { rte_tel_data_free(data); }
  };
  std::unique_ptr<rte_tel_data, Free> data_;
};

template <class Read>
std::uint64_t sum(const Source& from, const Read& read) {
  std::uint64_t total = 0;
  for (const control::WorkerStatus& worker : from.workers) total += read(*worker.counters);
  return total;
}

int add(rte_tel_data* dict, std::string_view name, std::uint64_t value) {
  return rte_tel_data_add_dict_u64(dict, std::string(name).c_str(), value);
}

/// A parameter that is a number below `end`.
std::optional<std::size_t> number_of(std::string_view parameter, std::size_t end) {
  std::size_t number = 0;
  const char* const behind = parameter.data() + parameter.size();
  const auto [last, error] = std::from_chars(parameter.data(), behind, number);
  if (error != std::errc{} || last != behind || number >= end) return std::nullopt;
  return number;
}

/// The counters of each protocol, in a dictionary of their own.
int add_protocols(rte_tel_data* dict, const Source& from) {
  for (std::size_t p = 0; p < shared::kProtocols; ++p) {
    Container container;
    if (!container.valid()) return -ENOMEM;
    for (const auto& counter : shared::protocol_counters())
      if (const int error =
              add(container.get(), counter.name,
                  sum(from, [&](const Counters& c) { return counter.read(c.protocols[p]); }));
          error != 0)
        return error;
    std::string name(shared::name_of(static_cast<shared::Protocol>(p)));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (const int error = container.into_dict(dict, name); error != 0) return error;
  }
  return 0;
}

int answer_stat(const Source& from, std::string_view, rte_tel_data* data) {
  rte_tel_data_start_dict(data);
  for (const auto& counter : shared::router_counters())
    if (const int error = add(data, counter.name, sum(from, counter.read)); error != 0)
      return error;
  return add_protocols(data, from);
}

int answer_drops(const Source& from, std::string_view, rte_tel_data* data) {
  rte_tel_data_start_dict(data);
  for (const shared::DropReasonText& text : shared::kDropReasonTexts)
    if (const int error = add(data, text.name,
                              sum(from, [&](const Counters& c) { return c.dropped(text.reason); }));
        error != 0)
      return error;
  return 0;
}

/// By number: a name may have characters that a key may not, and an array of dictionaries is more
/// than DPDK 22.11 knows. As many as an answer has room for (16 KB), from the one that the
/// parameter names.
int answer_interfaces(const Source& from, std::string_view parameter, rte_tel_data* data) {
  constexpr std::size_t kInAnswer = 64;
  std::size_t first = 0;
  if (!parameter.empty()) {
    const auto number = number_of(parameter, from.interfaces.size());
    if (!number) return -EINVAL;
    first = *number;
  }
  rte_tel_data_start_dict(data);
  const std::size_t end = std::min(from.interfaces.size(), first + kInAnswer);
  for (std::size_t i = first; i < end; ++i) {
    Container container;
    if (!container.valid()) return -ENOMEM;
    int error = rte_tel_data_add_dict_string(container.get(), "name", from.interfaces[i].c_str());
    for (const auto& counter : shared::interface_counters())
      if (error == 0)
        error = add(container.get(), counter.name,
                    sum(from, [&](const Counters& c) { return counter.read(c.interfaces[i]); }));
    if (error == 0) error = container.into_dict(data, std::to_string(i));
    if (error != 0) return error;
  }
  return 0;
}

/// Without a parameter all profiles together, with one the profile of that id.
int answer_ipsecalg(const Source& from, std::string_view parameter, rte_tel_data* data) {
  std::optional<std::size_t> profile;
  if (!parameter.empty()) {
    profile = number_of(parameter, shared::kCountedProfiles);
    if (!profile) return -EINVAL;
  }
  const auto sum_of = [&](const auto& read) {
    std::uint64_t total = 0;
    for (const control::WorkerStatus& worker : from.workers)
      total += read(profile ? worker.alg->profiles[*profile] : worker.alg->total);
    return total;
  };
  rte_tel_data_start_dict(data);
  for (const shared::AlgGaugeText& text : shared::kAlgGaugeTexts) {
    if (profile && text.gauge == shared::AlgGauge::kGates) continue;
    if (const int error = add(data, text.name, sum_of([&](const shared::AlgCounterSet& c) {
                                return c.of(text.gauge).get();
                              }));
        error != 0)
      return error;
  }
  for (const shared::AlgCounterText& text : shared::kAlgCounterTexts)
    if (const int error = add(data, text.name, sum_of([&](const shared::AlgCounterSet& c) {
                                return c.of(text.counter).get();
                              }));
        error != 0)
      return error;
  Container waited;
  if (!waited.valid()) return -ENOMEM;
  for (std::size_t i = 0; i <= shared::kWaitBounds.size(); ++i)
    if (const int error =
            add(waited.get(), shared::wait_bucket_name(i),
                sum_of([&](const shared::AlgCounterSet& c) { return c.waited[i].get(); }));
        error != 0)
      return error;
  return waited.into_dict(data, "waited");
}

/// Without a parameter the numbers of the workers, as DPDK's own lists do it.
int answer_workers(const Source& from, std::string_view parameter, rte_tel_data* data) {
  if (parameter.empty()) {
    rte_tel_data_start_array(data, RTE_TEL_INT_VAL);
    for (std::size_t i = 0; i < from.workers.size(); ++i)
      rte_tel_data_add_array_int(data, static_cast<int>(i));
    return 0;
  }
  const std::optional<std::size_t> number = number_of(parameter, from.workers.size());
  if (!number) return -EINVAL;

  const control::WorkerStatus& worker = from.workers[*number];
  rte_tel_data_start_dict(data);
  std::uint64_t sessions = 0;
  for (const shared::ProtocolCounters& protocol : worker.counters->protocols)
    sessions += protocol.sessions.get();
  std::uint64_t drops = 0;
  for (const shared::Counter& drop : worker.counters->drops) drops += drop.get();
  int result = add(data, "cpu", worker.cpu);
  const auto also = [&](std::string_view name, std::uint64_t value) {
    if (result == 0) result = add(data, name, value);
  };
  also("sessions", sessions);
  also("max_sessions", worker.capacity.sessions);
  also("drops", drops);
  for (const auto& counter : shared::router_counters())
    also(counter.name, counter.read(*worker.counters));
  for (const auto& counter : shared::worker_counters())
    also(counter.name, counter.read(*worker.counters));
  return result;
}

/// The callbacks of rte_telemetry, on a thread of its own.
template <int (*answer)(const Source&, std::string_view, rte_tel_data*)>
int callback(const char*, const char* parameters, rte_tel_data* data) {
  const std::lock_guard lock(source_mutex);
  if (!source) return -ENODEV;
  return answer(*source, parameters == nullptr ? "" : parameters, data);
}

struct TelemetryCommand {
  const char* name;
  telemetry_cb call;
  const char* help;
};

constexpr std::array kCommands{
    TelemetryCommand{
        "/lsn/stat", callback<answer_stat>,
        "Sessions and translated packets by protocol, and what the router did. No parameters"},
    TelemetryCommand{"/lsn/drops", callback<answer_drops>,
                     "Packets that were not forwarded, by reason. No parameters"},
    TelemetryCommand{"/lsn/interfaces", callback<answer_interfaces>,
                     "Packets and bytes of 64 interfaces, by number. Parameters: int first"},
    TelemetryCommand{"/lsn/workers", callback<answer_workers>,
                     "The workers, or the counters of one. Parameters: int worker"},
    TelemetryCommand{"/lsn/ipsecalg", callback<answer_ipsecalg>,
                     "Counters of the IPsec ALG. Parameters: int id of a profile (stat ipsecalg "
                     "--json tells it), or none"},
};

}  // namespace

std::expected<Telemetry, std::string> Telemetry::start(const control::Dataplane& dataplane,
                                                       std::vector<std::string> interfaces) {
  {
    Source read;
    for (unsigned shard = 0; shard < dataplane.workers(); ++shard)
      read.workers.push_back(dataplane.worker(shard));
    read.interfaces = std::move(interfaces);
    const std::lock_guard lock(source_mutex);
    source = std::move(read);
  }
  Telemetry telemetry;
  static bool registered = false;
  if (registered) return telemetry;
  for (const TelemetryCommand& command : kCommands)
    if (const int error = rte_telemetry_register_cmd(command.name, command.call, command.help);
        error != 0)
      return std::unexpected(fmt::format("telemetry: {}: {}", command.name, strerror(-error)));
  registered = true;
  return telemetry;
}

Telemetry::Telemetry(Telemetry&& other) noexcept : active_(std::exchange(other.active_, false)) {}

Telemetry::~Telemetry() {
  if (!active_) return;
  const std::lock_guard lock(source_mutex);
  source.reset();
}

}  // namespace lsn::runtime
