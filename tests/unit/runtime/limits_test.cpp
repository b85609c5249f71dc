// What the configuration admits against what there is room for: no setting's largest value is
// larger than the field, the index or the table that it ends in, and no list is longer than its
// arrays.
#include <gtest/gtest.h>
#include <rte_config.h>
#include <rte_mbuf.h>
#include <sched.h>

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "lsn/control/config/describe.hpp"
#include "lsn/datapath/l3/output.hpp"
#include "lsn/datapath/lsn44/pools.hpp"
#include "lsn/datapath/shard.hpp"
#include "lsn/runtime/eal.hpp"
#include "lsn/runtime/plan.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/flow_table.hpp"
#include "lsn/state/ticks.hpp"

namespace lsn::runtime {
namespace {

using namespace datapath;

// ── lists ───────────────────────────────────────────────────────────────────────────────────────

template <class T>
constexpr std::size_t most_of = std::numeric_limits<T>::max();

// Interfaces.
static_assert(std::tuple_size_v<decltype(Counters::interfaces)> >= kMaxInterfaces);
static_assert(std::extent_v<decltype(BurstTotals::received)> >= kMaxInterfaces);
static_assert(std::tuple_size_v<decltype(BurstTotals::received_on)> >= kBurst);
static_assert(most_of<InterfaceId> >= kMaxInterfaces && kNoInterface >= kMaxInterfaces);
static_assert(most_of<decltype(Route::interface)> >= kMaxInterfaces);
static_assert(most_of<decltype(shared::RouteHop::interface)> >= kMaxInterfaces);
static_assert(most_of<decltype(Packet::interface)> >= kMaxInterfaces);
static_assert(most_of<decltype(PacketOrigin::interface)> >= kMaxInterfaces);
static_assert(most_of<decltype(Neighbour::interface)> >= kMaxInterfaces);
static_assert(most_of<decltype(NextHop::interface)> >= kMaxInterfaces);
static_assert(most_of<decltype(ipsec_alg::Held::interface)> >= kMaxInterfaces);
static_assert(most_of<decltype(Shard::ingress)::value_type::value_type> >= kMaxInterfaces);
// Devices.
static_assert(kMaxDevices <= RTE_MAX_ETHPORTS);
static_assert(most_of<decltype(Interface::device)> >= kMaxDevices);
static_assert(most_of<decltype(Neighbour::device)> >= kMaxDevices);
static_assert(most_of<decltype(ShardConfig::devices)> >= kMaxDevices);
// Workers: lcores beside the main one, shards, bits of a set.
static_assert(lcore_of(kMaxShards - 1) < RTE_MAX_LCORE);
static_assert(most_of<ShardId> >= kMaxShards - 1 && sizeof(ShardSet) * 8 >= kMaxShards);
static_assert(most_of<decltype(StateRecord::shard)> >= kMaxShards - 1);
// NAT addresses: a number among all of them, their ports.
static_assert(most_of<decltype(NatAddressPlace::number)> >= 32768 * control::kMaxPoolAddresses);
// Groups, pools, ALG profiles: stable ids.
static_assert(most_of<decltype(lsn44::Subscriber::group)> >= kNoId);
static_assert(most_of<decltype(NatAddressPlace::pool)> >= kNoId);
static_assert(most_of<decltype(ipsec_alg::Peer::profile)> >= kNoId);
// Packets of a burst.
static_assert(kBurst <= TxBuffer::kCapacity && kBurst <= HandoffBuffer::kCapacity);

// ── numbers ─────────────────────────────────────────────────────────────────────────────────────

/// Ticks that a deadline may be ahead (ticks.hpp), in seconds and minutes.
constexpr std::int64_t kTicksPerSecond = 100;
constexpr std::int64_t kSeconds = std::numeric_limits<std::int32_t>::max() / kTicksPerSecond;
constexpr std::int64_t kMinutes = kSeconds / 60;
/// Objects of all workers together: what one has place for, a rule for each of them, stands in its
/// flow tables.
static_assert(control::kMaxTablePerWorker <= state::FlowTable::kMaxEntries);
constexpr std::int64_t kObjects = control::kMaxTablePerWorker * kMaxShards;

template <class T>
constexpr std::int64_t kMost = static_cast<std::int64_t>(std::min<std::uint64_t>(
    std::numeric_limits<T>::max(), std::numeric_limits<std::int64_t>::max()));

/// Room for each number of the configuration.
const std::map<std::string, std::int64_t> kRoom = {
    {"dataplane.workers", CPU_SETSIZE - 1},
    {"dataplane.maxSessions", kObjects},
    {"dataplane.unreachable.code", kMost<decltype(Generation::unreachable_code)>},
    {"dataplane.unreachable.rate", kMost<decltype(Generation::unreachable_rate)>},
    // Of each worker; each may have four waiting packets.
    {"dataplane.fragments.max", state::FlowTable::kMaxEntries / 4},
    {"dataplane.fragments.timeout", kSeconds},
    {"dataplane.alg.maxIkeSessions", kObjects},
    {"dataplane.alg.maxEspSessions", kObjects},
    {"dataplane.alg.maxGates", kObjects},
    {"dataplane.alg.maxHeldBytes", kMost<decltype(ipsec_alg::Capacity::held_bytes)>},
    {"interfaces.vlan", std::tuple_size_v<decltype(Shard::ingress)::value_type> - 1},
    // A frame in one buffer, with its headroom.
    {"interfaces.mtu", std::min<std::int64_t>(kMost<decltype(Neighbour::mtu)>,
                                              UINT16_MAX - RTE_PKTMBUF_HEADROOM - 64)},
    {"interfaces.td", kMost<decltype(Interface::td)>},
    {"routes.td", kMost<shared::DomainId>},
    {"routes.weight", kMost<decltype(shared::RouteHop::weight)>},
    {"routing.table", kMost<decltype(Plan::kernel_route_table)::value_type>},
    {"lsn.acl.td", kMost<shared::DomainId>},
    {"lsn.static.td", kMost<decltype(shared::StaticMapping::td)>},
    {"interfaces.tcpMss", kMost<decltype(Interface::tcp_mss)>},
    {"lsn.appsprofile.tcpMss", kMost<decltype(AppPolicy::tcp_mss)>},
    {"interfaces.kernelRate.routing", kMost<KernelRates::value_type>},
    {"interfaces.kernelRate.management", kMost<KernelRates::value_type>},
    {"interfaces.kernelRate.rest", kMost<KernelRates::value_type>},
    {"interfaces.rxQueueSize", kMost<std::uint16_t>},
    {"interfaces.txQueueSize", kMost<std::uint16_t>},
    {"lsn.pool.portrealloctimeout", kSeconds},
    {"lsn.pool.maxPortReallocTmq", lsn44::ReallocQueue::kMaxCapacity},
    {"lsn.appsattributes.sessiontimeout", kSeconds},
    {"lsn.transportprofile.sessiontimeout", kSeconds},
    {"lsn.transportprofile.finrsttimeout", kSeconds},
    {"lsn.transportprofile.stuntimeout", kSeconds},
    {"lsn.transportprofile.synidletimeout", kSeconds},
    {"lsn.transportprofile.portquota", kMost<decltype(TransportPolicy::port_quota)>},
    {"lsn.transportprofile.sessionquota", kMost<decltype(TransportPolicy::session_quota)>},
    {"lsn.transportprofile.sessionRate", kMost<decltype(TransportPolicy::session_rate)>},
    // Hundredths of tokens.
    {"lsn.transportprofile.sessionBurst",
     kMost<decltype(lsn44::SessionBuckets::Bucket::tokens)> / 100 - 1},
    {"lsn.transportprofile.portReserve", kMost<decltype(TransportPolicy::port_reserve)>},
    {"lsn.transportprofile.groupSessionLimit",
     kMost<decltype(TransportPolicy::group_session_limit)>},
    // Every port there is.
    {"lsn.group.portblocksize", 65536},
    {"lsn.group.maxBlocks", kMost<decltype(BlockPolicy::most)>},
    {"lsn.group.blockTimeout", kSeconds},
    {"lsn.group.snmptraplimit", kMost<std::uint32_t>},
    {"records.poolThreshold.raise", 100},
    {"records.poolThreshold.clear", 100},
    // Bytes and milliseconds of 64 bits.
    {"records.file.rotateSize", kMost<std::int64_t> >> 20},
    {"records.file.rotateTime", kMost<std::int64_t> / 1000},
    {"records.file.keep", kMost<std::uint32_t>},
    // RFC 7011 section 3.1: the field has 32 bits.
    {"records.ipfix.domain", kMost<std::uint32_t>},
    {"records.ipfix.templateRefresh", kMost<std::int64_t> / 1000},
    {"ipsecalg.profile.ikeSessionTimeout", kMinutes},
    {"ipsecalg.profile.espSessionTimeout", kMinutes},
    {"ipsecalg.profile.espGateTimeout", kSeconds},
    {"ipsecalg.profile.phase2Hold", kMost<decltype(AlgProfile::phase2_hold)>},
    {"ipsecalg.profile.freshSequence", kMost<decltype(AlgProfile::fresh_sequence)>},
    {"ipsecalg.profile.spiCandidates", kMost<decltype(AlgProfile::spi_candidates)>},
    {"ipsecalg.profile.espSessionQuota", kMost<decltype(AlgProfile::esp_session_quota)>},
};

/// Walks through all settings (describe.hpp): a number's largest value comes back from the model as
/// it went in, and there is room for it.
class Limit {
 public:
  void name(std::string&, std::size_t) {}
  template <class Syntax, class T>
  void text(std::string_view, T&, control::Presence) {}
  template <class T>
  void word(std::string_view, T&, control::Presence) {}
  void flag(std::string_view, bool&) {}
  template <class Syntax, class T>
  void texts(std::string_view, T&) {}

