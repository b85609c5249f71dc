#include "lsn/runtime/worker.hpp"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include <rte_prefetch.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <ctime>
#include <new>
#include <span>
#include <thread>

#include "lsn/datapath/capture_tap.hpp"
#include "lsn/datapath/parse.hpp"
#include "lsn/datapath/path.hpp"

namespace lsn::runtime {
namespace {

/// Objects of each kind per poll that housekeeping may touch until a tick's are done: one million
/// sessions per second expiring is 10,000 per tick.
constexpr std::size_t kHousekeepBudget = 32;

/// Packets of which one is compared with what its device was told, on average, and how far from
/// that it may be: traffic that comes in regular rounds must not be looked at always at the same
/// place.
constexpr std::uint32_t kCheckInterval = 1024, kCheckJitter = 256;

/// Between two lines about tables that take long to make.
constexpr std::chrono::seconds kPatience{1};

/// With powerSave: polls without work before the first nap, and how long naps grow. The longest one
/// bounds the wait of a packet for a worker that sleeps.
constexpr std::uint32_t kIdlePollsBeforeNap = 512;
constexpr std::uint32_t kIdlePollsPerNapStep = 64;
constexpr long kShortestNapNs = 10'000;
constexpr long kLongestNapNs = 500'000;

}  // namespace

Worker::Worker(WorkerConfig config)
    : config_(std::move(config)),
      session_memory_(config_.huge_pages, TableMemory::Touch::kAtOnce, &giga_pages_),
      mapping_memory_(
          config_.huge_pages,
          config_.mappings ? TableMemory::Touch::kAtOnce : TableMemory::Touch::kWhenUsed,
          &giga_pages_),
      memory_(config_.huge_pages, TableMemory::Touch::kWhenUsed, &giga_pages_) {
  for (std::size_t device = 0; device < config_.ports.size(); ++device) {
    Port& port = *config_.ports[device];
    tx_queues_.push_back(port.tx_queue(config_.shard.id));
    if (port.wants_idle_sends()) idle_senders_.push_back(static_cast<std::uint16_t>(device));
  }
}

Worker::~Worker() = default;

std::expected<void, std::string> Worker::start() {
  state_.store(State::kBuilding, std::memory_order_release);
  if (const int result = rte_eal_remote_launch(entry, this, config_.lcore); result != 0) {
    state_.store(State::kIdle, std::memory_order_relaxed);
    return std::unexpected(fmt::format("worker {} does not start on lcore {}: {}", config_.shard.id,
                                       config_.lcore, rte_strerror(-result)));
  }
  using std::chrono::steady_clock;
  auto next_word = steady_clock::now() + kPatience;
  while (state_.load(std::memory_order_acquire) == State::kBuilding) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (steady_clock::now() < next_word) continue;
    next_word += kPatience;
    spdlog::info("worker {}: making tables, {} MB so far", config_.shard.id,
                 (session_memory_.touched() + mapping_memory_.touched()) >> 20);
  }
  if (state_.load(std::memory_order_acquire) == State::kFailed) {
    state_.store(State::kStopped, std::memory_order_relaxed);
    return std::unexpected(fmt::format("worker {}: {}", config_.shard.id, error_));
  }
  return {};
}

int Worker::entry(void* worker) {
  static_cast<Worker*>(worker)->run();
  return 0;
}

void Worker::run() {
  // Acquires the data that start() has released (C++ memory model).
  static_cast<void>(state_.load(std::memory_order_acquire));
  try {
    build();
  } catch (const std::bad_alloc&) {
    error_ = fmt::format("no memory for tables of {} sessions", config_.shard.max_sessions);
    state_.store(State::kFailed, std::memory_order_release);
    return;
  }
  state_.store(State::kRunning, std::memory_order_release);
  run_loop();
  datapath::release_packets(own_shard());
  state_.store(State::kStopped, std::memory_order_release);
}

