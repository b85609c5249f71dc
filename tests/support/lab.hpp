// A laboratory without a NIC: some shards, the hosts around them, a clock that tests advance.
//
// One packet's way: receive() copies a frame into a buffer and gives it to a shard (which one, says
// Arrival); then run_until_idle() moves the packets that shards hand off to one another until all
// is quiet, takes the packets that they send, and lets the hosts answer: every neighbour answers
// ARP unless it is silent(). The other packets are the result, in the order in which they were
// sent.
//
// Every frame that leaves is checked: link header, IP header, MTU, no address on a side where it
// must never be seen. faults() lists the faults; the tests' fixture wants it to be empty. The same
// goes for packet buffers: after the shards are gone all are back in their pool, or the
// destructor's check says how many are not.
//
// Time stands still but for advance() (steps of 100 ms, as a worker's polls would see them, with a
// small budget each) and jump() (one step, as if a worker had slept).
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lsn/datapath/l3/kernel_policer.hpp"
#include "lsn/datapath/path.hpp"
#include "lsn/state/memory.hpp"
#include "support/bytes.hpp"
#include "support/config.hpp"
#include "support/packet_builder.hpp"

namespace lsn::test {

using shared::Direction;
using shared::DropReason;
using shared::SessionRow;
using shared::ShardId;
using namespace std::chrono_literals;

/// Which shard's queue a packet comes to.
enum class Arrival : std::uint8_t {
  kFirst,      ///< always the first one's: a device with one queue
  kAlternate,  ///< round robin: as a NIC may do
};

/// Starts EAL once per process, without huge pages, devices and files. Aborts if it cannot.
void start_eal();

/// A frame that leaves a device.
struct Frame {
  unsigned device = 0;
  Bytes bytes;

  friend bool operator==(const Frame&, const Frame&) = default;
};

/// A device's flags of a packet, and its layout in buffers.
struct Reception {
  std::uint64_t flags = 0;     ///< RTE_MBUF_F_RX_...
  unsigned stripped_vlan = 0;  ///< with RTE_MBUF_F_RX_VLAN_STRIPPED
  std::size_t segment = 0;     ///< bytes per buffer; 0: all in one
};

class Lab {
 public:
  struct Options {
    unsigned shards = 1;
    Arrival arrival = Arrival::kFirst;
    unsigned max_sessions = 4096;  ///< per shard
    unsigned max_fragments = 64;
    datapath::ipsec_alg::Capacity alg = {.ike_sessions = 4096,
                                         .esp_sessions = 4096,
                                         .gates = 1024,
                                         .held_bytes = 4 << 20};  ///< per shard
    std::uint64_t seed = 1;
    std::uint32_t start = 1000;             ///< the clock's first tick
    state::ZeroedMemory* memory = nullptr;  ///< the tables'; none: pages of the laboratory's own
    state::ZeroedMemory* shard_memory = nullptr;  ///< the shards' own; none: the heap
    unsigned log_records = 4096;                  ///< that wait for the log thread, per shard
    const shared::Fib* fib = nullptr;             ///< the kernel's routes; none: there are none
  };

  Lab(const Config& config, const Options& options);
  ~Lab();
  /// Flushes everything and lets time pass until all has expired. Returns the objects that did not
  /// end, empty if all did.
  [[nodiscard]] std::string end_all();
  /// After end_all(): the laboratory as if it were new, with another configuration, in a fraction
  /// of the time. Its clock, counters and random numbers go on.
  void renew(const Config& config, Arrival arrival);
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  // ── hosts ──────────────────────────────────────────────────────────────────────────────────────

  /// The hardware address of any host, and of the NAT's interfaces.
  [[nodiscard]] static Mac mac_of(Ip host);
  [[nodiscard]] static Mac own_mac(unsigned interface);
  /// From now on no host answers ARP for that address.
  void silence(Ip host) { silent_.insert(host); }
  void unsilence(Ip host) { silent_.erase(host); }
  /// Makes a neighbour known to all shards: it asks for the NAT's address by ARP.
  void introduce(unsigned interface, Ip host);
  /// Shows ARP requests and announcements among the results, too.
  void show_arp() { show_arp_ = true; }

  // ── packets ────────────────────────────────────────────────────────────────────────────────────

