// That the laboratory's packets do go through a PathGuard.
#include <utility>

#include "scenario/scenario.hpp"
#include "support/path_guard.hpp"

namespace lsn::test {
namespace {

class Guarded : public Scenario {};

TEST_P(Guarded, EveryPacketAndEveryPollOfTheLaboratory) {
  start(Config::standard());
  static int entered;
  entered = 0;
  const PathGuard::Watcher before =
      std::exchange(PathGuard::watcher, PathGuard::Watcher{[] { ++entered; }, [] {}});
  const Endpoint nat = translated(udp(kClient, kServer));
  const int after_packet = entered;
  returned(udp(kServer, nat), kClient);
  const int after_answer = entered;
  lab().housekeep(1);
  PathGuard::watcher = before;
  EXPECT_GT(after_packet, 0);
  EXPECT_GT(after_answer, after_packet);
  EXPECT_GT(entered, after_answer);
}

INSTANTIATE_TEST_SUITE_P(Any, Guarded, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
