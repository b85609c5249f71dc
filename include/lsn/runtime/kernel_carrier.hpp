// The thread of the kernel path: it carries packets between the workers and the kernel interfaces
// (kernel_tap.hpp), so that no worker makes a system call.
//
// A ring for each class leads from each worker to the thread; it takes the routing protocols'
// first, and others only while there are none of these. It writes each to its interface, notes
// whether the kernel took it, and sends it back through another ring: its worker counts and frees
// it. What the kernel sends it reads into buffers of a pool of its own and gives to one worker,
// always the same one for an interface. While that worker's ring is full, or all buffers are on
// their way, the frames wait in the kernel, which counts those that it drops.
//
// The thread takes from that pool and gives nothing to any: a thread that the kernel may put aside
// in the middle of an operation on a pool would hold up the workers.
//
// An interface that somebody deletes is made again, tried once a second, as is one whose network
// namespace is deleted and made anew; until then what is for it is dropped as refused. Its carrier
// follows the device's link.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "lsn/runtime/buffers.hpp"
#include "lsn/runtime/kernel_tap.hpp"
#include "lsn/runtime/packet_ring.hpp"
#include "lsn/runtime/plan.hpp"
#include "lsn/runtime/port.hpp"
#include "lsn/shared/kernel_class.hpp"
#include "lsn/wire/ethernet.hpp"

namespace lsn::runtime {

class KernelCarrier {
 public:
  /// Slots of each ring, by class: more than a bucket of the default rates holds.
  static constexpr std::array<std::uint32_t, shared::kKernelClasses> kSlots{512, 256, 128};
  static constexpr std::uint32_t kFromKernelSlots = 512;
  static constexpr std::uint32_t kBurst = 32;
  /// Packets of a worker that are on their way, at most.
  static constexpr std::uint32_t kInFlight = 2 * (kSlots[0] + kSlots[1] + kSlots[2]);
  /// Buffers of frames that the kernel sends, beside those that devices and workers' caches keep
  /// when they have been sent.
  static constexpr std::uint32_t kFrames = 2047;
  /// Of the pool: what a worker keeps is half as many more.
  static constexpr std::uint32_t kCached = 32;
  /// The worker that sends what the kernel sends by an interface.
  [[nodiscard]] static constexpr std::size_t worker_of(shared::InterfaceId interface,
                                                       std::size_t workers) {
    return interface % workers;
  }
  /// Memory of a worker's rings.
  static constexpr std::size_t kRingBytes =
      (kInFlight + kFromKernelSlots) * sizeof(void*) + 5 * 512;
  /// Bytes of a frame from an interface of that MTU: one that is longer is seen to be so.
  [[nodiscard]] static constexpr std::uint32_t room_for(std::uint16_t mtu) { return mtu + 64u; }

  /// KernelTap::make(), or what a test makes instead.
  using MakeTap = std::function<std::expected<KernelTap, std::string>(const KernelPlan&,
                                                                      const wire::MacAddress&)>;
  /// Makes the interfaces and the rings, and begins. `ports`: by device; they outlive it. `nodes`:
  /// of the workers. Error: one line.
  [[nodiscard]] static std::expected<std::unique_ptr<KernelCarrier>, std::string> start(
      const Plan& plan, std::vector<const Port*> ports, const std::vector<int>& nodes,
      MakeTap make_tap = KernelTap::make);
  ~KernelCarrier();
  KernelCarrier(const KernelCarrier&) = delete;
  KernelCarrier& operator=(const KernelCarrier&) = delete;

  // ── a worker ──────────────────────────────────────────────────────────────────────────────────

  /// How many of the packets were taken, the first ones.
  [[nodiscard]] unsigned give(unsigned worker, std::size_t of_class,
                              std::span<rte_mbuf* const> packets) {
    return lanes_[worker].to_kernel[of_class].put(packets);
  }
  /// Packets that come back, with their fates (datapath::KernelFate): how many.
  [[nodiscard]] unsigned take_back(unsigned worker, std::span<rte_mbuf*> packets) {
    return lanes_[worker].back.take(packets);
  }
  /// Frames that the kernel sends, with their interfaces: how many.
  [[nodiscard]] unsigned take(unsigned worker, std::span<rte_mbuf*> frames) {
    return lanes_[worker].from_kernel.take(frames);
  }

  // ── control thread ────────────────────────────────────────────────────────────────────────────

  /// All workers have stopped: ends the thread, takes the interfaces away, frees all packets.
  void stop();
  /// Of an interface; nothing: it has no kernel interface.
  [[nodiscard]] std::vector<std::optional<shared::KernelStatus>> status(
      std::size_t interfaces) const;

 private:
  using Clock = std::chrono::steady_clock;

  /// The rings between a worker and the thread.
  struct Lane {
    std::array<PacketRing, shared::kKernelClasses> to_kernel;
    PacketRing back;
    PacketRing from_kernel;
  };
  struct Interface {
    KernelPlan plan;
    const Port* port = nullptr;
    std::optional<KernelTap> tap;  ///< the thread's
    std::optional<bool> carrier;   ///< as the kernel has been told; nothing: not yet
    bool complained = false;       ///< that it cannot be made again
    std::atomic<bool> present{true};
  };

  explicit KernelCarrier(MakeTap make_tap) : make_tap_(std::move(make_tap)) {}

  [[nodiscard]] std::expected<void, std::string> make_rings(const std::vector<int>& nodes);
  [[nodiscard]] std::expected<void, std::string> make_interfaces(
      const Plan& plan, const std::vector<const Port*>& ports);
  void run();
  bool carry_to_kernel();
  bool carry_from_kernel(std::chrono::milliseconds patience);
  bool carry_class(std::size_t of_class);
  bool read_from(std::size_t index);
  void write_to(rte_mbuf* packet);
  void watch_over();
  void lose(Interface& of, std::string_view why);
  void make_again(std::size_t index);
  [[nodiscard]] bool poll_for(std::size_t index);

  const MakeTap make_tap_;
  std::vector<Lane> lanes_;  ///< by worker
  std::vector<std::unique_ptr<Interface>> interfaces_;
  std::vector<Interface*> by_id_;  ///< nullptr: has none
  PoolPtr pool_;
  rte_mbuf* spare_ = nullptr;  ///< the thread's: taken, and nothing was there to be read
  control::FileDescriptor poll_;
  Clock::time_point next_watch_{}, next_make_{};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace lsn::runtime
