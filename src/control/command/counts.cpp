#include "lsn/control/command/counts.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace lsn::control {
namespace {

using shared::AlgCounters;
using shared::AlgCounterSet;
using shared::Counter;
using shared::Counters;
using shared::DeviceCounters;
using shared::InterfaceCounters;
using shared::PacketsAndBytes;
using shared::ProtocolCounters;

/// If a counter began again in between, as a device's does if it was taken out, its value is the
/// count.
std::uint64_t difference(std::uint64_t now, std::uint64_t then) {
  return now < then ? now : now - then;
}

void subtract(Counter& from, const Counter& then) {
  from.set(difference(from.get(), then.get()));
}

void subtract(PacketsAndBytes& from, const PacketsAndBytes& then) {
  subtract(from.packets, then.packets);
  subtract(from.bytes, then.bytes);
}

void subtract(InterfaceCounters& from, const InterfaceCounters& then) {
  subtract(from.rx, then.rx);
  subtract(from.tx, then.tx);
  subtract(from.to_kernel, then.to_kernel);
  subtract(from.from_kernel, then.from_kernel);
}

void subtract(DeviceCounters& from, const DeviceCounters& then) {
  subtract(from.received, then.received);
  subtract(from.handed_over, then.handed_over);
  subtract(from.checked, then.checked);
  subtract(from.as_predicted, then.as_predicted);
}

void subtract(ProtocolCounters& from, const ProtocolCounters& then);
void subtract(AlgCounterSet& from, const AlgCounterSet& then);

void subtract_all(auto& from, const auto& then) {
  for (std::size_t i = 0; i < std::size(from); ++i) subtract(from[i], then[i]);
}

void subtract(ProtocolCounters& from, const ProtocolCounters& then) {
  subtract_all(from.translated, then.translated);
  subtract(from.hairpinned, then.hairpinned);
  subtract_all(from.icmp_errors, then.icmp_errors);
  subtract(from.created, then.created);
  subtract_all(from.ended, then.ended);
}

void subtract(Counters& from, const Counters& then) {
  subtract_all(from.drops, then.drops);
  subtract_all(from.interfaces, then.interfaces);
  subtract_all(from.devices, then.devices);
  subtract_all(from.protocols, then.protocols);
  subtract_all(from.by_address, then.by_address);
  subtract_all(from.bypassed, then.bypassed);
  for (Counter Counters::* const counter :
       {&Counters::consumed, &Counters::arp_requests_received, &Counters::arp_requests_sent,
        &Counters::arp_replies_received, &Counters::arp_replies_sent, &Counters::arp_not_copied,
        &Counters::echo_replies, &Counters::icmp_errors_sent, &Counters::icmp_errors_suppressed,
        &Counters::resets_sent, &Counters::fragments_received, &Counters::fragmented,
        &Counters::fragments_sent, &Counters::handoff_sent, &Counters::handoff_received,
        &Counters::polls, &Counters::idle_polls, &Counters::busy_cycles})
    subtract(from.*counter, then.*counter);
}

void subtract(AlgCounterSet& from, const AlgCounterSet& then) {
  subtract_all(from.counters, then.counters);
  subtract_all(from.waited, then.waited);
}

void subtract(AlgCounters& from, const AlgCounters& then) {
  subtract(from.total, then.total);
  subtract_all(from.profiles, then.profiles);
}

}  // namespace

void ClearedCounters::clear(Dataplane& dataplane, std::string by,
                            std::chrono::system_clock::time_point now) {
  workers_.clear();
  for (unsigned shard = 0; shard < dataplane.workers(); ++shard) {
    const WorkerStatus worker = dataplane.worker(shard);
    auto copy = std::make_unique<OfWorker>();
    copy->counters = *worker.counters;
    if (worker.alg != nullptr) copy->alg = *worker.alg;
    copy->events_lost = dataplane.alg_events(shard).lost();
    workers_.push_back(std::move(copy));
  }
  ports_ = dataplane.ports();
  at_ = fmt::format("{:%FT%TZ}", std::chrono::floor<std::chrono::seconds>(now));
  by_ = std::move(by);
}

std::vector<shared::PortStatus> ClearedCounters::since(std::vector<shared::PortStatus> ports) {
  for (std::size_t i = 0; i < std::min(ports.size(), ports_.size()); ++i)
    for (std::uint64_t shared::PortStatus::* const count :
         {&shared::PortStatus::rx_missed, &shared::PortStatus::rx_errors,
          &shared::PortStatus::rx_no_buffer, &shared::PortStatus::tx_errors,
          &shared::PortStatus::rx_packets, &shared::PortStatus::handed_over,
          &shared::PortStatus::checked, &shared::PortStatus::as_predicted,
          &shared::PortStatus::failed_seconds}) {
      // A device that was taken out and put in again counts from the beginning.
      if (ports[i].*count < ports_[i].*count) ports_[i].*count = 0;
      ports[i].*count -= ports_[i].*count;
    }
  return ports;
}

Counts::Counts(const Dataplane& dataplane, const ClearedCounters& cleared) {
  for (unsigned shard = 0; shard < dataplane.workers(); ++shard) {
    const WorkerStatus worker = dataplane.worker(shard);
    workers_.push_back({worker.counters, worker.alg});
    if (!cleared.is_set()) continue;
    const ClearedCounters::OfWorker& then = cleared.worker(shard);
    auto copy = std::make_unique<ClearedCounters::OfWorker>();
    copy->counters = *worker.counters;
    subtract(copy->counters, then.counters);
    if (worker.alg != nullptr) {
      copy->alg = *worker.alg;
      subtract(copy->alg, then.alg);
      workers_.back().alg = &copy->alg;
    }
    workers_.back().counters = &copy->counters;
    copies_.push_back(std::move(copy));
  }
}

}  // namespace lsn::control