void Worker::build() {
  datapath::ShardConfig config = config_.shard;
  config.memory = &memory_;
  config.session_memory = &session_memory_;
  config.mapping_memory = &mapping_memory_;
  config.now = config_.clock->now();
  shard_ = std::make_unique<datapath::Shard>(config);
  for (std::size_t device = 0; device < config_.ingress.size(); ++device)
    std::copy(config_.ingress[device].begin(), config_.ingress[device].end(),
              shard_->ingress[device].begin());
  shard_->clocks = [] { return rte_rdtsc(); };
  capacity_ = datapath::capacity_of(*shard_);
  // Naps are shorter than the kernel's usual slack.
  if (config_.power_save) prctl(PR_SET_TIMERSLACK, 1'000UL);
}

datapath::Shard& Worker::own_shard() const {
  assert(rte_lcore_id() == config_.lcore && "a shard belongs to its worker's thread");
  return *shard_;
}

void Worker::run_loop() {
  datapath::Shard& shard = own_shard();
  const unsigned reader = shard.id;
  rte_rcu_qsbr_thread_register(config_.quiescence, reader);
  rte_rcu_qsbr_thread_online(config_.quiescence, reader);

  std::uint32_t idle_polls = 0;
  std::uint64_t last = rte_rdtsc(), took = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    const state::Ticks before = shard.now;
    shard.now = config_.clock->now();
    if (shard.now != before && !idle_senders_.empty()) send_idle();
    // Between two bursts the worker holds nothing of a generation.
    rte_rcu_qsbr_quiescent(config_.quiescence, reader);

    bool worked = mailbox_.work(shard);
    if (shard.generation != nullptr) [[likely]] {
      bool full = false;
      bool received = poll_queues(shard, full);
      received |= poll_rings(shard, full);
      if (config_.kernel != nullptr) received |= poll_kernel(shard);
      using enum datapath::Overload::Poll;
      shard.overload.polled(full ? kFull : received ? kPartial : kEmpty, took);
      worked |= received;
      datapath::housekeep(shard, kHousekeepBudget);
      send(shard);
    }

    const std::uint64_t now = rte_rdtsc();
    shard.counters.polls.add();
    took = now - last;
    if (worked) {
      shard.counters.busy_cycles.add(took);
      idle_polls = 0;
    } else {
      shard.counters.idle_polls.add();
      ++idle_polls;
      if (config_.power_save && idle_polls > kIdlePollsBeforeNap)
        nap(idle_polls);
      else
        rte_pause();
    }
    last = now;
  }

  rte_rcu_qsbr_thread_offline(config_.quiescence, reader);
  rte_rcu_qsbr_thread_unregister(config_.quiescence, reader);
}

bool Worker::poll_queues(datapath::Shard& shard, bool& full) {
  std::array<rte_mbuf*, datapath::kBurst> packets;
  bool received = false;
  for (const WorkerConfig::Queue& queue : config_.queues) {
    const Port& port = *config_.ports[queue.device];
    if (!port.serves()) [[unlikely]]
      continue;
    const std::uint16_t n =
        rte_eth_rx_burst(port.id(), queue.queue, packets.data(), datapath::kBurst);
    if (n == 0) continue;
    received = true;
    full |= n == datapath::kBurst;
    // All lines of all buffers come from another core: read one after the other they are most of a
    // packet's cost (360 clocks instead of 160).
    if (port.leaves_buffers_cold())
      for (unsigned i = 0; i < n; ++i) rte_prefetch0(packets[i]);
    shared::DeviceCounters& counters = shard.counters.devices[queue.device];
    counters.received.add(n);
    if (until_check_ < n) [[unlikely]] {
      until_check_ = kCheckInterval - kCheckJitter / 2 +
                     static_cast<std::uint32_t>(rte_rdtsc() % kCheckJitter);
      check_distribution(shard, queue.device, *packets[0]);
    }
    until_check_ -= n;
    const std::uint64_t misplaced = shard.misplaced;
    datapath::process_received(shard, queue.device, {packets.data(), n});
    if (shard.misplaced != misplaced) counters.handed_over.add(shard.misplaced - misplaced);
    send(shard);
  }
  return received;
}

