// A shard without a device, with flows through it: bench_path measures on it.
//
// Two devices with an interface each, a gateway behind either (so that there is one next hop per
// side, as behind a real NAT), a client network, one pool. open() sends a flow's first packets and
// keeps the NAT endpoint that came out; burst() writes the frames of a burst into recycled buffers;
// run() has them processed and returns the clocks. Time stands still unless a caller moves it.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "frames.hpp"
#include "lsn/datapath/path.hpp"

namespace lsn::bench {

/// Memory of the tables, counted: the bytes asked for, and those that exist by now.
class CountedMemory final : public state::ZeroedMemory {
 public:
  explicit CountedMemory(state::Pages pages) : pages_(pages) {}

  [[nodiscard]] std::size_t reserved() const { return reserved_; }
  /// Bytes that have been touched.
  [[nodiscard]] std::size_t resident() const;

 private:
  struct Piece {
    void* address;
    std::size_t bytes;
  };

  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* address, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  state::PageMemory pages_;
  std::vector<Piece> pieces_;
  std::size_t reserved_ = 0;
};

/// Tables for so many flows at 80 % load.
[[nodiscard]] constexpr std::uint32_t capacity_for(std::uint32_t flows) {
  return std::max<std::uint32_t>(1024, static_cast<std::uint32_t>(std::uint64_t{flows} * 100 / 80));
}

struct WorkshopConfig {
  std::uint32_t max_sessions = 65536;
  std::uint32_t flows = 1;  ///< subscribers are as many as these need
  state::Pages pages = state::Pages::kLarge;
  shared::AppPolicy policy{};
  Kind kind = Kind::kUdp;
  bool cold_frames = false;      ///< flushed to memory before they are processed
  std::uint32_t networks = 1;    ///< that the subscribers' network is divided into
  std::uint32_t addresses = 0;   ///< NAT addresses; 0: as many as the sessions need
  std::uint32_t block_size = 0;  ///< ports of a block; 0: ports are not given in blocks
  shared::ShardId id = 0;  ///< of `shards`: its flows are those of subscribers that are its own
  unsigned shards = 1;
  std::uint8_t logging = 0;  ///< shared::LogFlags of the group
  rte_mempool* buffers = nullptr;
};

class Workshop {
 public:
  static constexpr unsigned kBurst = static_cast<unsigned>(datapath::kBurst);
  static constexpr std::uint16_t kInside = 0, kOutside = 1;  ///< devices and interfaces

  explicit Workshop(const WorkshopConfig& config);
  ~Workshop();
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  [[nodiscard]] datapath::Shard& shard() { return *shard_; }
  [[nodiscard]] const CountedMemory& memory() const { return memory_; }
  [[nodiscard]] std::uint32_t flows() const { return config_.flows; }
  /// Empties the ring of records, as the log thread does; how many there were.
  std::size_t take_records() {
    return shard_->log.take(shared::LogRing::kCapacity, [](const shared::LogRecord&) {});
  }
  [[nodiscard]] std::uint32_t sessions() const { return shard_->lsn44.sessions.size(); }

  /// Opens flows [first, last), remembers their NAT endpoints and has them answered. Returns the
  /// clocks of their first packets. Throws if a packet is lost.
  std::uint64_t open(std::uint32_t first, std::uint32_t last);
  /// The same without remembering, at most a burst.
  std::uint64_t open_burst(std::uint32_t first, unsigned count);

  /// A burst of random flows below `flows`, written and ready.
  void burst_outbound(Sequence& sequence, std::uint32_t flows);
  void burst_inbound(Sequence& sequence, std::uint32_t flows);
  /// The frame of a random one, for a buffer of the caller's.
  void write_outbound(rte_mbuf* mbuf, Sequence& sequence) const;
  void write_inbound(rte_mbuf* mbuf, Sequence& sequence) const;
  /// A burst to NAT ports without a mapping, or from unsolicited hosts.
  void burst_unknown(Sequence& sequence);

  /// A burst of ESP with random unknown SPIs in the names of servers that clients talk to.
  void burst_spoofed(Sequence& sequence, std::uint32_t flows);

  /// To be called between writing a burst and measuring: run() does so itself.
  void settle_memory() const;

  /// Processes the burst: clocks. The packets that came out are counted in `sent`.
  std::uint64_t run();
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  /// The burst for a caller that processes it stage by stage; finish() takes the buffers back.
  [[nodiscard]] std::span<rte_mbuf* const> packets() const { return {burst_.data(), kBurst}; }
  [[nodiscard]] std::uint16_t device() const { return device_; }
  void finish();

  /// Sends every flow of a sample through in both directions and judges the packets that come out.
  /// Throws std::runtime_error with the first fault.
  void verify(std::uint32_t sample);

  /// A poll's work to adopt a generation, the same again or one without clients: clocks. The rest
  /// (enforce_generation) is the caller's.
  std::uint64_t reload(bool with_clients);

  /// Moves the clock and sends the neighbours' ARP.
  void pass(state::TickDuration time);

  static constexpr state::TickDuration kSessionTimeout = std::chrono::seconds{120};

 private:
  void neighbours_speak();
  void restore_esp(std::uint32_t first, std::uint32_t last);
  void load(unsigned i, const FrameMaker& maker, const Endpoint& from, const Endpoint& to,
            std::uint32_t number);
  [[nodiscard]] Flow flow(std::uint32_t n) const;
  [[noreturn]] void fail(const std::string& what) const;

  WorkshopConfig config_;
  std::vector<std::uint32_t> own_;  ///< with several shards: the numbers of its flows
  CountedMemory memory_;
  shared::Generation generation_;
  datapath::lsn44::AddressStore store_;
  std::unique_ptr<datapath::lsn44::ShardAddresses> addresses_;
  std::unique_ptr<datapath::Shard> shard_;

  FrameMaker outbound_, inbound_, opening_, answering_;
  /// By flow. In large pages always: the TLB entries that reading it takes are not the product's.
  state::PageMemory nat_memory_{state::Pages::kLarge};
  state::ParallelArray<Endpoint> nat_;

  /// Buffers go round, so that a burst never lies in the very lines of the one before.
  std::vector<rte_mbuf*> ring_;
  std::size_t next_ = 0;
  std::vector<rte_mbuf*> burst_;
  std::uint16_t device_ = kInside;
  std::uint64_t sent_ = 0;
};

}  // namespace lsn::bench
