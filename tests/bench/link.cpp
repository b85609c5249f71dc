#include "link.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_ring.h>

namespace lsn::bench {
namespace {

constexpr std::uint16_t kDescriptors = 1024;

struct Address {
  Mac mac;
  std::uint32_t ip;
};
// The hosts that the generator plays, and the box' addresses: scripts/bench writes the same.
constexpr Address kHosts[] = {{{2, 0, 0, 0, 1, 1}, 0xC00002FE},   // 192.0.2.254
                              {{2, 0, 0, 0, 1, 2}, 0xC63364FE}};  // 198.51.100.254
constexpr std::uint32_t kBoxIps[] = {0xC0000201, 0xC6336401};     // .1 of either

}  // namespace

Link::Link(At at, const std::string& name, const std::string& sockets, rte_mempool* buffers)
    : at_(at), buffers_(buffers) {
  for (const Side side : {kInside, kOutside}) {
    if (at == At::kRing || at == At::kStartedRing) {
      ports_[side] = make_rings(name, side);
      if (at == At::kStartedRing) start_port(watched_[side]);
    } else {
      const char* driver = at == At::kMemif ? "net_memif" : "net_af_packet";
      ports_[side] = watched_[side] =
          plug_in(fmt::format("{}_{}_{}", driver, name, static_cast<unsigned>(side)),
                  device_arguments(name, sockets, side));
    }
    start_port(ports_[side]);
  }
}

const Mac& Link::host_mac(Side side) {
  return kHosts[side].mac;
}

std::string Link::device_arguments(const std::string& name, const std::string& sockets,
                                   Side side) const {
  if (at_ == At::kVeth)
    return fmt::format("iface={}-{},qdisc_bypass=1", name, side == kInside ? "in" : "out");
  const Mac& mac = host_mac(side);
  return fmt::format(
      "role=server,id={},socket={}-{},rsize=10,mac={:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
      static_cast<unsigned>(side), sockets, name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

std::uint16_t Link::plug_in(const std::string& device, const std::string& arguments) {
  std::uint16_t port = 0;
  if (rte_eal_hotplug_add("vdev", device.c_str(), arguments.c_str()) != 0 ||
      rte_eth_dev_get_port_by_name(device.c_str(), &port) != 0)
    throw std::runtime_error(fmt::format("no device: {},{}", device, arguments));
  return port;
}

std::uint16_t Link::make_rings(const std::string& name, Side side) {
  // The driver is a plugin that EAL has loaded.
  void* const driver = dlopen("librte_net_ring.so.23", RTLD_NOW);
  const auto from_rings =
      driver == nullptr
          ? nullptr
          : reinterpret_cast<decltype(&rte_eth_from_rings)>(dlsym(driver, "rte_eth_from_rings"));
  if (from_rings == nullptr) throw std::runtime_error("no net_ring driver");
  const std::string end = fmt::format("{}_{}", name, side == kInside ? "in" : "out");
  const auto ring = [&](const char* direction) {
    return rte_ring_create((direction + end).c_str(), kDescriptors, SOCKET_ID_ANY,
                           RING_F_SP_ENQ | RING_F_SC_DEQ);
  };
  rte_ring* to_box = ring("to_");
  rte_ring* from_box = ring("from_");
  if (to_box == nullptr || from_box == nullptr) throw std::runtime_error("no memory for rings");
  const int box = from_rings(end.c_str(), &to_box, 1, &from_box, 1, 0);
  const int ours = from_rings(("gen_" + end).c_str(), &from_box, 1, &to_box, 1, 0);
  if (box < 0 || ours < 0) throw std::runtime_error("no ring devices for " + end);
  watched_[side] = static_cast<std::uint16_t>(box);
  return static_cast<std::uint16_t>(ours);
}

void Link::start_port(std::uint16_t port) {
  rte_eth_conf conf{};
  if (rte_eth_dev_configure(port, 1, 1, &conf) != 0 ||
      rte_eth_rx_queue_setup(port, 0, kDescriptors, 0, nullptr, buffers_) != 0 ||
      rte_eth_tx_queue_setup(port, 0, kDescriptors, 0, nullptr) != 0 ||
      rte_eth_dev_start(port) != 0)
    throw std::runtime_error(fmt::format("port {} does not start", port));
}

bool Link::is_up() const {
  for (const std::uint16_t port : watched_) {
    rte_eth_link link{};
    if (rte_eth_link_get_nowait(port, &link) != 0 || link.link_status != RTE_ETH_LINK_UP)
      return false;
  }
  return true;
}

void Link::resolve() {
  const std::uint64_t end = rte_rdtsc() + clocks_of(5);
  translates_ = true;
  for (std::uint64_t again = 0; rte_rdtsc() < end && !(known_[0] && known_[1]);) {
    if (rte_rdtsc() >= again) {
      again = rte_rdtsc() + clocks_of(0.2);
      for (const Side side : {kInside, kOutside}) send_arp(side, 1, Mac{}, kBoxIps[side]);
    }
    receive([](Side, const std::uint8_t*, std::uint32_t) {});
  }
  if (!known_[0] || !known_[1]) throw std::runtime_error("the box does not answer ARP");
}

void Link::arp(Side side, const std::uint8_t* frame) {
  Mac sender;
  std::memcpy(sender.data(), frame + 22, 6);
  if (get32(frame + 28) == kBoxIps[side]) {
    known_[side] = true;
    box_mac_[side] = sender;
  }
  if (get16(frame + 20) == 1 && get32(frame + 38) == kHosts[side].ip)
    send_arp(side, 2, sender, get32(frame + 28));
}

void Link::send_arp(Side side, std::uint16_t operation, const Mac& mac, std::uint32_t ip) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(buffers_);
  if (mbuf == nullptr) return;
  mbuf->data_len = kFrameSize;
  mbuf->pkt_len = kFrameSize;
  write_arp(rte_pktmbuf_mtod(mbuf, std::uint8_t*), operation, kHosts[side].mac, kHosts[side].ip,
            mac, ip);
  if (rte_eth_tx_burst(ports_[side], 0, &mbuf, 1) == 0) rte_pktmbuf_free(mbuf);
}

}  // namespace lsn::bench
