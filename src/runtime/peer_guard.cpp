#include "lsn/runtime/peer_guard.hpp"

#include <dlfcn.h>
#include <rte_alarm.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_version.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <future>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "lsn/runtime/port.hpp"

// The driver's own name of a port: ethdev exports it, its public headers do not declare it.
struct rte_eth_dev;
extern "C" rte_eth_dev* rte_eth_dev_get_by_name(const char* name);

namespace lsn::runtime::peer_guard {
namespace {

constexpr std::chrono::microseconds kBetweenLooks{50};
/// Microseconds: EAL's interrupt thread has made a round.
constexpr std::uint64_t kNextRound = 1000;

struct Guarded {
  Port* port;
  const rte_eth_dev* device;
};

/// The driver's data of a connection's interrupt (DPDK 22.11, drivers/net/memif/memif_socket.h).
struct ControlChannel {
  void* handle;
  void* messages[2];
  void* socket;
  const rte_eth_dev* device;
};

/// The driver's record of a queue, and a ring in the memory that it shares with its peer (DPDK
/// 22.11, drivers/net/memif/rte_eth_memif.h and memif.h).
struct MemifQueue {
  rte_mempool* pool;
  void* internals;
  std::uint32_t type;
  std::uint16_t region;
  std::uint16_t port;
  std::uint32_t ring_offset;
  std::uint16_t last_head;
  std::uint16_t last_tail;
  rte_mbuf** buffers;
  std::uint64_t packets;
  std::uint64_t bytes;
  void* interrupt;
  std::uint8_t log2_ring_size;
};
static_assert(offsetof(MemifQueue, buffers) == 32 && offsetof(MemifQueue, log2_ring_size) == 64);

struct MemifRing {
  std::uint32_t cookie;
  std::uint16_t flags;
  std::uint16_t head;
};
constexpr std::uint32_t kMemifCookie = 0x3E31F20;

struct MemifRegion {
  std::uint8_t* address;
};

/// ethdev's own record of a port (DPDK 22.11, lib/ethdev/ethdev_driver.h): six functions, then
/// these.
struct EthDevice {
  void* functions[6];
  void* data;
  MemifRegion** regions;  ///< process_private begins with them
};

/// The layouts above are those of this release.
bool knows_driver() {
  return std::string_view(rte_version()).starts_with("DPDK 22.11");
}

/// Of a link with zero-copy: the packets that the driver has put into a queue's ring and not got
/// back. It forgets them when the link goes, and makes a new array for the next one.
void take_back(MemifQueue* queue, std::uint16_t port, const MemifRegion& region) {
  constexpr unsigned kLargestRing = 14;
  if (queue == nullptr || queue->port != port || queue->buffers == nullptr ||
      queue->log2_ring_size > kLargestRing)
    return;
  const auto* ring = reinterpret_cast<const MemifRing*>(region.address + queue->ring_offset);
  const auto size = static_cast<std::uint16_t>(1U << queue->log2_ring_size);
  const auto count = static_cast<std::uint16_t>(ring->head - queue->last_tail);
  if (ring->cookie == kMemifCookie && count <= size)
    for (std::uint16_t i = 0; i < count; ++i)
      rte_pktmbuf_free_seg(queue->buffers[(queue->last_tail + i) & (size - 1)]);
  rte_free(std::exchange(queue->buffers, nullptr));
}

void take_packets_back(const Port& port, const rte_eth_dev* device) {
  if (!port.lends_buffers() || !knows_driver()) return;
  const MemifRegion* const region = reinterpret_cast<const EthDevice*>(device)->regions[0];
  if (region == nullptr || region->address == nullptr) return;
  const struct rte_eth_fp_ops& fast = rte_eth_fp_ops[port.id()];
  for (unsigned q = 0; q < port.queues().rx_queues; ++q)
    take_back(static_cast<MemifQueue*>(fast.rxq.data[q]), port.id(), *region);
  for (unsigned q = 0; q < port.tx_queues(); ++q)
    take_back(static_cast<MemifQueue*>(fast.txq.data[q]), port.id(), *region);
}

std::mutex mutex;
std::vector<Guarded> guarded;
std::shared_ptr<rte_rcu_qsbr> workers;

/// Whether the code at an address is the driver's.
bool is_of_driver(const void* code) {
  Dl_info info{};
  return dladdr(code, &info) != 0 && info.dli_fname != nullptr &&
         std::string_view(info.dli_fname).find("librte_net_memif") != std::string_view::npos;
}

template <class Function>
Function next_definition(Function /*mine*/, const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

bool link_is_up(const Port& port) {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(port.id(), &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

/// The driver is about to free a link's memory. It has marked the link as down already.
void before_driver_frees(const ControlChannel& channel) {
  std::shared_ptr<rte_rcu_qsbr> readers;
  const Port* ends = nullptr;
  bool served = false;
  {
    const std::lock_guard lock(mutex);
    const auto known = std::find_if(guarded.begin(), guarded.end(), [&channel](const Guarded& g) {
      return g.device == channel.device;
    });
    if (known != guarded.end()) ends = known->port;
    for (const Guarded& each : guarded) {
      // If the device is unknown, each guarded port with its link down counts.
      if (known != guarded.end() ? each.device != channel.device : link_is_up(*each.port)) continue;
      served |= each.port->serves();
      each.port->peer_ended();
    }
    readers = workers;
  }
  if (served && readers != nullptr) {
    const std::uint64_t token = rte_rcu_qsbr_start(readers.get());
    while (rte_rcu_qsbr_check(readers.get(), token, false) != 1)
      std::this_thread::sleep_for(kBetweenLooks);
  }
  if (ends != nullptr) take_packets_back(*ends, channel.device);
}

}  // namespace

void set_workers(std::shared_ptr<rte_rcu_qsbr> quiescence) {
  const std::lock_guard lock(mutex);
  workers = std::move(quiescence);
}

void guard(Port& port) {
  const std::lock_guard lock(mutex);
  char name[RTE_ETH_NAME_MAX_LEN] = {};
  rte_eth_dev_get_name_by_port(port.id(), name);
  guarded.push_back({&port, rte_eth_dev_get_by_name(name)});
}

void forget(Port& port) {
  const std::lock_guard lock(mutex);
  std::erase_if(guarded, [&port](const Guarded& each) { return each.port == &port; });
}

bool admit(Port& port) {
  const std::lock_guard lock(mutex);
  if (!link_is_up(port)) return false;
  port.serve();
  return true;
}

bool on_interrupt_thread(std::function<void()> what, std::chrono::milliseconds patience) {
  struct Call {
    std::function<void()> what;
    std::promise<void> done;
    std::atomic<bool> given{false};  ///< EAL's lock hands it over; this says so without EAL
  };
  auto call = std::make_unique<Call>();
  call->what = std::move(what);
  const std::future<void> done = call->done.get_future();
  static constexpr auto kAfter = [](void* given) {
    const std::unique_ptr<Call> own(static_cast<Call*>(given));
    own->done.set_value();
  };
  const auto run = [](void* given) {
    static_cast<void>(static_cast<Call*>(given)->given.load(std::memory_order_acquire));
    static_cast<Call*>(given)->what();
    // The thread may still have events for descriptors that have been closed just now: their
    // numbers may be used again only after these events, or the events would be taken for those of
    // the numbers' next owners.
    if (rte_eal_alarm_set(kNextRound, kAfter, given) != 0) kAfter(given);
  };
  call->given.store(true, std::memory_order_release);
  if (rte_eal_alarm_set(1, run, call.get()) != 0) return false;
  static_cast<void>(call.release());
  return done.wait_for(patience) == std::future_status::ready;
}

}  // namespace lsn::runtime::peer_guard

extern "C" int rte_intr_callback_unregister(const rte_intr_handle* handle,
                                            rte_intr_callback_fn callback, void* argument) {
  using namespace lsn::runtime::peer_guard;
  if (is_of_driver(__builtin_return_address(0)))
    before_driver_frees(*static_cast<const ControlChannel*>(argument));
  static const auto of_eal =
      next_definition(&rte_intr_callback_unregister, "rte_intr_callback_unregister");
  return of_eal(handle, callback, argument);
}

// If net_memif cannot greet a client, because it has connected and ended, it frees the connection
// and leaves it among EAL's interrupts, where the closed descriptor ends the process (DPDK 22.11,
// memif_listener_handler()). So the driver is not told: it hears of the end at once from recvmsg(),
// and handles that correctly.
extern "C" ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  using namespace lsn::runtime::peer_guard;
  static const auto of_libc = next_definition(&sendmsg, "sendmsg");
  const ssize_t sent = of_libc(fd, message, flags | MSG_NOSIGNAL);
  if (sent >= 0 || (errno != EPIPE && errno != ECONNRESET) ||
      !is_of_driver(__builtin_return_address(0)))
    return sent;
  ssize_t all = 0;
  for (std::size_t i = 0; i < message->msg_iovlen; ++i)
    all += static_cast<ssize_t>(message->msg_iov[i].iov_len);
  return all;
}

// An event that was meant for a descriptor's former use (eal_intr_process_interrupts() handles
// several at a time) would have net_memif wait here for as long as its peer likes, and EAL's
// interrupt thread with it. Instead it gives up the link.
extern "C" ssize_t recvmsg(int fd, msghdr* message, int flags) {
  using namespace lsn::runtime::peer_guard;
  static const auto of_libc = next_definition(&recvmsg, "recvmsg");
  const bool may_wait = !is_of_driver(__builtin_return_address(0));
  return of_libc(fd, message, may_wait ? flags : flags | MSG_DONTWAIT);
}
