// Many VLANs on a box: each interface counts its own packets, and traffic finds its way back to
// each.
#include "scenario.hpp"

namespace lsn::test {
namespace {

class Interfaces : public Scenario {
 protected:
  static constexpr unsigned kVlans = 1100;

  static std::string third(unsigned k) {
    return std::to_string(k / 256) + "." + std::to_string(k % 256);
  }

  /// Behind the standard ones: VLAN k + 1 of the inside device, 10.x.y.1/24.
  static Config many() {
    Config config = Config::standard();
    for (unsigned k = 0; k < kVlans; ++k)
      config.interfaces.push_back(
          {"in" + std::to_string(k), Side::kInside, "10." + third(k) + ".1/24", 0, k + 1});
    config.group().clients.push_back(Network{std::string_view{"10.0.0.0/8"}});
    return config;
  }
};

TEST_P(Interfaces, AThousandVlans_CountAndForwardSeparately) {
  start(many());
  for (unsigned k = 0; k < kVlans; k += 7) {
    const unsigned interface = 2 + k;
    const Endpoint client{Ip{std::string_view{"10." + third(k) + ".9"}}, 4000};
    for (const auto& frame : lab().send(interface, udp(client, kServer).bytes())) {
      EXPECT_EQ(frame.device, 1u);
      const Bytes& b = frame.bytes;
      const Endpoint nat{Ip{get32(b, 26)}, static_cast<std::uint16_t>(get16(b, 34))};
      const auto answers = lab().from_outside(udp(kServer, nat).bytes());
      ASSERT_EQ(answers.size(), 1u) << "interface " << interface;
      EXPECT_EQ(answers[0].device, 0u);
      EXPECT_EQ(get16(answers[0].bytes, 12), 0x8100u);
      EXPECT_EQ(get16(answers[0].bytes, 14) & 0xFFFu, k + 1);
    }
  }
  for (unsigned i = 0; i < 2 + kVlans; ++i) {
    const bool used = i >= 2 && (i - 2) % 7 == 0;
    const auto of = [&](auto direction) {
      return lab().total([&](const Counters& c) -> const shared::Counter& {
        return (c.interfaces[i].*direction).packets;
      });
    };
    if (i == 1) continue;  // all of them
    // What comes in is an answer to our ARP request, too.
    EXPECT_EQ(of(&shared::InterfaceCounters::rx) >= 1, used) << "interface " << i;
    EXPECT_EQ(of(&shared::InterfaceCounters::tx), used ? 1u : 0u) << "interface " << i;
  }
}

TEST_P(Interfaces, EchoRequestToOneOfAThousandVlanAddresses_IsAnswered) {
  start(many());
  const unsigned k = kVlans - 1;
  const Endpoint client{Ip{std::string_view{"10." + third(k) + ".9"}}, 7};
  const Ip ours{std::string_view{"10." + third(k) + ".1"}};
  const auto answers = lab().send(2 + k, ping(client, ours).bytes());
  ASSERT_EQ(answers.size(), 1u);
  const IpPacket answer = pong(ours, client).with_id(get16(answers[0].bytes, 18 + 4));
  EXPECT_EQ(hexdump(answers[0].bytes),
            hexdump(lab().frame_to(2 + k, client.ip, answer.bytes()).bytes));
}

INSTANTIATE_TEST_SUITE_P(Sharded, Interfaces, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
