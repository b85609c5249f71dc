// The other process at a memif, within this one: it comes, sends, and ends, as often as one likes.
#pragma once

#include <gtest/gtest.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>

#include "lsn/datapath/packet.hpp"
#include "lsn/runtime/peer_guard.hpp"
#include "ring_device.hpp"

namespace lsn::test {

enum class MemifRole : std::uint8_t { kClient, kServer };

/// A socket of its own for every link: the driver does not give the server's back.
inline std::string new_memif_link() {
  static unsigned links = 0;
  return "lsn-test-" + std::to_string(getpid()) + "-" + std::to_string(links++);
}

/// One end of a link.
inline std::string memif_device(const std::string& name, MemifRole role, const std::string& link) {
  return "net_memif_" + name + link +
         ",role=" + (role == MemifRole::kClient ? "client" : "server") + ",id=0,socket=" + link;
}

class MemifPeer {
 public:
  MemifPeer(MemifRole role, const std::string& link) : role_(role), name_("net_memif_peer" + link) {
    EXPECT_EQ(rte_dev_probe(memif_device("peer", role, link).c_str()), 0);
    EXPECT_EQ(rte_eth_dev_get_port_by_name(name_.c_str(), &port_), 0);
    buffers_ = rte_pktmbuf_pool_create("memif_peer", 1023, 0, datapath::kBufferPrivateSize, 2176,
                                       SOCKET_ID_ANY);
    EXPECT_NE(buffers_, nullptr);
    rte_eth_conf conf{};
    // A server has as many as its client.
    EXPECT_EQ(rte_eth_dev_configure(port_, 2, 2, &conf), 0);
    for (std::uint16_t queue = 0; queue < 2; ++queue) {
      EXPECT_EQ(rte_eth_rx_queue_setup(port_, queue, 512, 0, nullptr, buffers_), 0);
      EXPECT_EQ(rte_eth_tx_queue_setup(port_, queue, 512, 0, nullptr), 0);
    }
  }
  ~MemifPeer() {
    end();
    // The driver goes on listening for a server that is closed, with memory that it has freed.
    if (role_ == MemifRole::kClient) rte_eal_hotplug_remove("vdev", name_.c_str());
    rte_mempool_free(buffers_);
  }
  MemifPeer(const MemifPeer&) = delete;
  MemifPeer& operator=(const MemifPeer&) = delete;

  [[nodiscard]] bool begin() { return rte_eth_dev_start(port_) == 0; }

  /// As many frames as its ring takes; what has come is thrown away.
  void flood(const Frame& frame) {
    std::array<rte_mbuf*, 32> packets;
    const std::uint16_t received = rte_eth_rx_burst(port_, 0, packets.data(), packets.size());
    rte_pktmbuf_free_bulk(packets.data(), received);
    if (rte_pktmbuf_alloc_bulk(buffers_, packets.data(), packets.size()) != 0) return;
    for (rte_mbuf* packet : packets)
      std::memcpy(rte_pktmbuf_append(packet, static_cast<std::uint16_t>(frame.size())),
                  frame.data(), frame.size());
    const std::uint16_t sent = rte_eth_tx_burst(port_, 0, packets.data(), packets.size());
    rte_pktmbuf_free_bulk(packets.data() + sent, static_cast<unsigned>(packets.size() - sent));
  }

  void end() {
    EXPECT_TRUE(runtime::peer_guard::on_interrupt_thread([port = port_] { rte_eth_dev_stop(port); },
                                                         std::chrono::seconds{10}));
  }

 private:
  MemifRole role_;
  std::string name_;
  std::uint16_t port_ = 0;
  rte_mempool* buffers_ = nullptr;
};

}  // namespace lsn::test