void Worker::check_distribution(datapath::Shard& shard, std::uint16_t device,
                                const rte_mbuf& frame) {
  const auto by = config_.ports[device]->distributes_by();
  if (!by) return;
  const auto addresses = datapath::addresses_of_frame(shard, device, frame);
  if (!addresses ||
      (addresses->side == shared::Side::kInside) != (*by == shared::HashedAddress::kSource))
    return;
  const shared::Generation& generation = *shard.generation;
  const shared::AddressClasses& classes = generation.maps.front()->classes();
  const bool by_source = *by == shared::HashedAddress::kSource;
  const unsigned index = classes.of(by_source ? addresses->source : addresses->destination);
  const shared::ShardId owner = generation.owner_of_class(*by, index);
  const bool hash_fits =
      (frame.ol_flags & RTE_MBUF_F_RX_RSS_HASH) == 0 || frame.hash.rss % classes.count() == index;
  // An owner that polls no queue of the device has its packets come to others.
  const bool way_fits = owner == shard.id || !config_.ports[device]->is_polled_by(owner);
  shared::DeviceCounters& counters = shard.counters.devices[device];
  counters.checked.add();
  if (hash_fits && way_fits) counters.as_predicted.add();
}

bool Worker::poll_rings(datapath::Shard& shard, bool& full) {
  std::array<rte_mbuf*, datapath::kBurst> packets;
  bool received = false;
  for (unsigned from = 0; from < shard.shards; ++from) {
    if (from == shard.id) continue;
    const unsigned n = config_.handoff->take(from, shard.id, packets);
    if (n == 0) continue;
    received = true;
    full |= n == datapath::kBurst;
    datapath::process_handoff(shard, {packets.data(), n});
    send(shard);
  }
  return received;
}

void Worker::send(datapath::Shard& shard) {
  for (std::size_t device = 0; device < shard.tx.size(); ++device)
    if (shard.tx[device].count != 0) flush_tx(shard, static_cast<std::uint16_t>(device));
  if (shard.shards > 1) flush_handoffs(shard);
  if (config_.kernel != nullptr) flush_kernel(shard);
  if (shard.capture != nullptr) [[unlikely]]
    shard.capture->end_burst(shard);
}

void Worker::flush_tx(datapath::Shard& shard, std::uint16_t device) {
  datapath::TxBuffer& buffer = shard.tx[device];
  const Port& port = *config_.ports[device];
  if (!port.carries()) [[unlikely]] {
    shard.counters.drop(shared::DropReason::kLinkDown, buffer.count);
    shard.recent_drops.note(shared::DropReason::kLinkDown, buffer.packets[0], shard.now);
    if (shard.capture != nullptr) [[unlikely]]
      for (std::uint32_t i = 0; i < buffer.count; ++i)
        shard.capture_drop(buffer.packets[i], shared::DropReason::kLinkDown);
    rte_pktmbuf_free_bulk(buffer.packets.data(), buffer.count);
    buffer.count = buffer.captured = 0;
    return;
  }
  if (!port.takes_segments()) {
    for (std::uint32_t i = 0; i < buffer.count;) {
      rte_mbuf* const packet = buffer.packets[i];
      if (packet->nb_segs == 1 || rte_pktmbuf_linearize(packet) == 0) {
        ++i;
        continue;
      }
      shard.drop(packet, shared::DropReason::kNoBuffer);
      std::copy(buffer.packets.begin() + i + 1, buffer.packets.begin() + buffer.count,
                buffer.packets.begin() + i);
      --buffer.count;
    }
  }

  const std::span<rte_mbuf* const> frames(buffer.packets.data(), buffer.count);
  if (shard.capture != nullptr) [[unlikely]]
    shard.capture->sending(shard, device, frames, buffer.captured);
  const Port::TxQueue& queue = tx_queues_[device];
  if (queue.lock != nullptr && !queue.lock->try_lock()) {  // with the next burst, then
    if (shard.capture != nullptr) [[unlikely]] {
      shard.capture->not_yet();
      buffer.captured = buffer.count;
    }
    return;
  }
  const std::uint16_t sent = rte_eth_tx_burst(port.id(), queue.queue, buffer.packets.data(),
                                              static_cast<std::uint16_t>(buffer.count));
  if (queue.lock != nullptr) queue.lock->unlock();
  if (shard.capture != nullptr) [[unlikely]]
    shard.capture->sent(shard, frames, sent, shared::DropReason::kTxFull);
  if (sent < buffer.count) {
    shard.counters.drop(shared::DropReason::kTxFull, buffer.count - sent);
    shard.recent_drops.note(shared::DropReason::kTxFull, buffer.packets[sent], shard.now);
    rte_pktmbuf_free_bulk(buffer.packets.data() + sent, buffer.count - sent);
  }
  buffer.count = buffer.captured = 0;
}

