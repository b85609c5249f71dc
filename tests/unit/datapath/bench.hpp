// A shard on a workbench: two devices, three interfaces, what comes and goes as plain bytes.
//
//   interface 0  inside,  device 0, untagged   192.0.2.1/24     02:00:00:00:00:01
//   interface 1  outside, device 1, untagged   198.51.100.1/24  02:00:00:00:00:02
//   interface 2  outside, device 1, VLAN 100   203.0.113.1/28   02:00:00:00:00:02
//
// Pool addresses: 198.51.100.8-10 (in interface 1's network) and 100.64.7.1 (routed to us). Routes
// beside the connected ones: 0.0.0.0/0 via 198.51.100.254, 10.0.0.0/8 via 198.51.100.253,
// 10.9.0.0/16 via 203.0.113.14, 172.16.0.0/12 via 192.0.2.254.
//
// Frames are made and read here from numbers alone; nothing of it uses the product's headers.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "lsn/datapath/l3/output.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/parse.hpp"
#include "lsn/datapath/path.hpp"
#include "lsn/datapath/pipeline.hpp"
#include "lsn/datapath/shard.hpp"
#include "support/lab.hpp"

namespace lsn::datapath::bench {

struct Bytes : std::vector<std::uint8_t> {
  using std::vector<std::uint8_t>::vector;
};

/// What GoogleTest says of them.
inline void PrintTo(const Bytes& bytes, std::ostream* out) {
  *out << bytes.size() << " bytes";
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    char text[8];
    std::snprintf(text, sizeof text, "%02x", bytes[i]);
    *out << (i % 16 == 0 ? "\n    " : i % 2 == 0 ? " " : "") << text;
  }
  *out << "\n";
}

// ---------------------------------------------------------------- bytes

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline Bytes be16(unsigned x) {
  return {static_cast<std::uint8_t>(x >> 8), static_cast<std::uint8_t>(x)};
}
inline Bytes be32(std::uint32_t x) {
  return be16(x >> 16) + be16(x & 0xFFFF);
}

/// "c0 00 02 01"
inline Bytes hex(const std::string& text) {
  Bytes bytes;
  std::string digits;
  for (const char c : text) {
    if (c == ' ' || c == '\n') continue;
    digits += c;
    if (digits.size() == 2) {
      bytes.push_back(static_cast<std::uint8_t>(std::stoul(digits, nullptr, 16)));
      digits.clear();
    }
  }
  return bytes;
}

/// 0, 1, 2, ... modulo 251: no two units of 8 bytes are alike for a long time.
inline Bytes counting(std::size_t size, unsigned from = 0) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>((from + i) % 251);
  return bytes;
}

inline Bytes part(const Bytes& bytes, std::size_t from, std::size_t size) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(from),
          bytes.begin() + static_cast<std::ptrdiff_t>(from + size)};
}

/// RFC 1071, the slow way.
inline std::uint16_t internet_checksum(const Bytes& bytes) {
  unsigned long sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2)
    sum += bytes[i] * 256UL + (i + 1 < bytes.size() ? bytes[i + 1] : 0UL);
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<std::uint16_t>(0xFFFF - sum);
}

inline unsigned at16(const Bytes& bytes, std::size_t i) {
  return bytes[i] * 256u + bytes[i + 1];
}
inline std::uint32_t at32(const Bytes& bytes, std::size_t i) {
  return at16(bytes, i) << 16 | at16(bytes, i + 2);
}

/// Writes another identification into the IP header that begins there.
inline void rename(Bytes& bytes, std::size_t at, unsigned id) {
  bytes[at + 4] = static_cast<std::uint8_t>(id >> 8);
  bytes[at + 5] = static_cast<std::uint8_t>(id);
  bytes[at + 10] = bytes[at + 11] = 0;
  const Bytes sum = be16(internet_checksum(part(bytes, at, (bytes[at] & 15u) * 4u)));
  bytes[at + 10] = sum[0];
  bytes[at + 11] = sum[1];
}

// ---------------------------------------------------------------- frames

inline std::uint32_t ip_number(const std::string& dotted) {
  unsigned a, b, c, d;
  if (std::sscanf(dotted.c_str(), "%u.%u.%u.%u", &a, &b, &c, &d) != 4)
    throw std::invalid_argument(dotted);
  return a << 24 | b << 16 | c << 8 | d;
}

