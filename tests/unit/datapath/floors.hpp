// A shard with a configuration and without packets: what the floors above L3 are asked directly.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string_view>

#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/datapath/pipeline.hpp"
#include "support/config.hpp"
#include "support/lab.hpp"

namespace lsn::datapath {

using namespace std::chrono_literals;

inline wire::Be32 ip(std::string_view dotted) {
  return wire::Be32::of(test::Ip{dotted}.value);
}
inline wire::Endpoint endpoint(std::string_view dotted, unsigned port) {
  return {ip(dotted), wire::Be16::of(static_cast<std::uint16_t>(port))};
}

class Floors : public ::testing::Test {
 protected:
  void start(const test::Config& config, unsigned max_sessions = 4096) {
    test::start_eal();
    test::Lab::Options options;
    options.max_sessions = max_sessions;
    lab_ = std::make_unique<test::Lab>(config, options);
  }

  [[nodiscard]] test::Lab& lab() { return *lab_; }
  [[nodiscard]] IpsecAlg& shard() { return lab_->shard(); }
  [[nodiscard]] lsn44::Tables& tables() { return shard().lsn44; }
  [[nodiscard]] const Group& group() { return *lab_->generation().group(0); }

  /// The subscriber with that address, created in group 0.
  lsn44::SubscriberId subscriber(std::string_view dotted = "192.0.2.10") {
    const auto id = lsn44::obtain_subscriber(shard(), {wire::Ipv4Address{ip(dotted)}}, 0);
    EXPECT_TRUE(id.has_value());
    return *id;
  }

  /// A NAT port for that subscriber.
  std::expected<wire::Endpoint, DropReason> take_port(lsn44::SubscriberId id,
                                                      const lsn44::PortRequest& request) {
    return lsn44::take_port(shard(), tables().subscribers[id], group(), request);
  }

  /// An outbound session by the policy of its destination port.
  std::expected<lsn44::SessionId, DropReason> create(Protocol protocol,
                                                     const wire::Endpoint& inside,
                                                     const wire::Endpoint& remote) {
    return lsn44::create_session(
        shard(), group(), 0, group().app(protocol, remote.port.host()),
        {.protocol = protocol, .first = Direction::kOutbound, .inside = inside, .remote = remote});
  }

  /// Time goes by, with housekeeping.
  void pass(std::chrono::milliseconds time) { lab_->advance(time); }

  /// NAT ports of a protocol that are taken, of all addresses.
  [[nodiscard]] std::uint32_t ports_taken(Protocol protocol) {
    std::uint32_t sum = 0;
    for (const lsn44::NatAddress* address : tables().addresses->by_number)
      if (address != nullptr) sum += address->ports[static_cast<std::size_t>(protocol)].taken();
    return sum;
  }

 private:
  std::unique_ptr<test::Lab> lab_;
};

}  // namespace lsn::datapath
