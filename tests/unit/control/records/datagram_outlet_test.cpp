// Messages over UDP: what cannot be sent now, and what never can.
#include "lsn/control/records/datagram_outlet.hpp"

#include "unit/control/captured_log.hpp"
#include "unit/control/records/failing_calls.hpp"
#include "unit/control/records/support.hpp"
#include "unit/control/records/udp_receiver.hpp"

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(DatagramOutlet, AMessageThatNoDatagramHolds_IsLostAndSaidAndTheOthersGo) {
  UdpReceiver receiver;
  const CapturedLog log;
  DatagramOutlet outlet("syslog UDP", receiver.endpoint());
  const std::vector<std::string> messages{"first", std::string(DatagramOutlet::kLongest + 1, 'x'),
                                          "third"};
  EXPECT_EQ(outlet.send(messages, steady_clock::now() + 1h), 3u);
  EXPECT_THAT(receiver.take(), ElementsAre("first", "third"));
  EXPECT_THAT(log.text(), HasSubstr("too long for a datagram, and lost; 1 in all"));
  EXPECT_EQ(outlet.send(std::vector{std::string(DatagramOutlet::kLongest, 'x')},
                        steady_clock::now() + 1h),
            1u);
  EXPECT_EQ(receiver.take().at(0).size(), DatagramOutlet::kLongest);
}

TEST(DatagramOutlet, AnInterfaceWithoutRoom_IsAskedUntilTheDeadlineOnly) {
  UdpReceiver receiver;
  FailingCalls calls;
  unsigned asked = 0;
  calls.sendmmsg = [&asked](unsigned&) {
    ++asked;
    return ENOBUFS;
  };
  DatagramOutlet outlet("test", receiver.endpoint());
  EXPECT_EQ(outlet.send(std::vector<std::string>{"one"}, steady_clock::now() - 1ms), 0u);
  EXPECT_EQ(asked, 1u);
  calls.sendmmsg = nullptr;
  EXPECT_EQ(outlet.send(std::vector<std::string>{"one"}, steady_clock::now() - 1ms), 1u);
}

}  // namespace
}  // namespace lsn::control
