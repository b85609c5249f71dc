// What the scenarios of the IPsec ALG share: clients with IKE SAs behind one NAT address, and
// sentences about their messages. Names are those of the design: C clients, S the server, N the NAT
// address, T the gate timeout.
//
//   Peer c1 = joins(1), c2 = joins(2);   // IKE_SA_INIT done
//   sends(c1, c1.auth());                // forwarded: c1 has the gate
//   waits(c2, c2.auth());                // held
//   gets(c1, response(c1.auth()));
//   sends_esp(c1, 0x1001);  gets_esp(c1, 0x2001);
#pragma once

#include "../scenario.hpp"
#include "support/ike_builder.hpp"

namespace lsn::test {

using shared::AlgCounter;
using shared::AlgGauge;

inline constexpr Ip kN = "203.0.113.3";
inline constexpr Ip kS = "198.18.0.1";
inline constexpr Ip kOtherServer = "198.18.0.2";
inline constexpr std::chrono::seconds kT{30};  ///< espGateTimeout

/// A client and its IKE SA with a server.
struct Peer {
  Ip ip;
  Ip server = kS;
  std::uint64_t spi = 0, server_spi = 0;
  Endpoint nat;  ///< of its UDP port 500
  unsigned version = 2;
  std::uint16_t port = 500;

  [[nodiscard]] Endpoint endpoint() const { return {ip, port}; }
  [[nodiscard]] Endpoint server_endpoint() const { return {server, 500}; }

  /// The same client with the IKE SA that a rekey gave it.
  [[nodiscard]] Peer rekeyed(std::uint64_t new_spi = 0xAAAA,
                             std::uint64_t new_server_spi = 0xBBBB) const {
    Peer peer = *this;
    peer.spi = new_spi;
    peer.server_spi = new_server_spi;
    return peer;
  }

  [[nodiscard]] Ike auth(std::uint32_t id = 1) const { return test::auth(spi, server_spi, id); }
  [[nodiscard]] Ike child(std::uint32_t id = 2) const {
    return test::create_child(spi, server_spi, id);
  }
  /// The server's request of the same kind.
  [[nodiscard]] Ike server_child(std::uint32_t id = 0) const {
    Ike m = child(id);
    m.flags ^= kIkeInitiator;
    return m;
  }
  [[nodiscard]] Ike quick(std::uint32_t id) const { return test::quick_mode(spi, server_spi, id); }
  /// Any other message of the SA.
  [[nodiscard]] Ike message(unsigned exchange, std::uint32_t id) const {
    Ike m = version == 2 ? informational(spi, server_spi, id) : quick(id);
    m.exchange = exchange;
    return m;
  }
  /// A packet of its UDP session as it leaves the client.
  [[nodiscard]] IpPacket out(const Ike& m) const { return ike(endpoint(), server_endpoint(), m); }
  /// ... and as the server sends it.
  [[nodiscard]] IpPacket in(const Ike& m) const { return ike(server_endpoint(), nat, m); }
};

class Alg : public Scenario {
 protected:
  void start(const Config& config = Config::with_alg(), const Lab::Options& options = {}) {
    Scenario::start(config, options);
  }

  void TearDown() override {
    // Design 8: nothing that is dropped is left out.
    std::uint64_t dropped = 0;
    for (const auto& text : shared::kDropReasonTexts)
      if (is_esp_reason(text.reason)) dropped += lab().drops(text.reason);
    EXPECT_EQ(counted(AlgCounter::kEspDropped), dropped);
    Scenario::TearDown();
  }

  [[nodiscard]] static Ip client_ip(unsigned n) { return Ip{"192.0.2.10"} + n; }

