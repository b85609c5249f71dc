// TFTP (RFC 1350): the server answers a request to port 69 from another port, and the transfer goes
// on between that port and the client's.
#include "scenario.hpp"

namespace lsn::test {
namespace {

constexpr Ip kTftpServer = "198.18.3.3";

class Tftp : public Scenario {};

INSTANTIATE_TEST_SUITE_P(All, Tftp, shardings(), sharding_name);

TEST_P(Tftp, EndpointIndependentProfileForPort69_LetsATransferThrough) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent, 69, 69);
  start(config);
  const Endpoint nat = translated(udp(kClient, {kTftpServer, 69}, pattern(20)));
  // The first block comes from the port of the transfer; its session is that port's from then on,
  // and keeps the NAT endpoint although no profile covers that port.
  const Endpoint transfer{kTftpServer, 50123};
  returned(udp(transfer, nat, pattern(516)), kClient);
  for (unsigned block = 0; block < 3; ++block) {
    translated_to(udp(kClient, transfer, pattern(4)), nat);
    returned(udp(transfer, nat, pattern(516)), kClient);
  }
}

TEST_P(Tftp, WithoutSuchAProfile_TheAnswerIsFiltered) {
  start();
  const Endpoint nat = translated(udp(kClient, {kTftpServer, 69}, pattern(20)));
  refused_from_outside(udp({kTftpServer, 50123}, nat, pattern(516)), DropReason::kFiltered);
}

TEST_P(Tftp, TwoTransfersOfASubscriber_DoNotMix) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent, 69, 69);
  start(config);
  const Endpoint second{kClient.ip, 40001};
  const Endpoint one = translated(udp(kClient, {kTftpServer, 69}));
  const Endpoint other_one = translated(udp(second, {kTftpServer, 69}));
  returned(udp({kTftpServer, 50001}, one), kClient);
  returned(udp({kTftpServer, 50002}, other_one), second);
  translated_to(udp(second, {kTftpServer, 50002}), other_one);
  translated_to(udp(kClient, {kTftpServer, 50001}), one);
}

}  // namespace
}  // namespace lsn::test