  /// A frame comes from a device, as it is.
  std::vector<Frame> receive(unsigned device, const Bytes& frame, const Reception& how = {});
  /// An IP packet comes in on an interface, from its source's or a router's hardware address.
  std::vector<Frame> send(unsigned interface, const Bytes& ip_packet, const Reception& how = {});
  std::vector<Frame> from_inside(const Bytes& ip_packet) { return send(0, ip_packet); }
  std::vector<Frame> from_outside(const Bytes& ip_packet) { return send(1, ip_packet); }
  /// All of them in one burst, at one shard.
  std::vector<Frame> burst(unsigned interface, const std::vector<Bytes>& ip_packets);

  /// The frame in which an IP packet leaves towards a neighbour.
  [[nodiscard]] Frame frame_to(unsigned interface, Ip neighbour, const Bytes& ip_packet) const;
  [[nodiscard]] Frame to_inside(const IpPacket& packet) const {
    return frame_to(0, packet.destination, packet.bytes());
  }
  [[nodiscard]] Frame to_outside(const IpPacket& packet) const {
    return frame_to(1, "198.51.100.10", packet.bytes());
  }

  // ── kernel interfaces ─────────────────────────────────────────────────────────────────────────

  /// A frame that the kernel of an interface gets.
  struct KernelFrame {
    unsigned interface = 0;
    shared::KernelClass of_class = shared::KernelClass::kRest;
    Bytes bytes;

    friend bool operator==(const KernelFrame&, const KernelFrame&) = default;
  };
  /// What the kernel has got since the last time.
  std::vector<KernelFrame> to_kernel() { return std::exchange(kernel_, {}); }
  /// From now on the kernel refuses all (its interface is down), or takes them again.
  void kernel_refuses(bool refuses) { kernel_refuses_ = refuses; }
  /// While set, no thread takes what is for the kernel.
  void hold_kernel(bool hold) { hold_kernel_ = hold; }
  /// The kernel sends a frame.
  std::vector<Frame> from_kernel(unsigned interface, const Bytes& frame);

  // ── time ───────────────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] state::Ticks now() const { return now_; }
  /// Frames that were sent meanwhile.
  std::vector<Frame> advance(std::chrono::milliseconds time);
  std::vector<Frame> jump(std::chrono::milliseconds time);
  void set_now(state::Ticks now);
  /// One call of housekeep() on every shard, and the frames sent.
  std::vector<Frame> housekeep(std::size_t budget);

  // ── configuration ──────────────────────────────────────────────────────────────────────────────

  /// A reload: all shards adopt the new generation, then sweep. Returns sessions ended.
  std::uint64_t reload(const Config& config, std::size_t budget = 8);
  /// The same in steps: publish, each shard adopts when it comes to it, sweep.
  void publish(const Config& config);
  void adopt(unsigned shard);
  std::uint64_t sweep(std::size_t budget = 8);
  /// Drops the former shard map if no subscriber is displaced, as the controller does.
  void drop_predecessors();

  // ── tables ─────────────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] datapath::Shard& shard(unsigned id = 0) { return *shards_.at(id); }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] unsigned shards() const { return static_cast<unsigned>(shards_.size()); }
  [[nodiscard]] const shared::Generation& generation() const { return *generations_.back(); }
  /// All sessions of all shards, asked for in pages of `limit` rows with a budget of `budget`.
  [[nodiscard]] std::vector<SessionRow> sessions(const shared::SessionFilter& filter = {},
                                                 std::uint32_t limit = 16, std::size_t budget = 7);
  std::uint64_t flush(const shared::SessionFilter& filter, std::size_t budget = 7);
  /// The records that a restart must not lose, and restoring them in shards that have seen no
  /// packet yet: how many records held.
  [[nodiscard]] std::vector<shared::StateRecord> state(std::uint32_t limit = 3,
                                                       std::size_t budget = 2);
  std::uint64_t restore(const std::vector<shared::StateRecord>& records);

  /// The records that the shards have written since the last time; of one shard after the other.
  [[nodiscard]] std::vector<shared::LogRecord> log_records();

  /// A counter's sum over all shards.
  template <class Member>
  [[nodiscard]] std::uint64_t total(Member&& member) {
    std::uint64_t sum = 0;
    for (const auto& shard : shards_) sum += std::invoke(member, shard->counters).get();
    return sum;
  }
  [[nodiscard]] std::uint64_t drops(DropReason reason) const;
  [[nodiscard]] std::uint64_t session_count(Protocol protocol) const;
  [[nodiscard]] std::uint64_t mapping_count(Protocol protocol) const;
  [[nodiscard]] std::uint64_t subscribers();

