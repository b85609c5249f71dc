// A device whose other end is the test: what the test puts in is received, what is sent the test
// takes out. Made of two rings and DPDK's net_ring driver. And frames to put in, byte by byte.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <rte_dev.h>
#include <rte_eth_ring.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "lsn/datapath/packet.hpp"

#if defined(__SANITIZE_THREAD__)
// A device's memory is not the program's: what the test does on its side of the wire is no race.
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif

namespace lsn::test {

class OnTheWire {
 public:
#if defined(__SANITIZE_THREAD__)
  OnTheWire() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~OnTheWire() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  OnTheWire() {}
#endif
};

using Frame = std::vector<std::uint8_t>;
using Mac = std::array<std::uint8_t, 6>;

class RingDevice {
 public:
  RingDevice(const std::string& name, unsigned queues = 1) : name_("net_ring_" + name) {
    // The driver is a plugin that EAL has loaded.
    void* const driver = dlopen("librte_net_ring.so.23", RTLD_NOW);
    using FromRings = decltype(&rte_eth_from_rings);
    const auto from_rings = driver == nullptr
                                ? nullptr
                                : reinterpret_cast<FromRings>(dlsym(driver, "rte_eth_from_rings"));
    if (from_rings == nullptr) {
      ADD_FAILURE() << "no net_ring driver";
      return;
    }
    for (unsigned q = 0; q < queues; ++q) {
      const std::string suffix = name + "_" + std::to_string(q);
      to_.push_back(rte_ring_create(("to_" + suffix).c_str(), 4096, SOCKET_ID_ANY, 0));
      from_.push_back(rte_ring_create(("from_" + suffix).c_str(), 4096, SOCKET_ID_ANY, 0));
    }
    EXPECT_GE(from_rings(name.c_str(), to_.data(), queues, from_.data(), queues, 0), 0);
    buffers_ = rte_pktmbuf_pool_create(("wire_" + name).c_str(), 4095, 0,
                                       datapath::kBufferPrivateSize, 2176, SOCKET_ID_ANY);
    EXPECT_NE(buffers_, nullptr);
  }
  ~RingDevice() {
    // What is left in the rings may be in buffers that are gone with the dataplane.
    rte_eal_hotplug_remove("vdev", name_.c_str());
    for (rte_ring* ring : to_) rte_ring_free(ring);
    for (rte_ring* ring : from_) rte_ring_free(ring);
    rte_mempool_free(buffers_);
  }
  RingDevice(const RingDevice&) = delete;
  RingDevice& operator=(const RingDevice&) = delete;

  [[nodiscard]] const std::string& device() const { return name_; }

  void put(const Frame& frame, unsigned queue = 0) {
    const OnTheWire wire;
    rte_mbuf* const packet = rte_pktmbuf_alloc(buffers_);
    ASSERT_NE(packet, nullptr);
    std::memcpy(rte_pktmbuf_append(packet, static_cast<std::uint16_t>(frame.size())), frame.data(),
                frame.size());
    ASSERT_EQ(rte_ring_enqueue(to_[queue], packet), 0);
  }

  [[nodiscard]] std::optional<Frame> take() {
    const OnTheWire wire;
    for (rte_ring* ring : from_) {
      rte_mbuf* packet = nullptr;
      if (rte_ring_dequeue(ring, reinterpret_cast<void**>(&packet)) != 0) continue;
      Frame frame(rte_pktmbuf_pkt_len(packet));
      std::vector<std::uint8_t> scratch(frame.size());
      std::memcpy(
          frame.data(),
          rte_pktmbuf_read(packet, 0, static_cast<std::uint32_t>(frame.size()), scratch.data()),
          frame.size());
      rte_pktmbuf_free(packet);
      return frame;
    }
    return std::nullopt;
  }

  /// Frames of the test's that have not come back to it or been freed.
  [[nodiscard]] unsigned in_use() const { return rte_mempool_in_use_count(buffers_); }