  // ── what there is ──────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] std::uint64_t counted(AlgCounter counter) {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < lab().shards(); ++i)
      sum += lab().shard(i).alg.counters.total.of(counter).get();
    return sum;
  }
  [[nodiscard]] std::uint64_t now_there(AlgGauge gauge) {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < lab().shards(); ++i)
      sum += lab().shard(i).alg.counters.total.of(gauge).get();
    return sum;
  }
  [[nodiscard]] bool turn() { return now_there(AlgGauge::kTurns) != 0; }

  // ── IKE ────────────────────────────────────────────────────────────────────────────────────────

  /// IKE_SA_INIT of client n: an IKEv2 SA up to phase 2.
  Peer joins(unsigned n, Ip server = kS, Where where = Where::current()) {
    Peer peer{client_ip(n), server, 0xA100 + n, 0xB200 + n, {}, 2};
    const Ike init = sa_init(peer.spi);
    peer.nat = translated(peer.out(init), where);
    gets(peer, response(init, peer.server_spi), where);
    return peer;
  }
  /// Main mode of client n, all six messages.
  Peer joins1(unsigned n, Where where = Where::current()) {
    Peer peer{client_ip(n), kS, 0xA100 + n, 0xB200 + n, {}, 1};
    peer.nat = translated(peer.out(main_mode(peer.spi, 0)), where);
    gets(peer, main_mode(peer.spi, peer.server_spi), where);
    for (int i = 0; i < 2; ++i) {
      sends(peer, main_mode(peer.spi, peer.server_spi), where);
      gets(peer, main_mode(peer.spi, peer.server_spi), where);
    }
    return peer;
  }

  /// The client's IKE begins anew, with another initiator SPI.
  void restarts(const Peer& peer, Where where = Where::current()) {
    Peer again = peer;
    again.spi = 0xCAFE;
    sends(again, sa_init(again.spi), where);
  }

  void sends(const Peer& peer, const Ike& m, Where where = Where::current()) {
    translated_to(peer.out(m), peer.nat, where);
  }
  void gets(const Peer& peer, const Ike& m, Where where = Where::current()) {
    returned(peer.in(m), peer.endpoint(), where);
  }
  /// An exchange of the client's and its answer: after it an armed turn waits for ESP.
  void arms(const Peer& peer, const Ike& request, Where where = Where::current()) {
    sends(peer, request, where);
    gets(peer, request.version == 2 ? response(request) : request, where);
  }
  void arms(const Peer& peer, Where where = Where::current()) { arms(peer, peer.auth(), where); }
  /// Held: nothing comes of it now, nothing is dropped.
  void waits(const Peer& peer, const Ike& m, Where where = Where::current()) {
    expect_frames(lab().from_inside(peer.out(m).bytes()), {}, where);
    expect_drops({}, where);
  }
  void server_waits(const Peer& peer, const Ike& m, Where where = Where::current()) {
    expect_frames(lab().from_outside(peer.in(m).bytes()), {}, where);
    expect_drops({}, where);
  }
  /// The frames in which messages leave.
  [[nodiscard]] Frame out_frame(const Peer& peer, const Ike& m) {
    return lab().to_outside(peer.out(m).from(peer.nat).hop());
  }
  [[nodiscard]] Frame in_frame(const Peer& peer, const Ike& m) {
    return lab().to_inside(peer.in(m).to(peer.endpoint()).hop());
  }
  /// Time passes and nothing happens, ...
  void quiet(std::chrono::milliseconds time, Where where = Where::current()) {
    happens(time, {}, where);
  }
  /// ... or this.
  void happens(std::chrono::milliseconds time, const std::vector<Frame>& frames,
               Where where = Where::current()) {
    expect_frames(lab().advance(time), frames, where);
  }

  // ── ESP ────────────────────────────────────────────────────────────────────────────────────────

  void sends_esp(const Peer& peer, std::uint32_t spi, std::uint32_t sequence = 1,
                 Where where = Where::current()) {
    translated_to(esp(peer.ip, peer.server, spi, sequence), {peer.nat.ip, 0}, where);
  }
  void gets_esp(const Peer& peer, std::uint32_t spi, std::uint32_t sequence = 1,
                Where where = Where::current()) {
    returned(esp(peer.server, peer.nat.ip, spi, sequence), {peer.ip, 0}, where);
  }
  /// A packet each way of a pair of SPIs.
  void esp_passes(const Peer& peer, std::uint32_t spi_out, std::uint32_t spi_in,
                  std::uint32_t sequence = 1, Where where = Where::current()) {
    sends_esp(peer, spi_out, sequence, where);
    gets_esp(peer, spi_in, sequence, where);
  }
  /// The last packet of the holder's pair: it closes the gate, and what waited leaves at once.
  void gets_esp_and_releases(const Peer& peer, std::uint32_t spi, const std::vector<Frame>& waiters,
                             std::uint32_t sequence = 1, Where where = Where::current()) {
    std::vector<Frame> expected = {esp_in_frame(peer, spi, sequence)};
    expected.insert(expected.end(), waiters.begin(), waiters.end());
    const auto frames = lab().from_outside(esp(peer.server, peer.nat.ip, spi, sequence).bytes());
    expect_drops({}, where);
    expect_frames(frames, expected, where);
  }
  void esp_refused_out(const Peer& peer, std::uint32_t spi, DropReason reason,
                       std::uint32_t sequence = 1, Where where = Where::current()) {
    refused_from_inside(esp(peer.ip, peer.server, spi, sequence), reason, where);
  }
  /// ... for want of something that is the NAT's.
  void expect_esp_unreachable(const Peer& peer, std::uint32_t spi, DropReason reason,
                              Where where = Where::current()) {
    expect_unreachable_inside(esp(peer.ip, peer.server, spi, 1), reason, 13, where);
  }
  void esp_refused_in(std::uint32_t spi, DropReason reason, std::uint32_t sequence = 1,
                      Where where = Where::current()) {
    refused_from_outside(esp(kS, kN, spi, sequence), reason, where);
  }
  [[nodiscard]] Frame esp_in_frame(const Peer& peer, std::uint32_t spi,
                                   std::uint32_t sequence = 1) {
    return lab().to_inside(esp(peer.server, peer.nat.ip, spi, sequence).to({peer.ip, 0}).hop());
  }
  [[nodiscard]] Frame esp_out_frame(const Peer& peer, std::uint32_t spi,
                                    std::uint32_t sequence = 1) {
    return lab().to_outside(esp(peer.ip, peer.server, spi, sequence).from({peer.nat.ip, 0}).hop());
  }

  /// A client's tunnel without an exchange comes back in its turn: it sends, the server answers,
  /// and the last of `rounds` answers says whose they are.
  void comes_back(const Peer& peer, std::uint32_t spi_out, std::uint32_t spi_in,
                  std::uint32_t sequence = 70000, unsigned rounds = 3,
                  Where where = Where::current()) {
    for (unsigned i = 0; i < rounds; ++i) {
      if (i != 0) quiet(100ms, where);
      sends_esp(peer, spi_out, sequence + i, where);
      if (i + 1 < rounds) {
        refused_from_outside(esp(peer.server, peer.nat.ip, spi_in, sequence + i),
                             DropReason::kEspInAmbiguous, where);
      } else {
        gets_esp(peer, spi_in, sequence + i, where);
      }
    }
  }

  /// A whole IKE_AUTH with its pair of SPIs, to the gate's closing.
  void pairs(const Peer& peer, std::uint32_t spi_out, std::uint32_t spi_in,
             Where where = Where::current()) {
    arms(peer, where);
    esp_passes(peer, spi_out, spi_in, 1, where);
    if (turn()) fail(where) << "the gate has not closed";
  }
};

}  // namespace lsn::test
