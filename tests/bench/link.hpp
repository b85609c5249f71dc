// The two virtual links to a box under test: the hosts inside and outside that a generator plays.
//
// At memif the generator has the server side of both links (abstract socket PREFIX-BOX, id 0
// inside, id 1 outside); the box has the client side, because only that one can work without
// copying. At veth it has the interfaces BOX-in and BOX-out, whose peers are the box's. At rings
// the box is a secondary process of the generator, whose packets it gets by pointer: its devices
// are net_ring_BOX_in and net_ring_BOX_out. ARP is answered whenever packets are received.
#pragma once

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "frames.hpp"

namespace lsn::bench {

inline constexpr unsigned kBurst = 32;

enum class At : std::uint8_t {
  kMemif,
  kVeth,
  kRing,
  kStartedRing,  ///< the box's devices are started for it: a secondary testpmd leaves that to
                 ///< others
};
enum Side : unsigned { kInside, kOutside };
[[nodiscard]] constexpr Side other(Side side) {
  return side == kInside ? kOutside : kInside;
}

[[nodiscard]] inline double seconds_of(std::uint64_t clocks) {
  return static_cast<double>(clocks) / static_cast<double>(rte_get_tsc_hz());
}
[[nodiscard]] inline std::uint64_t clocks_of(double seconds) {
  return static_cast<std::uint64_t>(seconds * static_cast<double>(rte_get_tsc_hz()));
}

/// Packets that wait for room in the box's ring.
struct Pending {
  std::array<rte_mbuf*, kBurst> packets;
  unsigned begin = 0, end = 0;

  [[nodiscard]] bool empty() const { return begin == end; }
};

class Link {
 public:
  /// Throws std::runtime_error when the devices cannot be made. `sockets`: the prefix, of memif.
  Link(At at, const std::string& name, const std::string& sockets, rte_mempool* buffers);

  /// How many packets may be under way at a time; 0: as many as the rings hold. Excess packets at a
  /// veth take the box's time before they are dropped: there the rate is that of a box that loses
  /// nothing.
  [[nodiscard]] std::uint64_t window() const { return at_ == At::kVeth ? 512 : 0; }

  [[nodiscard]] bool is_up() const;
  /// Learns the box's MAC addresses by ARP. A box that was not asked by ARP is a plain forwarder:
  /// it gets packets for a made-up MAC address, and must leave them as they are. Throws without an
  /// answer.
  void resolve();

  [[nodiscard]] bool translates() const { return translates_; }
  [[nodiscard]] const Mac& box_mac(Side side) const { return box_mac_[side]; }
  [[nodiscard]] static const Mac& host_mac(Side side);
  /// Of frames that the host of that side sends to the box.
  [[nodiscard]] FrameMaker maker(Kind kind, Side side, std::uint8_t detail = 0,
                                 std::size_t size = kFrameSize) const {
    return {kind, box_mac_[side], host_mac(side), detail, size};
  }

  /// `write(frame, i)` writes the ith of `count` frames of `size` bytes.
  template <class Write>
  void prepare(Pending& pending, unsigned count, Write&& write, std::uint16_t size = kFrameSize) {
    prepare_each(pending, count, write, [size](unsigned) { return size; });
  }
  /// The ith has `size_of(i)` bytes.
  template <class Write, class Size>
  void prepare_each(Pending& pending, unsigned count, Write&& write, Size&& size_of) {
    if (rte_pktmbuf_alloc_bulk(buffers_, pending.packets.data(), count) != 0)
      throw std::runtime_error("no packet buffers");
    for (unsigned i = 0; i < count; ++i) {
      rte_mbuf* mbuf = pending.packets[i];
      mbuf->data_len = size_of(i);
      mbuf->pkt_len = mbuf->data_len;
      write(rte_pktmbuf_mtod(mbuf, std::uint8_t*), i);
    }
    pending.begin = 0;
    pending.end = count;
  }

  /// Sends the waiting packets: how many went.
  unsigned flush(Side side, Pending& pending) {
    if (pending.empty()) return 0;
    const std::uint16_t sent =
        rte_eth_tx_burst(ports_[side], 0, pending.packets.data() + pending.begin,
                         static_cast<std::uint16_t>(pending.end - pending.begin));
    pending.begin += sent;
    return sent;
  }

  static void discard(Pending& pending) {
    rte_pktmbuf_free_bulk(pending.packets.data() + pending.begin, pending.end - pending.begin);
    pending.begin = pending.end = 0;
  }

  /// `take(side, frame, size)` for every frame that came but ARP: how many.
  template <class Take>
  unsigned receive(Take&& take) {
    return receive_on(kInside, take) + receive_on(kOutside, take);
  }

  /// Receives until nothing has come for 20 ms: when (TSC) the last packet came, or `last`.
  template <class Take>
  std::uint64_t run_until_idle(Take&& take, std::uint64_t last = 0) {
    std::uint64_t quiet_since = rte_rdtsc();
    while (rte_rdtsc() - quiet_since < clocks_of(0.02))
      if (receive(take) != 0) last = quiet_since = rte_rdtsc();
    return last;
  }

  /// Leaves nothing in the rings.
  void drain() {
    run_until_idle([](Side, const std::uint8_t*, std::uint32_t) {});
  }

 private:
  template <class Take>
  unsigned receive_on(Side side, Take&& take) {
    std::array<rte_mbuf*, 2 * kBurst> packets;
    const std::uint16_t n = rte_eth_rx_burst(ports_[side], 0, packets.data(), packets.size());
    if (n == 0) return 0;
    unsigned taken = 0;
    for (unsigned i = 0; i < n; ++i) {
      const auto* frame = rte_pktmbuf_mtod(packets[i], const std::uint8_t*);
      if (get16(frame + 12) == 0x0806) [[unlikely]] {
        arp(side, frame);
      } else {
        take(side, frame, packets[i]->pkt_len);
        ++taken;
      }
    }
    rte_pktmbuf_free_bulk(packets.data(), n);
    return taken;
  }

  [[nodiscard]] std::string device_arguments(const std::string& name, const std::string& sockets,
                                             Side side) const;
  [[nodiscard]] static std::uint16_t plug_in(const std::string& device,
                                             const std::string& arguments);
  /// The generator's end of two rings; the box's end then has the name that the box looks for.
  [[nodiscard]] std::uint16_t make_rings(const std::string& name, Side side);
  void start_port(std::uint16_t port);
  void arp(Side side, const std::uint8_t* frame);
  void send_arp(Side side, std::uint16_t operation, const Mac& mac, std::uint32_t ip);

  At at_;
  rte_mempool* buffers_;
  std::uint16_t ports_[2]{};
  std::uint16_t watched_[2]{};  ///< their links say whether the box is there
  bool translates_ = false;
  bool known_[2]{};
  Mac box_mac_[2] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
};

}  // namespace lsn::bench