  /// The faults of frames that left.
  [[nodiscard]] const std::vector<std::string>& faults() const { return faults_; }
  /// Checksums behind the IP header are looked at as well; packets that come with wrong ones keep
  /// them, so their tests switch this off.
  void ignore_l4_checksums() { check_l4_ = false; }

  // ── for special cases ──────────────────────────────────────────────────────────────────────────

  /// While set, packets that shards hand off stay in their buffers.
  void hold_handoffs(bool hold) { hold_ = hold; }
  /// Packets come to this shard next, regardless of Arrival.
  void next_arrival(unsigned shard) { next_ = shard; }
  /// Moves packets between shards until all is quiet; returns the frames that left.
  std::vector<Frame> run_until_idle();
  /// Takes all free buffers but `leave` (and gives them back): packets that need one must do
  /// without.
  void take_buffers(unsigned leave = 0);
  void give_buffers();
  /// Packets that were counted too often (negative) or not at all: those that came and that the
  /// shards made, less those that left, were dropped, were consumed or wait.
  [[nodiscard]] std::int64_t unaccounted();
  /// Buffers that are not in their pool.
  [[nodiscard]] static std::size_t buffers_in_use();
  /// Ends the shards; then nothing holds a buffer any more.
  void shut_down();

  /// Called with each shard after each of its steps, for guards/counters.cpp.
  static inline void (*observer)(const datapath::Shard& shard) = nullptr;

 private:
  /// Destroys a shard where it was made.
  struct ShardDeleter {
    state::ZeroedMemory* memory;
    void operator()(datapath::Shard* shard) const;
  };
  using ShardPointer = std::unique_ptr<datapath::Shard, ShardDeleter>;
  [[nodiscard]] static ShardPointer make_shard(const datapath::ShardConfig& config,
                                               state::ZeroedMemory* memory);

  /// The remaining objects of the shards, in words; empty if none.
  [[nodiscard]] std::string remains();
  void observe() const {
    if (observer == nullptr) return;
    for (const auto& shard : shards_) observer(*shard);
  }
  void deliver(unsigned shard, unsigned device, rte_mbuf* mbuf);
  [[nodiscard]] unsigned arrive();
  [[nodiscard]] rte_mbuf* buffer_of(const Bytes& frame, const Reception& how);
  bool move_handoffs();
  void collect();
  static void end_captured_burst(datapath::Shard& shard);
  void carry_to_kernel(datapath::Shard& shard);
  void inspect(const Frame& frame);
  void answer(const Frame& frame);
  void fault(const Frame& frame, const std::string& what);
  [[nodiscard]] int interface_of(const Frame& frame) const;

  /// The configurations that shards work with, together.
  [[nodiscard]] bool any_config(auto&& says) const {
    return std::any_of(adopted_.begin(), adopted_.end(),
                       [&](std::size_t of_shard) { return says(configs_[of_shard]); });
  }

  Config config_;
  Options options_;
  state::PageMemory memory_{state::Pages::kSmall};
  state::Ticks now_;
  std::vector<std::unique_ptr<shared::Generation>> generations_;
  std::vector<Config> configs_;  ///< of generations_
  std::vector<datapath::lsn44::AddressStore> stores_;
  std::vector<std::vector<std::unique_ptr<datapath::lsn44::ShardAddresses>>> addresses_;
  std::vector<ShardPointer> shards_;
  std::vector<std::size_t> adopted_;  ///< by shard: index into generations_
  std::set<Ip> silent_;
  std::deque<Frame> unanswered_;
  std::vector<Frame> out_;
  std::vector<std::string> faults_;
  std::vector<rte_mbuf*> hoard_;
  std::int64_t came_ = 0;  ///< frames given to a shard, and copies of ARP for the other shards
  std::int64_t gone_ = 0;  ///< frames taken from the transmit buffers
  unsigned next_ = 0;
  bool show_arp_ = false;
  bool check_l4_ = true;
  bool hold_ = false;
  datapath::KernelPolicer policer_;
  std::vector<KernelFrame> kernel_;
  bool kernel_refuses_ = false;
  bool hold_kernel_ = false;
};

}  // namespace lsn::test
