// TCP as a NAT sees it (RFC 5382, RFC 7857): opening, closing, timeouts, and what is no connection.
#include "scenario.hpp"

namespace lsn::test {
namespace {

class Tcp : public Scenario {
 protected:
  [[nodiscard]] IpPacket out(unsigned flags, Bytes payload = {}) const {
    return tcp(kClient, kServer, flags, std::move(payload));
  }
  [[nodiscard]] IpPacket in(unsigned flags, Bytes payload = {}) const {
    return tcp(kServer, nat_, flags, std::move(payload));
  }
  void goes_out(unsigned flags, Where where = Where::current()) {
    translated_to(out(flags), nat_, where);
  }
  void comes_in(unsigned flags, Where where = Where::current()) {
    returned(in(flags), kClient, where);
  }
  /// Three packets.
  void connect(Where where = Where::current()) {
    nat_ = translated(out(kSyn), where);
    comes_in(kSyn | kAck, where);
    goes_out(kAck, where);
  }
  void close_both(Where where = Where::current()) {
    goes_out(kFin | kAck, where);
    comes_in(kFin | kAck, where);
    goes_out(kAck, where);
  }
  void expect_state(SessionState state, Where where = Where::current()) {
    const std::vector<SessionRow> rows = sessions();
    if (rows.size() != 1)
      fail(where) << rows.size() << " sessions";
    else if (rows[0].state != state)
      fail(where) << "state " << static_cast<int>(rows[0].state) << ", expected "
                  << static_cast<int>(state);
  }
  void expect_alive(bool alive, Where where = Where::current()) {
    if ((lab().session_count(Protocol::kTcp) == 1) != alive)
      fail(where) << (alive ? "the session is gone" : "the session is still there");
  }
  /// It lives until just before, and not much longer.
  void ends_after(std::chrono::milliseconds time, Where where = Where::current()) {
    lab().advance(time - 200ms);
    expect_alive(true, where);
    lab().advance(400ms);
    expect_alive(false, where);
  }
  Endpoint nat_;
};

TEST_P(Tcp, AHandshakeMakesAnEstablishedSession) {
  start();
  nat_ = translated(out(kSyn).with_tcp_options({2, 4, 5, 0xB4, 1, 3, 3, 7}));
  expect_state(SessionState::kSynSent);
  comes_in(kSyn | kAck);
  expect_state(SessionState::kSynReceived);
  goes_out(kAck);
  expect_state(SessionState::kEstablished);
  translated_to(out(kAck | kPsh, pattern(1000)), nat_);
  returned(in(kAck | kPsh, pattern(1460, 3)), kClient);
  expect_state(SessionState::kEstablished);
}

TEST_P(Tcp, SessionRow_HasEndpointsStateAgeAndTraffic) {
  start();
  connect();
  lab().advance(5s);
  const std::vector<SessionRow> rows = sessions();
  ASSERT_EQ(rows.size(), 1u);
  const SessionRow& row = rows[0];
  EXPECT_EQ(row.protocol, Protocol::kTcp);
  EXPECT_EQ(row.direction, Direction::kOutbound);
  EXPECT_FALSE(row.hairpin);
  EXPECT_EQ(row.subscriber_ip.value, kClient.ip.value);
  EXPECT_EQ(row.subscriber_port, kClient.port);
  EXPECT_EQ(row.nat_ip.value, nat_.ip.value);
  EXPECT_EQ(row.nat_port, nat_.port);
  EXPECT_EQ(row.remote_ip.value, kServer.ip.value);
  EXPECT_EQ(row.remote_port, kServer.port);
  EXPECT_EQ(row.idle_seconds, 5u);
  EXPECT_EQ(row.age_seconds, 5u);
  EXPECT_EQ(row.packets[0], 2u);
  EXPECT_EQ(row.bytes[0], 80u);
  EXPECT_EQ(row.packets[1], 1u);
  EXPECT_EQ(row.bytes[1], 40u);
}

TEST_P(Tcp, OutboundNonSyn_IsDroppedWithoutASession) {
  start();
  for (const unsigned flags : {kAck, kSyn | kAck, kFin | kAck, kRst, kRst | kAck, kPsh | kAck, 0u,
                               kSyn | kFin, kSyn | kRst, kSyn | kFin | kRst | kAck})
    refused_from_inside(out(flags), DropReason::kTcpNotSyn);
  EXPECT_EQ(lab().session_count(Protocol::kTcp), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(Tcp, EndpointIndependentFiltering_AdmitsAnInboundSynOnly) {
  Config config = Config::standard();
  config.group().app(Protocol::kTcp, kEndpointIndependent);
  start(config);
  nat_ = translated(out(kSyn));
  const Endpoint unsolicited = {"198.18.0.7", 1234};
  for (const unsigned flags : {kAck, kSyn | kAck, kFin | kAck, kRst})
    refused_from_outside(tcp(unsolicited, nat_, flags), DropReason::kTcpNotSyn);
  returned(tcp(unsolicited, nat_, kSyn), kClient);
  // RFC 5382 REQ-2: the answer goes back from the same NAT endpoint.
  translated_to(tcp(kClient, unsolicited, kSyn | kAck), nat_);
  returned(tcp(unsolicited, nat_, kAck), kClient);
  const std::vector<SessionRow> rows = sessions();
  EXPECT_EQ(count(rows,
                  [&](const SessionRow& r) {
                    return r.direction == Direction::kInbound &&
                           r.state == SessionState::kEstablished &&
                           r.remote_ip.value == unsolicited.ip.value;
                  }),
            1u);
}

TEST_P(Tcp, SyncheckOff_TakesOverAConnectionMidStream) {
  Config config = Config::standard();
  config.group().tcp().syn_check = false;
  start(config);
  refused_from_inside(out(kRst), DropReason::kTcpNotSyn);
  nat_ = translated(out(kAck | kPsh, pattern(10)));
  expect_state(SessionState::kEstablished);
  comes_in(kAck);
  ends_after(120s);
}

TEST_P(Tcp, SimultaneousOpen_EstablishesOneSession) {
  start();
  nat_ = translated(out(kSyn));
  comes_in(kSyn);  // not SYN+ACK: RFC 9293 section 3.5, RFC 5382 REQ-2
  expect_state(SessionState::kSynReceived);
  goes_out(kSyn | kAck);
  expect_state(SessionState::kSynReceived);
  comes_in(kSyn | kAck);
  expect_state(SessionState::kEstablished);
  goes_out(kAck);
  EXPECT_EQ(lab().session_count(Protocol::kTcp), 1u);
}

TEST_P(Tcp, AnUnansweredSynEndsAfterSynidletimeout) {
  Config config = Config::standard();
  config.group().tcp().syn_idle_timeout = 40s;
  start(config);
  nat_ = translated(out(kSyn));
  ends_after(40s);
  refused_from_outside(in(kSyn | kAck), DropReason::kNoMapping);
}

TEST_P(Tcp, UnansweredInboundSyn_EndsAfterSynidletimeout) {
  Config config = Config::standard();
  config.group().app(Protocol::kTcp, kEndpointIndependent);
  config.group().tcp().syn_idle_timeout = 40s;
  start(config);
  nat_ = translated(out(kSyn));
  lab().advance(41s);
  ASSERT_EQ(lab().session_count(Protocol::kTcp), 0u);
  returned(tcp({"198.18.0.7", 1234}, nat_, kSyn), kClient);
  expect_state(SessionState::kSynReceived);
  ends_after(40s);
}

TEST_P(Tcp, AnEstablishedSessionEndsAfterSessiontimeoutOfSilence) {
  Config config = Config::standard();
  config.group().tcp().session_timeout = 200s;
  start(config);
  connect();
  for (int i = 0; i < 5; ++i) {
    lab().advance(190s);
    goes_out(kAck);
  }
  ends_after(200s);
  refused_from_outside(in(kAck), DropReason::kNoMapping);
  refused_from_inside(out(kAck), DropReason::kTcpNotSyn);
}

TEST_P(Tcp, FinOfTheSubscriber_KeepsTheHalfClosedSession) {
  start();
  connect();
  goes_out(kFin | kAck);
  expect_state(SessionState::kFinOutbound);
  lab().advance(100s);
  returned(in(kAck | kPsh, pattern(500)), kClient);
  goes_out(kAck);
  ends_after(120s);
}

TEST_P(Tcp, FinOfTheServer_KeepsTheHalfClosedSession) {
  start();
  connect();
  comes_in(kFin | kAck);
  expect_state(SessionState::kFinInbound);
  lab().advance(100s);
  translated_to(out(kAck | kPsh, pattern(500)), nat_);
  ends_after(120s);
}

TEST_P(Tcp, FinOfBothSides_EndsTheSessionAfterFinrsttimeout) {
  start();
  connect();
  close_both();
  expect_state(SessionState::kClosing);
  // The last acknowledgments and repetitions pass.
  comes_in(kAck);
  goes_out(kFin | kAck);
  ends_after(30s);
}

TEST_P(Tcp, FinrsttimeoutIsTakenFromTheProfile) {
  Config config = Config::standard();
  config.group().tcp().fin_rst_timeout = 7s;
  start(config);
  connect();
  close_both();
  ends_after(7s);
}

TEST_P(Tcp, RstOfTheSubscriber_EndsTheSessionAfterFourMinutes) {
  Config config = Config::standard();
  config.group().tcp().session_timeout = 7440s;
  start(config);
  connect();
  goes_out(kRst);
  expect_state(SessionState::kClosing);
  ends_after(240s);  // RFC 7857 section 2
}

TEST_P(Tcp, RstOfTheServer_EndsTheSessionAfterFourMinutes) {
  Config config = Config::standard();
  config.group().tcp().session_timeout = 7440s;
  start(config);
  connect();
  comes_in(kRst | kAck);
  expect_state(SessionState::kClosing);
  ends_after(240s);
}

TEST_P(Tcp, RstWithALongerFinrsttimeout_EndsTheSessionAfterFinrsttimeout) {
  Config config = Config::standard();
  config.group().tcp().session_timeout = 7440s;
  config.group().tcp().fin_rst_timeout = 300s;
  start(config);
  connect();
  comes_in(kRst);
  ends_after(300s);
}

TEST_P(Tcp, RstAfterBothFins_EndsTheSessionAfterFinrsttimeout) {
  start();
  connect();
  close_both();
  lab().advance(10s);
  comes_in(kRst);
  expect_state(SessionState::kClosing);
  ends_after(30s);
}

// RFC 7857 section 7.1: an answer to somebody who tries again and again keeps nothing alive.
TEST_P(Tcp, ARstOfTheSubscriber_DoesNotRefreshTheSession) {
  Config config = Config::standard();
  config.inbound_refresh = false;
  config.group().tcp().session_timeout = 400s;
  start(config);
  connect();
  for (int i = 0; i < 3; ++i) {
    lab().advance(80s);
    comes_in(kAck | kPsh);
    goes_out(kRst);
    expect_state(SessionState::kClosing);
  }
  ends_after(80s);  // four minutes after the first one, though it was alive in between
}

TEST_P(Tcp, ARstOfTheSubscriber_EndsAClosingSessionWhenItWouldHaveEnded) {
  start();
  connect();
  close_both();
  lab().advance(10s);
  goes_out(kRst);
  lab().advance(10s);
  goes_out(kRst);
  ends_after(10s);
}

TEST_P(Tcp, ARstOfTheSubscriber_DoesNotProlongAnAttemptFromOutside) {
  Config config = Config::standard();
  config.group().app(Protocol::kTcp, kEndpointIndependent);
  config.inbound_refresh = false;
  config.group().tcp().syn_idle_timeout = 60s;
  config.group().tcp().fin_rst_timeout = 30s;
  start(config);
  nat_ = translated(out(kSyn));
  lab().advance(61s);
  const Endpoint stranger = {"198.18.0.7", 1234};
  returned(tcp(stranger, nat_, kSyn), kClient);
  lab().advance(5s);
  translated_to(tcp(kClient, stranger, kRst | kAck), nat_);
  lab().advance(10s);
  returned(tcp(stranger, nat_, kSyn).with_numbers(0x70000000, 0), kClient);
  translated_to(tcp(kClient, stranger, kRst | kAck).with_numbers(0, 0x70000001), nat_);
  ends_after(20s);
}

TEST_P(Tcp, ARstAfterOneFinEndsTheSessionAfterFourMinutes) {
  Config config = Config::standard();
  config.group().tcp().session_timeout = 7440s;
  start(config);
  connect();
  goes_out(kFin | kAck);
  comes_in(kRst);
  expect_state(SessionState::kClosing);
  ends_after(240s);
}

TEST_P(Tcp, RstInAnswerToTheSyn_EndsTheSessionAfterFinrsttimeout) {
  start();
  nat_ = translated(out(kSyn));
  comes_in(kRst | kAck);
  expect_state(SessionState::kClosing);
  ends_after(30s);
}

TEST_P(Tcp, TrafficAfterARst_ReestablishesTheSession) {
  start();
  connect();
  comes_in(kRst);  // its number was guessed
  expect_state(SessionState::kClosing);
  lab().advance(10s);
  goes_out(kAck | kPsh);
  expect_state(SessionState::kEstablished);
  ends_after(120s);
}

// RFC 6888 REQ-8: the server may be in TIME-WAIT for longer than finrsttimeout.
TEST_P(Tcp, TheNatPortOfAClosedConnection_WaitsForPortrealloctimeout) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.3"};
  config.pool().realloc_timeout = 120s;
  start(config);
  connect();
  ASSERT_EQ(take_high_ports(nat_.ip, Protocol::kTcp, 1), 1u);
  close_both();
  ends_after(30s);
  const Endpoint other = {kClient.ip + 1, 40000};
  EXPECT_NE(translated(tcp(other, kServer, kSyn)).port, nat_.port);
  lab().advance(118s);
  expect_unreachable_inside(tcp({kClient.ip + 2, 40000}, kServer, kSyn),
                            DropReason::kPoolExhausted);
  lab().advance(2s);
  EXPECT_EQ(translated(tcp({kClient.ip + 2, 40000}, kServer, kSyn)), nat_);
}

TEST_P(Tcp, SynInTimeWait_ReopensTheSessionOnItsNatEndpoint) {
  start();
  connect();
  close_both();
  lab().advance(10s);
  goes_out(kSyn);  // the same NAT endpoint: RFC 6191, TIME-WAIT
  expect_state(SessionState::kSynSent);
  comes_in(kSyn | kAck);
  goes_out(kAck);
  expect_state(SessionState::kEstablished);
  ends_after(120s);
}

TEST_P(Tcp, UnansweredSynAfterARst_EndsAfterSynidletimeout) {
  start();
  connect();
  goes_out(kRst);
  goes_out(kSyn);
  expect_state(SessionState::kSynSent);
  ends_after(60s);
}

// The subscriber's host has begun again while one FIN was all that had been seen (RFC 6191, RFC
// 7857 section 2). That FIN is forgotten: one of the other side does not close the new connection.
TEST_P(Tcp, ASynOfTheSubscriberAfterItsFinBeginsTheConnectionAgain) {
  start();
  connect();
  goes_out(kFin | kAck);
  goes_out(kSyn);
  expect_state(SessionState::kSynSent);
  comes_in(kSyn | kAck);
  goes_out(kAck);
  expect_state(SessionState::kEstablished);
  comes_in(kFin | kAck);
  expect_state(SessionState::kFinInbound);
  ends_after(120s);
}

TEST_P(Tcp, ASynOfTheSubscriberAfterTheServersFinBeginsTheConnectionAgain) {
  start();
  connect();
  comes_in(kFin | kAck);
  goes_out(kSyn);
  expect_state(SessionState::kSynSent);
  comes_in(kSyn | kAck);
  goes_out(kAck);
  expect_state(SessionState::kEstablished);
  goes_out(kFin | kAck);
  expect_state(SessionState::kFinOutbound);
  ends_after(120s);
}

TEST_P(Tcp, InboundSynAfterOneFin_ReopensOnlyWithTheSubscribersSynAck) {
  Config config = Config::standard();
  config.group().tcp().session_timeout = 7440s;
  start(config);
  connect();
  goes_out(kFin | kAck);
  comes_in(kSyn);  // perhaps forged
  expect_state(SessionState::kFinOutbound);
  lab().advance(1000s);
  goes_out(kSyn | kAck);
  expect_state(SessionState::kSynReceived);
  comes_in(kAck);
  expect_state(SessionState::kEstablished);
}

TEST_P(Tcp, ASynOnAnOpenConnectionChangesNothing) {
  Config config = Config::standard();
  config.group().tcp().session_timeout = 7440s;
  start(config);
  connect();
  returned(in(kSyn).with_numbers(0x77000000, 0), kClient);  // RFC 5961 section 4
  translated_to(out(kSyn).with_numbers(0x99000000, 0), nat_);
  expect_state(SessionState::kEstablished);
  returned(in(kRst).with_numbers(0x77000001, 0), kClient);
  expect_state(SessionState::kEstablished);
  ends_after(7440s);
}

// ── sequence numbers (RFC 5961 section 3) ────────────────────────────────────────────────────────

/// A connection with numbers, and windows that are scaled where both sides say so.
class TcpNumbers : public Tcp {
 protected:
  static constexpr int kUnscaled = -1;

  void open(std::uint32_t client, std::uint32_t server, int client_scale = kUnscaled,
            int server_scale = kUnscaled, Where where = Where::current()) {
    Config config = Config::standard();
    config.group().tcp().session_timeout = 7440s;
    start(config);
    client_ = client + 1;
    server_ = server + 1;
    const auto options = [](int scale) {
      // MSS, SACK permitted, a NOP and the scale.
      Bytes bytes = {2, 4, 5, 0xB4, 4, 2};
      if (scale != kUnscaled)
        for (const int byte : {1, 3, 3, scale}) bytes.push_back(static_cast<std::uint8_t>(byte));
      return bytes;
    };
    nat_ = translated(out(kSyn).with_numbers(client, 0).with_tcp_options(options(client_scale)),
                      where);
    returned(in(kSyn | kAck).with_numbers(server, client_).with_tcp_options(options(server_scale)),
             kClient, where);
    translated_to(out(kAck).with_numbers(client_, server_), nat_, where);
    expect_state(SessionState::kEstablished, where);
  }
  void client_acknowledges(std::uint32_t number, Where where = Where::current()) {
    translated_to(out(kAck).with_numbers(client_, number), nat_, where);
  }
  void server_acknowledges(std::uint32_t number, Where where = Where::current()) {
    returned(in(kAck).with_numbers(server_, number), kClient, where);
  }
  /// Passes in any case, byte for byte; and is believed or not.
  void server_resets(std::uint32_t number, bool believed, Where where = Where::current()) {
    returned(in(kRst).with_numbers(number, 0), kClient, where);
    expect_believed(believed, where);
  }
  void client_resets(std::uint32_t number, bool believed, Where where = Where::current()) {
    translated_to(out(kRst).with_numbers(number, 0), nat_, where);
    expect_believed(believed, where);
  }
  void expect_believed(bool believed, Where where) {
    expect_state(believed ? SessionState::kClosing : SessionState::kEstablished, where);
    // It goes on, whatever was believed.
    client_acknowledges(server_, where);
    expect_state(SessionState::kEstablished, where);
  }

  std::uint32_t client_ = 0, server_ = 0;
};

TEST_P(TcpNumbers, RstOutsideTheWindow_PassesWithoutClosingTheSession) {
  open(1000, 5000);
  for (const std::uint32_t number : {0xDEADBEEFu, 0x00100000u, 0x80000000u, 0xFFFF0000u}) {
    server_resets(number, false);
    client_resets(number, false);
  }
  lab().advance(1000s);
  expect_state(SessionState::kEstablished);
  server_resets(0xDEADBEEF, false);
  ends_after(7440s);
}

TEST_P(TcpNumbers, RstInTheWindow_ClosesTheSession) {
  open(1000, 5000);
  server_resets(server_, true);
  server_resets(server_ + 0xFFFF, true);
  client_resets(client_, true);
  client_resets(client_ + 0xFFFF, true);
}

TEST_P(TcpNumbers, Acknowledgments_MoveTheWindow) {
  open(1000, 5000);
  for (std::uint32_t megabytes = 1; megabytes < 40; megabytes += 3) {
    server_ = 5001 + (megabytes << 20);
    client_acknowledges(server_);
    server_resets(server_, true);
    server_resets(5001, false);
    client_ = 1001 + (megabytes << 20);
    server_acknowledges(client_);
    client_resets(client_, true);
    client_resets(1001, false);
  }
}

TEST_P(TcpNumbers, SequenceNumberWrap_KeepsTheWindow) {
  open(0xFFFFFF00, 0xFFFF8000);
  server_resets(0xFFFF8001, true);
  server_resets(0x00004000, true);
  server_resets(0x00800000, false);
  client_resets(0x00000004, true);
  client_ = 0x100;
  server_acknowledges(client_);
  server_ = 0x12000;
  client_acknowledges(server_);
  server_resets(0x12000, true);
  client_resets(0x100, true);
  server_resets(0xFFFF8001, false);
}

TEST_P(TcpNumbers, WindowScaleOfBothSides_ScalesTheWindow) {
  open(1000, 5000, 7, 9);
  // The client's window is up to 65535 * 2^7, the server's 65535 * 2^9.
  server_resets(server_ + (65535u << 7), true);
  server_resets(server_ + (65536u << 7) + 0x20000, false);
  client_resets(client_ + (65535u << 9), true);
  client_resets(client_ + (65536u << 9) + 0x20000, false);
}

TEST_P(TcpNumbers, WindowScaleOfOneSide_IsIgnored) {
  open(1000, 5000, 14, kUnscaled);  // RFC 7323 section 2.2
  server_resets(server_ + 65535, true);
  server_resets(server_ + 0x30000, false);
}

TEST_P(TcpNumbers, AScaleBeyondFourteenIsFourteen) {
  open(1000, 5000, 255, 0);  // RFC 7323 section 2.3
  server_resets(server_ + (65535u << 14), true);
  server_resets(server_ + (65536u << 14) + 0x20000, false);
}

TEST_P(TcpNumbers, ForgedInboundSegment_DoesNotMoveTheWindow) {
  open(1000, 5000);
  returned(in(kAck | kPsh, pattern(10)).with_numbers(0x50000000, client_), kClient);
  server_resets(0x5000000A, false);
  server_resets(server_, true);
}

TEST_P(TcpNumbers, FinOutsideTheWindow_ChangesNoState) {
  open(1000, 5000);
  returned(in(kFin | kAck).with_numbers(0x50000000, client_), kClient);
  expect_state(SessionState::kEstablished);
  translated_to(out(kFin | kAck).with_numbers(client_, server_), nat_);
  expect_state(SessionState::kFinOutbound);
  returned(in(kFin | kAck).with_numbers(0x50000000, client_), kClient);
  expect_state(SessionState::kFinOutbound);
  returned(in(kFin | kAck, pattern(100)).with_numbers(server_, client_ + 1), kClient);
  expect_state(SessionState::kClosing);
}

TEST_P(TcpNumbers, RstInAnswerToTheSyn_MustAcknowledgeTheSyn) {
  start();
  nat_ = translated(out(kSyn).with_numbers(0x70000000, 0));
  // RFC 9293 section 3.10.7.3
  for (const IpPacket& forged :
       {in(kRst).with_numbers(0, 0), in(kRst | kAck).with_numbers(0, 0x30000001)}) {
    returned(forged, kClient);
    expect_state(SessionState::kSynSent);
  }
  returned(in(kRst | kAck).with_numbers(0, 0x70000001), kClient);
  expect_state(SessionState::kClosing);
  ends_after(30s);
}

TEST_P(TcpNumbers, SynAckWithoutTheSubscribersAck_IsNotEstablished) {
  start();
  nat_ = translated(out(kSyn).with_numbers(1000, 0));
  returned(in(kSyn | kAck).with_numbers(5000, 1001), kClient);
  expect_state(SessionState::kSynReceived);
  returned(in(kAck | kPsh, pattern(10)).with_numbers(5001, 1001), kClient);
  expect_state(SessionState::kSynReceived);
  ends_after(60s);
}

TEST_P(TcpNumbers, InboundAckOfAnotherSynAck_IsNotEstablished) {
  Config config = Config::standard();
  config.group().app(Protocol::kTcp, kEndpointIndependent);
  start(config);
  nat_ = translated(out(kSyn));
  lab().advance(61s);
  // An outside host with a forged source, which never sees the subscriber's SYN+ACK.
  returned(in(kSyn).with_numbers(1000, 0), kClient);
  translated_to(out(kSyn | kAck).with_numbers(0x70000000, 1001), nat_);
  returned(in(kAck).with_numbers(1001, 0x10000001), kClient);
  expect_state(SessionState::kSynReceived);
  returned(in(kAck).with_numbers(1001, 0x70000001), kClient);
  expect_state(SessionState::kEstablished);
}

TEST_P(TcpNumbers, ForgedSynOrSynAck_DoesNotPreventTheHandshake) {
  start();
  nat_ = translated(out(kSyn).with_numbers(1000, 0));
  returned(in(kSyn | kAck).with_numbers(0x50000000, 0x60000000), kClient);
  expect_state(SessionState::kSynSent);
  returned(in(kSyn | kAck).with_numbers(5000, 1001), kClient);
  returned(in(kSyn | kAck).with_numbers(0x50000000, 0x60000000), kClient);
  returned(in(kSyn).with_numbers(0x50000000, 0), kClient);
  expect_state(SessionState::kSynReceived);
  client_ = 1001;
  server_ = 5001;
  client_acknowledges(server_);
  expect_state(SessionState::kEstablished);
  server_resets(0x50000001, false);
  server_resets(server_, true);
}

TEST_P(TcpNumbers, FinBeforeTheSynOfItsSide_IsIgnored) {
  start();
  nat_ = translated(out(kSyn).with_numbers(1000, 0));
  returned(in(kFin | kAck).with_numbers(5000, 1001), kClient);
  expect_state(SessionState::kSynSent);
  ends_after(60s);
}

// RFC 6191: the remote host begins again from the same port while the old connection lingers.
TEST_P(TcpNumbers, InboundSynOnAClosedConnection_BeginsItAgainIfItsNumberIsLater) {
  open(1000, 0x50000000);
  const auto close = [&] {
    translated_to(out(kFin | kAck).with_numbers(client_, server_), nat_);
    returned(in(kFin | kAck).with_numbers(server_, client_ + 1), kClient);
    translated_to(out(kAck).with_numbers(client_ + 1, server_ + 1), nat_);
    expect_state(SessionState::kClosing);
  };
  close();
  // An old duplicate, and one of a forger, pass and change nothing.
  for (const std::uint32_t number : {0x4FFF0000u, 0x20000000u, 0xE0000000u}) {
    returned(in(kSyn).with_numbers(number, 0), kClient);
    expect_state(SessionState::kClosing);
  }
  returned(in(kSyn).with_numbers(0x50100000, 0), kClient);
  expect_state(SessionState::kSynReceived);
  translated_to(out(kSyn | kAck).with_numbers(7000, 0x50100001), nat_);
  returned(in(kAck).with_numbers(0x50100001, 7001), kClient);
  expect_state(SessionState::kEstablished);
  // Its FINs are forgotten.
  client_ = 7001;
  server_ = 0x50100001;
  translated_to(out(kFin | kAck).with_numbers(client_, server_), nat_);
  expect_state(SessionState::kFinOutbound);
}

TEST_P(TcpNumbers, InboundSynWithAnOldNumber_IsBelievedIfTheSubscriberAnswersIt) {
  open(1000, 0x50000000);
  returned(in(kRst).with_numbers(server_, 0), kClient);
  expect_state(SessionState::kClosing);
  returned(in(kSyn).with_numbers(0x20000000, 0), kClient);
  expect_state(SessionState::kClosing);
  translated_to(out(kSyn | kAck).with_numbers(7000, 0x20000001), nat_);
  expect_state(SessionState::kSynReceived);
  returned(in(kAck).with_numbers(0x20000001, 7001), kClient);
  expect_state(SessionState::kEstablished);
}

TEST_P(TcpNumbers, SynOfTheSubscriberOnAClosedConnection_BeginsItAgainWithAnyNumber) {
  open(0x50000000, 1000);
  translated_to(out(kFin | kAck).with_numbers(client_, server_), nat_);
  returned(in(kFin | kAck).with_numbers(server_, client_ + 1), kClient);
  expect_state(SessionState::kClosing);
  translated_to(out(kSyn).with_numbers(0x10000000, 0), nat_);
  expect_state(SessionState::kSynSent);
  returned(in(kSyn | kAck).with_numbers(9000, 0x10000001), kClient);
  translated_to(out(kAck).with_numbers(0x10000001, 9001), nat_);
  expect_state(SessionState::kEstablished);
}

TEST_P(TcpNumbers, MidStreamConnection_TakesItsWindowFromAcknowledgments) {
  Config config = Config::standard();
  config.group().tcp().syn_check = false;
  config.group().tcp().session_timeout = 7440s;
  start(config);
  client_ = 0x40000000;
  server_ = 0x80000000;
  nat_ = translated(out(kAck).with_numbers(client_, server_));
  server_acknowledges(client_);
  server_resets(0x10000000, false);
  server_resets(server_, true);
  client_resets(0x10000000, false);
  client_resets(client_, true);
}

TEST_P(Tcp, ARepeatedSynDoesNotMakeASecondSession) {
  start();
  nat_ = translated(out(kSyn));
  goes_out(kSyn);
  goes_out(kSyn);
  EXPECT_EQ(lab().session_count(Protocol::kTcp), 1u);
}

TEST_P(Tcp, InboundPackets_RefreshTheSessionIfInboundRefreshIsOn) {
  start();
  connect();
  for (int i = 0; i < 4; ++i) {
    lab().advance(100s);
    comes_in(kAck | kPsh);
  }
  ends_after(120s);
}

TEST_P(Tcp, InboundPackets_DoNotRefreshTheSessionIfInboundRefreshIsOff) {
  Config config = Config::standard();
  config.inbound_refresh = false;
  start(config);
  connect();
  lab().advance(100s);
  comes_in(kAck | kPsh);
  ends_after(20s);
}

TEST_P(Tcp, WrongChecksum_IsForwardedWithTheSameError) {
  start();
  connect();
  lab().ignore_l4_checksums();
  translated_to(out(kAck | kPsh, pattern(99)).with_checksum_error(0x1234), nat_);
  returned(in(kAck | kPsh, pattern(99)).with_checksum_error(0xFEDC), kClient);
}

TEST_P(Tcp, UrgentPointerOptionsAndOddPayloadsAreLeftAsTheyAre) {
  start();
  connect();
  for (std::size_t size : {0u, 1u, 2u, 3u, 7u, 531u, 1439u}) {
    IpPacket packet = out(kAck | 0x20u, pattern(size, static_cast<unsigned>(size)));
    packet.urgent = 17;
    packet.tcp_options = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8};
    packet.tos = 0xB8;
    packet.sequence = 0xFFFFFFFF;
    translated_to(packet, nat_);
  }
}

TEST_P(Tcp, LaterFragment_ChangesNoState) {
  start();
  connect();
  const IpPacket whole = out(kAck, pattern(2000)).with_id(0x77);
  const std::vector<Bytes> pieces = whole.fragments({1024});
  std::vector<Frame> frames;
  for (const Bytes& piece : pieces)
    for (const Frame& frame : lab().from_inside(piece)) frames.push_back(frame);
  expect_pieces(frames, 1, kGateway, whole.from(nat_).hop(), {1024});
  expect_state(SessionState::kEstablished);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Tcp, shardings(), sharding_name);
INSTANTIATE_TEST_SUITE_P(Sharded, TcpNumbers, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