/// "02:00:00:00:00:01"
inline Bytes mac_bytes(const std::string& text) {
  std::string plain;
  for (const char c : text)
    if (c != ':') plain += c;
  return hex(plain);
}

inline const std::string kEverybody = "ff:ff:ff:ff:ff:ff";
inline const std::string kGateway = "02:aa:00:00:00:fe";
inline const std::string kHost = "02:bb:00:00:00:07";
inline const std::string kNobody = "00:00:00:00:00:00";
inline const std::string kInsideMac = "02:00:00:00:00:01";
inline const std::string kOutsideMac = "02:00:00:00:00:02";

/// `vlan` 0: untagged.
inline Bytes ethernet(const std::string& to, const std::string& from, unsigned type,
                      const Bytes& payload, unsigned vlan = 0) {
  Bytes frame = mac_bytes(to) + mac_bytes(from);
  if (vlan != 0) frame = frame + be16(0x8100) + be16(vlan);
  return frame + be16(type) + payload;
}

/// An ARP frame, padded to 60 bytes.
struct Arp {
  std::string to, from;  ///< of the frame
  unsigned operation;    ///< 1 request, 2 reply
  std::string sender_mac, sender_ip, target_mac, target_ip;
  unsigned vlan = 0;

  [[nodiscard]] Bytes body() const {
    return hex("0001 0800 06 04") + be16(operation) + mac_bytes(sender_mac) +
           be32(ip_number(sender_ip)) + mac_bytes(target_mac) + be32(ip_number(target_ip));
  }
  [[nodiscard]] Bytes frame() const {
    Bytes bytes = ethernet(to, from, 0x0806, body(), vlan);
    bytes.resize(60);
    return bytes;
  }
};

struct Ip {
  std::string source, destination;
  unsigned protocol = 17;
  unsigned id = 0x1234;
  bool dont_fragment = false, more_fragments = false;
  unsigned offset = 0;  ///< bytes
  unsigned ttl = 64;
  unsigned tos = 0;
  Bytes options = {};

  /// The whole packet, checksum and all.
  [[nodiscard]] Bytes with(const Bytes& payload) const {
    Bytes header = {static_cast<std::uint8_t>(0x40 + (20 + options.size()) / 4),
                    static_cast<std::uint8_t>(tos)};
    header = header + be16(static_cast<unsigned>(20 + options.size() + payload.size())) + be16(id) +
             be16((dont_fragment ? 0x4000u : 0u) + (more_fragments ? 0x2000u : 0u) + offset / 8) +
             Bytes{static_cast<std::uint8_t>(ttl), static_cast<std::uint8_t>(protocol), 0, 0} +
             be32(ip_number(source)) + be32(ip_number(destination)) + options;
    const Bytes sum = be16(internet_checksum(header));
    header[10] = sum[0];
    header[11] = sum[1];
    return header + payload;
  }
};

/// `rest`: the four bytes behind the checksum.
inline Bytes icmp(unsigned type, unsigned code, std::uint32_t rest, const Bytes& payload) {
  Bytes message = Bytes{static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(code), 0, 0} +
                  be32(rest) + payload;
  const Bytes sum = be16(internet_checksum(message));
  message[2] = sum[0];
  message[3] = sum[1];
  return message;
}

/// Without checksum.
inline Bytes udp(unsigned source, unsigned destination, const Bytes& payload) {
  return be16(source) + be16(destination) + be16(static_cast<unsigned>(8 + payload.size())) +
         be16(0) + payload;
}

/// 20 bytes, no options, the checksum left zero.
inline Bytes tcp(unsigned source, unsigned destination, unsigned flags, const Bytes& payload) {
  return be16(source) + be16(destination) + be32(1) + be32(0) +
         Bytes{0x50, static_cast<std::uint8_t>(flags)} + be16(1024) + be16(0) + be16(0) + payload;
}

// ---------------------------------------------------------------- the shard