  template <class T>
  void number(std::string_view setting, T& value, const control::Limits& limits) {
    const std::string path = path_ + std::string(setting);
    for (const std::int64_t count : {limits.lowest, limits.highest}) {
      control::set_count(value, count);
      EXPECT_EQ(control::count_of(value), count) << path;
    }
    const auto room = kRoom.find(path);
    ASSERT_NE(room, kRoom.end()) << path << ": what is it limited by?";
    EXPECT_LE(limits.highest, room->second) << path;
    ++seen;
  }
  template <class T>
  void numbers(std::string_view setting, std::vector<T>&, const control::Limits& limits) {
    T one{};
    number(setting, one, limits);
  }
  template <class T>
  void section(std::string_view setting, T& object) {
    const std::string around = path_;
    path_ += std::string(setting) + ".";
    describe(*this, object);
    path_ = around;
  }
  template <class T>
  void objects(std::string_view setting, std::vector<T>&) {
    T one{};
    section(setting, one);
  }

  unsigned seen = 0;

 private:
  std::string path_;
};

TEST(Limits, OfTheConfigurationHaveRoomInTheTables) {
  control::Model model;
  Limit limit;
  describe(limit, model);
  EXPECT_GT(limit.seen, 20U);
}

}  // namespace
}  // namespace lsn::runtime
