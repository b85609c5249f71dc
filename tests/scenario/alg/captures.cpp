// Real captures (captures/README.md) through the packet path, as many clients at once: behind one
// NAT address, towards one server. Addresses are rewritten, and in the copies the SPIs of IKE and
// ESP, so that each copy is a client of its own; all else is what real daemons sent. Each copy goes
// on when its packet has arrived, which a message that must wait does later than it was sent. Every
// packet must arrive, byte for byte, where it belongs.
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

struct Captured {
  bool from_client = false;
  unsigned client = 0;  ///< 0 or 1
  IpPacket packet;      ///< addresses and ports as captured
};

std::uint32_t little32(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i)
    value |= std::uint32_t{static_cast<std::uint8_t>(bytes.at(at + i))} << (8 * i);
  return value;
}

/// Reads a capture of Ethernet frames (libpcap's classic format).
std::vector<Captured> read_capture(const std::string& name) {
  std::ifstream file(std::string(LSN_CAPTURES) + "/" + name, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() < 24 || little32(bytes, 0) != 0xA1B2C3D4 || little32(bytes, 20) != 1)
    throw std::runtime_error(name + " is no capture of Ethernet");
  std::vector<Captured> all;
  for (std::size_t at = 24; at + 16 <= bytes.size();) {
    const std::size_t size = little32(bytes, at + 8);
    const Bytes frame(bytes.begin() + static_cast<std::ptrdiff_t>(at) + 16,
                      bytes.begin() + static_cast<std::ptrdiff_t>(at + 16 + size));
    at += 16 + size;
    if (get16(frame, 12) != kTypeIpv4) continue;
    const ByteView ip = ByteView{frame}.subspan(14, get16(frame, 16));
    if (get8(ip, 0) != 0x45 || (get16(ip, 6) & 0x3FFF) != 0) continue;
    const unsigned protocol = get8(ip, 9);
    if (protocol != kUdp && protocol != 50) continue;
    Captured c;
    c.packet.source = Ip{get32(ip, 12)};
    c.packet.destination = Ip{get32(ip, 16)};
    c.packet.tos = get8(ip, 1);
    c.packet.id = get16(ip, 4);
    c.packet.dont_fragment = (get16(ip, 6) & 0x4000) != 0;
    c.packet.ttl = get8(ip, 8);
    c.packet.protocol = protocol;
    ByteView payload = ip.subspan(20);
    if (protocol == kUdp) {
      c.packet.source_port = get16(payload, 0);
      c.packet.destination_port = get16(payload, 2);
      if (c.packet.source_port != 500 || c.packet.destination_port != 500) continue;
      payload = payload.subspan(8);
    }
    c.packet.payload.assign(payload.begin(), payload.end());
    c.from_client = c.packet.destination == Ip{"198.51.100.10"};
    c.client = (c.from_client ? c.packet.source : c.packet.destination) == Ip{"192.0.2.11"} ? 0 : 1;
    all.push_back(std::move(c));
  }
  return all;
}

class AlgCaptures : public Alg {
 protected:
  /// One client that lives through what a captured one did.
  struct Copy {
    Ip ip;
    unsigned number;
    const std::vector<Captured>* script;
    unsigned client;
    std::size_t next = 0;
    Endpoint nat{kN, 0};
    std::optional<Frame> expected{};  ///< it waits for that one to arrive
  };

  void replay(const std::string& name, unsigned copies) {
    start();
    const std::vector<Captured> script = read_capture(name);
    ASSERT_GT(script.size(), 60u);
    std::vector<Copy> all;
    for (unsigned i = 0; i < 2 * copies; ++i) {
      all.push_back({client_ip(i + 1), i / 2, &script, i % 2});
      find_next(all.back());
    }
    std::size_t left = 0;
    for (const Copy& copy : all)
      for (const Captured& c : script) left += c.client == copy.client;
    unsigned idle = 0;
    while (left != 0 && idle < 3000 && !HasFailure()) {
      std::size_t arrived = 0;
      for (Copy& copy : all) {
        if (copy.expected || copy.next == script.size()) continue;
        arrived += arrive(all, send(copy));
      }
      if (arrived == 0) arrived = arrive(all, lab().advance(100ms));
      left -= arrived;
      idle = arrived == 0 ? idle + 1 : 0;
    }
    EXPECT_EQ(left, 0u) << "packets did not arrive";
    expect_drops({});
    EXPECT_GT(counted(AlgCounter::kHeld), 0u) << "nobody had to wait";
    EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);
  }

 private:
  void find_next(Copy& copy) {
    while (copy.next < copy.script->size() && (*copy.script)[copy.next].client != copy.client)
      ++copy.next;
  }

  /// Its next packet, with addresses and SPIs of its own.
  std::vector<Frame> send(Copy& copy) {
    const Captured& c = (*copy.script)[copy.next];
    IpPacket packet = c.packet;
    const auto change = [&](std::size_t at) {
      packet.payload.at(at) = static_cast<std::uint8_t>(packet.payload.at(at) ^ copy.number);
    };
    change(3);  // the last byte of an ESP SPI, one of the initiator's SPI
    if (packet.protocol == kUdp) change(11);
    const Endpoint client{copy.ip, static_cast<std::uint16_t>(packet.protocol == kUdp ? 500 : 0)};
    const Endpoint server{kS, client.port};
    if (c.from_client) {
      packet = packet.from(client).to(server);
      if (packet.protocol == kUdp && copy.nat.port == 0) {  // the mapping's port is its first one's
        const std::vector<Frame> frames = lab().from_inside(packet.bytes());
        if (frames.size() != 1) return frames;
        copy.nat = source_of(behind_link(frames[0].bytes));
        EXPECT_EQ(copy.nat.ip, kN);
        copy.expected = lab().to_outside(packet.from(copy.nat).hop());
        return frames;
      }
      copy.expected = lab().to_outside(
          packet.from({kN, packet.protocol == kUdp ? copy.nat.port : std::uint16_t{0}}).hop());
      return lab().from_inside(packet.bytes());
    }
    packet =
        packet.from(server).to({kN, packet.protocol == kUdp ? copy.nat.port : std::uint16_t{0}});
    copy.expected = lab().to_inside(packet.to(client).hop());
    return lab().from_outside(packet.bytes());
  }

  std::size_t arrive(std::vector<Copy>& all, const std::vector<Frame>& frames) {
    for (const Frame& frame : frames) {
      const auto whose = std::find_if(all.begin(), all.end(), [&](const Copy& copy) {
        return copy.expected && *copy.expected == frame;
      });
      if (whose == all.end()) {
        ADD_FAILURE() << "nobody expects " << summary_of_frame(frame.bytes);
        continue;
      }
      whose->expected.reset();
      ++whose->next;
      find_next(*whose);
    }
    return frames.size();
  }
};

TEST_P(AlgCaptures, Ikev1OfTwentyClientsAtOnce) {
  replay("v1.pcap", 10);
}
TEST_P(AlgCaptures, Ikev2OfTwentyClientsAtOnce) {
  replay("v2.pcap", 10);
}

INSTANTIATE_TEST_SUITE_P(, AlgCaptures, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