/// Zeroed memory from the heap, to the byte: the address sanitizer sees a step beside a table.
class HeapMemory final : public state::ZeroedMemory {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* address = ::operator new(bytes, std::align_val_t{alignment});
    std::memset(address, 0, bytes);
    return address;
  }
  void do_deallocate(void* address, std::size_t, std::size_t alignment) override {
    ::operator delete(address, std::align_val_t{alignment});
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

struct PoolFree {
  void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
};

inline wire::Be32 ip(const std::string& dotted) {
  return wire::Be32::of(ip_number(dotted));
}
inline wire::Ipv4Address address(const std::string& dotted) {
  return wire::Ipv4Address{ip_number(dotted)};
}

inline wire::Ipv4Prefix prefix(const std::string& dotted, unsigned length) {
  return {address(dotted), length};
}

class Workbench : public ::testing::Test {
 protected:
  static constexpr unsigned kBuffers = 4095;
  static constexpr std::uint16_t kRoom = 2048 + RTE_PKTMBUF_HEADROOM;

  Workbench() {
    test::start_eal();
    static unsigned count = 0;
    pool_.reset(rte_pktmbuf_pool_create(("bench" + std::to_string(count++)).c_str(), kBuffers, 0,
                                        kBufferPrivateSize, kRoom, SOCKET_ID_ANY));
    if (pool_ == nullptr) throw std::runtime_error("no packet buffers");
    generation.interfaces = {
        {"inside", Side::kInside, 0, 0, 1500, prefix("192.0.2.1", 24)},
        {"outside", Side::kOutside, 1, 0, 1500, prefix("198.51.100.1", 24)},
        {"tagged", Side::kOutside, 1, 100, 1400, prefix("203.0.113.1", 28)},
    };
    generation.maps = {std::make_shared<ShardMap>()};
    set_pool({{address("198.51.100.8"), address("198.51.100.10")},
              {address("100.64.7.1"), address("100.64.7.1")}});
    set_routes();
    make_shard(64);
  }

  ~Workbench() override {
    if (shard != nullptr) release_packets(*shard);
    EXPECT_EQ(rte_mempool_avail_count(pool_.get()), kBuffers) << "a packet buffer was lost";
  }

  /// A new shard in the place of the old one.
  void make_shard(std::uint32_t max_fragments) {
    if (shard != nullptr) release_packets(*shard);
    ShardConfig config;
    config.max_sessions = 16;
    config.max_fragments = max_fragments;
    config.log_records = 16;
    config.links = {{{2, 0, 0, 0, 0, 1}, Side::kInside},
                    {{2, 0, 0, 0, 0, 2}, Side::kOutside},
                    {{2, 0, 0, 0, 0, 2}, Side::kOutside}};
    config.devices = 2;
    config.buffers = pool_.get();
    config.memory = &memory_;
    config.seed.fill(7);
    config.now = state::Ticks{4'294'967'000};  // the clock wraps within the test
    shard = std::make_unique<Shard>(config);
    shard->generation = &generation;
    shard->ingress[0][0] = 0;
    shard->ingress[1][0] = 1;
    shard->ingress[1][100] = 2;
  }

  void set_pool(std::vector<wire::Ipv4Range> ranges) {
    const PoolRanges pool{0, std::move(ranges)};
    generation.nat_addresses = NatAddressMap({&pool, 1}, 1);
  }

  void set_routes() {
    std::vector<IntervalMap<Route>::Range> routes;
    const auto add = [&](const wire::Ipv4Prefix& to, InterfaceId interface, const char* via) {
      routes.push_back({to.first().value, to.last().value, {interface, address(via)}});
    };
    for (InterfaceId i = 0; i < generation.interfaces.size(); ++i)
      add(generation.interfaces[i].address, i, "0.0.0.0");
    generation.index_link_addresses();
    add(prefix("0.0.0.0", 0), 1, "198.51.100.254");
    add(prefix("10.0.0.0", 8), 1, "198.51.100.253");
    add(prefix("10.9.0.0", 16), 2, "203.0.113.14");
    add(prefix("172.16.0.0", 12), 0, "192.0.2.254");
    generation.index_routes(routes);
  }

  void pass(state::TickDuration time) { shard->now += time; }
  /// Time goes by in steps of a tenth of a second, with housekeeping.
  void live(state::TickDuration time) {
    for (; time.count() > 0; time -= state::TickDuration{10}) {
      pass(state::TickDuration{10});
      shard->neighbours.advance(*shard, 32);
      shard->reassembly.advance(*shard, 32);
    }
  }

  /// A buffer with these bytes, cut into segments of at most `segment` bytes.
  rte_mbuf* buffer(const Bytes& bytes, std::size_t segment = kRoom) {
    rte_mbuf* first = nullptr;
    for (std::size_t done = 0; done < bytes.size() || first == nullptr;) {
      rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_.get());
      EXPECT_NE(mbuf, nullptr);
      const std::size_t room = rte_pktmbuf_tailroom(mbuf);
      const std::size_t size = std::min({segment, room, bytes.size() - done});
      std::memcpy(rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(size)), bytes.data() + done,
                  size);
      done += size;
      if (first == nullptr) {
        first = mbuf;
      } else {
        EXPECT_EQ(rte_pktmbuf_chain(first, mbuf), 0);
      }
    }
    return first;
  }

  static Bytes bytes_of(const rte_mbuf* mbuf) {
    Bytes bytes;
    for (const rte_mbuf* segment = mbuf; segment != nullptr; segment = segment->next) {
      const auto* data = rte_pktmbuf_mtod(segment, const std::uint8_t*);
      bytes.insert(bytes.end(), data, data + segment->data_len);
    }
    const char* why = nullptr;
    EXPECT_EQ(rte_mbuf_check(mbuf, 1, &why), 0) << why;
    EXPECT_EQ(bytes.size(), mbuf->pkt_len);
    return bytes;
  }

  /// The frames that stand in a device's transmit buffer, which is then empty.
  std::vector<Bytes> sent(std::uint16_t device) {
    std::vector<Bytes> frames;
    TxBuffer& tx = shard->tx[device];
    for (std::uint32_t i = 0; i < tx.count; ++i) {
      frames.push_back(bytes_of(tx.packets[i]));
      rte_pktmbuf_free(tx.packets[i]);
    }
    tx.count = 0;
    return frames;
  }

  /// The IP packets within the frames that were sent, without link headers.
  std::vector<Bytes> sent_packets(std::uint16_t device, std::size_t link = 14) {
    std::vector<Bytes> packets = sent(device);
    for (Bytes& packet : packets) packet.erase(packet.begin(), packet.begin() + link);
    return packets;
  }

  /// What the link brings, as far as the ARP room sees it.
  Verdict arp(InterfaceId interface, const Arp& packet,
              Neighbours::Answer answer = Neighbours::Answer::kYes) {
    const Bytes body = packet.body();
    return shard->neighbours.arp_received(
        *shard, interface, *wire::ArpHeader::parse({body.data(), body.size()}), answer);
  }

  /// Makes a neighbour answer that has been asked, or speak to us unasked.
  void resolved(InterfaceId interface, const std::string& ip_text, const std::string& mac) {
    const Interface& on = generation.interfaces[interface];
    const std::string own = wire::to_string(on.address.address);
    const std::string own_mac = interface == 0 ? kInsideMac : kOutsideMac;
    EXPECT_EQ(arp(interface, {own_mac, mac, 2, mac, ip_text, own_mac, own}), Verdict::consumed());
  }

  /// Sends an IP packet to where its destination is routed.
  void send_to(const std::string& destination, const Bytes& packet, std::size_t segment = kRoom) {
    const auto hop = resolve(*shard, {wire::Ipv4Address{ip(destination)}}, {});
    ASSERT_TRUE(hop.has_value());
    ASSERT_NE(hop->neighbour, kNoNeighbour);
    rte_mbuf* mbuf = buffer(packet, segment);
    send(*shard, mbuf, rte_pktmbuf_mtod(mbuf, wire::Ipv4Header*), hop->neighbour);
  }

  /// A frame as parse leaves it.
  Packet received(std::uint16_t device, const Bytes& frame, std::size_t segment = kRoom) {
    Packet packet;
    rte_mbuf* mbuf = buffer(frame, segment);
    std::uint64_t mark = 0;
    EXPECT_EQ(parse_frame(*shard, device, mbuf, packet, mark), Verdict::next());
    EXPECT_EQ(parse_ip(packet, mark, 0), Verdict::next());
    return packet;
  }

  void free(const Packet& packet) { rte_pktmbuf_free(packet.mbuf); }

  [[nodiscard]] std::uint64_t dropped(DropReason reason) const {
    return shard->counters.dropped(reason);
  }
  [[nodiscard]] std::uint64_t drops() const {
    return std::accumulate(
        shard->counters.drops.begin(), shard->counters.drops.end(), std::uint64_t{0},
        [](std::uint64_t sum, const Counter& counter) { return sum + counter.get(); });
  }

  std::unique_ptr<rte_mempool, PoolFree> pool_;
  HeapMemory memory_;
  Generation generation;
  std::unique_ptr<Shard> shard;
};

}  // namespace lsn::datapath::bench
