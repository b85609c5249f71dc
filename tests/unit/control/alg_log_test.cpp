#include "lsn/control/alg_log.hpp"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <sstream>

#include "lsn/shared/alg_states.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::CloseReason;
using shared::Event;
using shared::EventKind;
using shared::EventRing;
using shared::SessionEnd;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

/// What is logged, line by line, as "LEVEL TEXT".
class AlgLogTest : public testing::Test {
 protected:
  AlgLogTest() {
    auto logger = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_st>(out_));
    logger->set_pattern("%l %v");
    before_ = spdlog::default_logger();
    spdlog::set_default_logger(logger);
    set_level(spdlog::level::debug);
  }
  ~AlgLogTest() override { spdlog::set_default_logger(before_); }

  static void set_level(spdlog::level::level_enum level) {
    spdlog::default_logger()->set_level(level);
  }
  std::vector<std::string> lines() {
    std::vector<std::string> all;
    std::istringstream text(out_.str());
    for (std::string line; std::getline(text, line);) all.push_back(line);
    out_.str("");
    return all;
  }
  std::vector<std::string> tick(std::chrono::milliseconds later = std::chrono::milliseconds{10}) {
    now_ += later;
    log_.tick(now_);
    return lines();
  }

  static Event event(EventKind kind) {
    Event event{};
    event.kind = kind;
    event.profile = 0;
    event.client = ip("192.0.2.10").be();
    event.nat_ip = ip("203.0.113.3").be();
    event.server = ip("198.18.0.1").be();
    event.spi_out = wire::Be32::of(0xAB);
    return event;
  }
  void put(const Event& event, unsigned shard = 0) {
    bench_.dataplane.alg_events(shard).put(event);
  }

  Bench bench_;

 private:
  std::ostringstream out_;
  std::shared_ptr<spdlog::logger> before_;
  AlgLog log_{bench_.dataplane, bench_.config};
  AlgLog::Time now_ = AlgLog::Time{} + std::chrono::hours{1};
};

TEST_F(AlgLogTest, TellsSessionsWithSpisInPlaceOfPorts) {
  Event created = event(EventKind::kEspSessionCreated);
  put(created);
  Event ended = event(EventKind::kEspSessionEnded);
  ended.why = static_cast<std::uint8_t>(SessionEnd::kFlushed);
  ended.spi_in = wire::Be32::of(0xC0FFEE01);
  ended.packets[0] = 1;
  ended.bytes[0] = 100;
  ended.packets[1] = 2;
  ended.bytes[1] = 300;
  put(ended, 1);
  EXPECT_THAT(
      tick(),
      ElementsAre("debug ipsecalg: ESP session created: source 192.0.2.10, nat 203.0.113.3, "
                  "destination 198.18.0.1, profile ALG, spi out 0x000000ab, spi in -",
                  "debug ipsecalg: ESP session flushed: source 192.0.2.10, nat 203.0.113.3, "
                  "destination 198.18.0.1, profile ALG, spi out 0x000000ab, spi in 0xc0ffee01, "
                  "out 1 packets 100 bytes, in 2 packets 300 bytes"));
  EXPECT_THAT(tick(), IsEmpty());
}

TEST_F(AlgLogTest, TellsIkeSessionsByTheirInitiatorSpiAsItStandsInThePacket) {
  Event created = event(EventKind::kIkeSessionCreated);
  const std::uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::memcpy(&created.initiator, bytes, sizeof bytes);
  put(created);
  EXPECT_THAT(tick(), ElementsAre(HasSubstr("initiator spi 0x0102030405060708")));
}

TEST_F(AlgLogTest, AboveDebugTellsOnlyWhatIsWrongWhereSessionsAreNotLogged) {
  set_level(spdlog::level::info);
  Event collision = event(EventKind::kSpiCollision);
  collision.spi_in = wire::Be32::of(0x77);
  collision.other = ip("192.0.2.11").be();
  Event closed = event(EventKind::kTurnEnded);
  closed.detail = static_cast<std::uint32_t>(CloseReason::kDeadline);
  for (const Event& each : {event(EventKind::kEspSessionCreated), event(EventKind::kEspSpiLearned),
                            event(EventKind::kIkeSessionEnded), closed, collision,
                            event(EventKind::kAhRefused), event(EventKind::kStateRemoved)})
    put(each);
  EXPECT_THAT(
      tick(),
      ElementsAre("warning ipsecalg: two clients seem to have chosen the same SPI: source "
                  "192.0.2.10, nat 203.0.113.3, destination 198.18.0.1, profile ALG, spi in "
                  "0x00000077; packets go on to this one, 192.0.2.11 waits for its own",
                  "warning ipsecalg: AH of source 192.0.2.10 to destination 198.18.0.1 dropped: it "
                  "cannot cross a NAT",
                  "warning ipsecalg: a reload has removed the IPsec sessions of source 192.0.2.10, "
                  "nat 203.0.113.3, profile ALG"));
}

TEST_F(AlgLogTest, WritesABoundedNumberOfWarningsAndSaysHowManyWereLeftOut) {
  for (unsigned i = 0; i < 200; ++i) put(event(EventKind::kAhRefused));
  const auto first = tick();
  ASSERT_EQ(first.size(), AlgLog::kWarningsAtOnce + 1);
  EXPECT_THAT(first.back(), StartsWith("warning ipsecalg: 150 lines were left out"));
  for (unsigned i = 0; i < 20; ++i) put(event(EventKind::kAhRefused));
  EXPECT_THAT(tick(), IsEmpty()) << "once a minute";
  put(event(EventKind::kAhRefused));
  EXPECT_EQ(tick(std::chrono::seconds{61}).size(), 2U) << "one, and the report of those before";
}

TEST_F(AlgLogTest, WritesABoundedNumberOfSessionLinesPerSecond) {
  unsigned written = 0;
  for (unsigned i = 0; i < 100; ++i) {
    for (unsigned n = 0; n < 100; ++n) put(event(EventKind::kEspSessionCreated));
    written += static_cast<unsigned>(tick().size());
  }
  EXPECT_GE(written, AlgLog::kSessionLinesPerSecond);
  EXPECT_LE(written, 2 * AlgLog::kSessionLinesPerSecond + 2);
}

TEST_F(AlgLogTest, TakesABoundedNumberOfEventsPerTickAndTellsOfThoseThatWereLost) {
  set_level(spdlog::level::warn);
  for (unsigned i = 0; i < EventRing::kCapacity + 5; ++i) put(event(EventKind::kEspSessionCreated));
  EXPECT_THAT(tick(), ElementsAre("warning ipsecalg: 5 events were lost: there were more than the "
                                  "log takes"));
  Event left;
  unsigned remaining = 0;
  while (bench_.dataplane.alg_events(0).take(left)) ++remaining;
  EXPECT_EQ(remaining, EventRing::kCapacity - AlgLog::kEventsPerTick);
  EXPECT_THAT(tick(std::chrono::minutes{2}), IsEmpty()) << "told once";
}

}  // namespace
}  // namespace lsn::control