 private:
  std::string name_;
  std::vector<rte_ring*> to_;
  std::vector<rte_ring*> from_;
  rte_mempool* buffers_ = nullptr;
};

// ── frames ──────────────────────────────────────────────────────────────────────────────────────

inline void append(Frame& frame, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) frame.push_back(static_cast<std::uint8_t>(byte));
}
inline void append16(Frame& frame, unsigned value) {
  append(frame, {value >> 8, value & 0xFF});
}
inline void append32(Frame& frame, std::uint32_t value) {
  append16(frame, value >> 16);
  append16(frame, value & 0xFFFF);
}
inline std::uint32_t at32(const Frame& frame, std::size_t i) {
  return std::uint32_t{frame[i]} << 24 | std::uint32_t{frame[i + 1]} << 16 |
         std::uint32_t{frame[i + 2]} << 8 | frame[i + 3];
}
inline std::uint16_t at16(const Frame& frame, std::size_t i) {
  return static_cast<std::uint16_t>(frame[i] << 8 | frame[i + 1]);
}

/// RFC 1071, of an even number of bytes.
inline std::uint16_t sum_of(const Frame& frame, std::size_t from, std::size_t to) {
  std::uint32_t sum = 0;
  for (std::size_t i = from; i < to; i += 2) sum += at16(frame, i);
  while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

inline Frame ethernet(const Mac& to, const Mac& from, unsigned type) {
  Frame frame(to.begin(), to.end());
  frame.insert(frame.end(), from.begin(), from.end());
  append16(frame, type);
  return frame;
}

/// RFC 826: who has `target`? tell `sender`.
inline Frame arp_request(const Mac& from, std::uint32_t sender, std::uint32_t target) {
  Frame frame = ethernet({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, from, 0x0806);
  append(frame, {0, 1, 8, 0, 6, 4, 0, 1});
  frame.insert(frame.end(), from.begin(), from.end());
  append32(frame, sender);
  append(frame, {0, 0, 0, 0, 0, 0});
  append32(frame, target);
  frame.resize(60);
  return frame;
}

/// UDP without a checksum, 18 bytes of payload.
inline Frame udp(const Mac& to, const Mac& from, std::uint32_t source, unsigned source_port,
                 std::uint32_t destination, unsigned destination_port) {
  Frame frame = ethernet(to, from, 0x0800);
  append(frame, {0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0});
  append32(frame, source);
  append32(frame, destination);
  const std::uint16_t sum = sum_of(frame, 14, 34);
  frame[24] = static_cast<std::uint8_t>(sum >> 8);
  frame[25] = static_cast<std::uint8_t>(sum & 0xFF);
  append16(frame, source_port);
  append16(frame, destination_port);
  append16(frame, 26);
  append16(frame, 0);
  for (unsigned i = 0; i < 18; ++i) append(frame, {i});
  return frame;
}

/// ESP with 16 bytes behind its header (RFC 4303 section 2).
inline Frame esp(const Mac& to, const Mac& from, std::uint32_t source, std::uint32_t destination,
                 std::uint32_t spi, std::uint32_t sequence) {
  Frame frame = ethernet(to, from, 0x0800);
  append(frame, {0x45, 0, 0, 44, 0, 1, 0, 0, 64, 50, 0, 0});
  append32(frame, source);
  append32(frame, destination);
  const std::uint16_t sum = sum_of(frame, 14, 34);
  frame[24] = static_cast<std::uint8_t>(sum >> 8);
  frame[25] = static_cast<std::uint8_t>(sum & 0xFF);
  append32(frame, spi);
  append32(frame, sequence);
  for (unsigned i = 0; i < 16; ++i) append(frame, {i});
  frame.resize(std::max<std::size_t>(frame.size(), 60));
  return frame;
}

struct UdpFields {
  std::uint32_t source, destination;
  std::uint16_t source_port, destination_port;
};
/// nullopt: something else.
inline std::optional<UdpFields> udp_fields(const Frame& frame) {
  if (frame.size() < 42 || at16(frame, 12) != 0x0800 || frame[23] != 17) return std::nullopt;
  return UdpFields{at32(frame, 26), at32(frame, 30), at16(frame, 34), at16(frame, 36)};
}

}  // namespace lsn::test