void Worker::send_idle() {
  for (const std::uint16_t device : idle_senders_) {
    const Port::TxQueue& queue = tx_queues_[device];
    if (!config_.ports[device]->serves()) continue;
    if (queue.lock != nullptr && !queue.lock->try_lock()) continue;
    rte_eth_tx_burst(config_.ports[device]->id(), queue.queue, nullptr, 0);
    if (queue.lock != nullptr) queue.lock->unlock();
  }
}

void Worker::flush_handoffs(datapath::Shard& shard) {
  for (unsigned to = 0; to < shard.shards; ++to) {
    datapath::HandoffBuffer& buffer = shard.handoff_buffers[to];
    if (buffer.count == 0) continue;
    const std::span<rte_mbuf* const> frames(buffer.packets.data(), buffer.count);
    if (shard.capture != nullptr) [[unlikely]]
      shard.capture->handing_off(shard, frames);
    const unsigned taken = config_.handoff->put(shard.id, to, frames);
    if (shard.capture != nullptr) [[unlikely]]
      shard.capture->handed_off(shard, frames, taken);
    if (taken < buffer.count) {
      shard.counters.drop(shared::DropReason::kHandoffFull, buffer.count - taken);
      shard.recent_drops.note(shared::DropReason::kHandoffFull, buffer.packets[taken], shard.now);
      rte_pktmbuf_free_bulk(buffer.packets.data() + taken, buffer.count - taken);
    }
    buffer.count = 0;
  }
}

void Worker::flush_kernel(datapath::Shard& shard) {
  for (std::size_t c = 0; c < shard.kernel.size(); ++c) {
    datapath::KernelBuffer& buffer = shard.kernel[c];
    if (buffer.count == 0) continue;
    const unsigned taken = config_.kernel->give(shard.id, c, {buffer.packets.data(), buffer.count});
    for (unsigned i = taken; i < buffer.count; ++i)
      shard.drop(buffer.packets[i], shared::DropReason::kKernelFull);
    buffer.count = 0;
  }
}

bool Worker::poll_kernel(datapath::Shard& shard) {
  std::array<rte_mbuf*, datapath::kBurst> packets;
  const unsigned back = config_.kernel->take_back(shard.id, packets);
  datapath::take_back(shard, {packets.data(), back});
  const unsigned frames = config_.kernel->take(shard.id, packets);
  datapath::send_from_kernel(shard, {packets.data(), frames});
  return back + frames != 0;
}

void Worker::nap(std::uint32_t idle_polls) {
  const long steps = (idle_polls - kIdlePollsBeforeNap) / kIdlePollsPerNapStep;
  long longest = kLongestNapNs;
  // A burst at line rate that begins now must find room until the worker wakes: half of a queue,
  // and the rest for a kernel that is late.
  for (const WorkerConfig::Queue& queue : config_.queues)
    if (const auto fill = config_.ports[queue.device]->fill_time(); fill.count() != 0)
      longest = std::min(longest, fill.count() / 2);
  const timespec nap{0, std::min(kShortestNapNs * (steps + 1), longest)};
  // A sleeping worker must not keep a generation from being freed.
  rte_rcu_qsbr_thread_offline(config_.quiescence, config_.shard.id);
  clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
  rte_rcu_qsbr_thread_online(config_.quiescence, config_.shard.id);
}

}  // namespace lsn::runtime
