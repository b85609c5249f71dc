// A configuration as tests write it down, and the Generation that it means.
//
// Independent of control/config: a Config has the objects of the configuration reference, without
// file and validation. Objects keep their stable ids over reloads by their names.
//
//   Config config = Config::standard();      // the sample of the reference, without ALG
//   config.group().app(Protocol::kUdp, {.mapping = Dependence::kEndpointIndependent});
//   config.group().udp().session_timeout = 60s;
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lsn/shared/generation.hpp"
#include "support/bytes.hpp"

namespace lsn::test {

using shared::AlgProfile;
using shared::AppPolicy;
using shared::Dependence;
using shared::Pooling;
using shared::Protocol;
using shared::Side;
using shared::TransportPolicy;

/// A.B.C.D/L, a range A-B or one address; with " td N" behind it in a traffic domain.
struct Network {
  Ip first, last;
  shared::DomainId td = 0;

  Network(const char* text) : Network(std::string_view{text}) {}  // NOLINT: reads as a network
  explicit Network(std::string_view text);

  [[nodiscard]] bool contains(Ip ip) const { return first <= ip && ip <= last; }
};

struct InterfaceConfig {
  std::string name;
  Side side;
  std::string address;  ///< A.B.C.D/L
  unsigned device;
  unsigned vlan = 0;
  unsigned mtu = 1500;
  unsigned tcp_mss = 0;
  shared::DomainId td = 0;
  shared::KernelUse kernel = shared::KernelUse::kNone;
  shared::KernelRates kernel_rates{20000, 5000, 1000};

  [[nodiscard]] Ip ip() const;
  [[nodiscard]] unsigned length() const;
  [[nodiscard]] Network network() const;
};

struct RouteConfig {
  std::string prefix;  ///< A.B.C.D/L
  Ip via;
  shared::DomainId td = 0;  ///< of a route that leads inside
  // Beside others of the same prefix:
  unsigned weight = 1;
  bool is_backup = false;
  bool is_tracked = true;
};

struct PoolConfig {
  std::string name;
  std::vector<Network> addresses;
  std::chrono::seconds realloc_timeout{0};
  unsigned realloc_queue = 65536;
  std::vector<Network> drain{};
  bool has_blocks = false;  ///< portblockallocation
};

/// An ipsecalg profile is a value of the product's own parameters; only its name counts beside
/// them.
using shared::AlgProfile;

struct GroupConfig {
  struct App {
    Protocol protocol;
    unsigned first, last;
    AppPolicy policy;
  };

  std::string name;
  std::vector<Network> clients;
  std::vector<std::string> pools;
  std::vector<App> apps;
  struct Timeout {
    Protocol protocol;
    unsigned first, last;
    std::chrono::seconds timeout;
  };
  std::vector<Timeout> timeouts;  ///< appsattributes
  shared::ByPortProtocol<TransportPolicy> transport;
  std::string alg;       ///< the name of its ipsecalg profile; empty: none
  unsigned logging = 0;  ///< shared::LogFlags
  std::vector<shared::BypassRule> bypass;
  shared::BlockPolicy blocks;                       ///< of pools with has_blocks
  std::optional<shared::BlockOrder> deterministic;  ///< with blocks.size

  /// An application profile for these destination ports, or for all.
  GroupConfig& app(Protocol protocol, const AppPolicy& policy, unsigned first = 0,
                   unsigned last = 65535) {
    apps.push_back({protocol, first, last, policy});
    return *this;
  }
  /// Attributes of application profiles for these destination ports.
  GroupConfig& idle(Protocol protocol, std::chrono::seconds timeout, unsigned first = 0,
                    unsigned last = 65535) {
    timeouts.push_back({protocol, first, last, timeout});
    return *this;
  }
  /// A bypass of these destinations; protocol 0: any.
  GroupConfig& add_bypass(const Network& to, unsigned protocol = 0, unsigned first = 0,
                          unsigned last = 65535) {
    bypass.push_back({{wire::Ipv4Address{to.first.value}, wire::Ipv4Address{to.last.value}},
                      static_cast<std::uint8_t>(protocol),
                      static_cast<std::uint16_t>(first),
                      static_cast<std::uint16_t>(last)});
    return *this;
  }
  TransportPolicy& of(Protocol protocol) { return transport[static_cast<std::size_t>(protocol)]; }
  TransportPolicy& tcp() { return of(Protocol::kTcp); }
  TransportPolicy& udp() { return of(Protocol::kUdp); }
  TransportPolicy& icmp() { return of(Protocol::kIcmp); }
};

/// A static mapping; `nat_port` and `inside_port` 0: of the whole address. `scope`: TCP, UDP, ICMP
/// or all.
struct StaticConfig {
  shared::StaticScope scope = shared::StaticScope::kAll;
  Ip inside_ip;
  unsigned inside_port = 0;
  Ip nat_ip;
  unsigned nat_port = 0;
  Ip destination{};  ///< 0.0.0.0: any
  shared::DomainId td = 0;
};

struct Config {
  std::vector<InterfaceConfig> interfaces;
  std::vector<RouteConfig> routes;
  std::vector<PoolConfig> pools;
  std::vector<GroupConfig> groups;
  std::vector<AlgProfile> alg_profiles;
  std::vector<StaticConfig> statics;
  bool inbound_refresh = true;
  unsigned unreachable_code = 13;
  unsigned unreachable_rate = 100;
  std::chrono::seconds fragment_timeout{2};

  /// Interfaces inside 192.0.2.1/24 (device 0) and outside 198.51.100.1/24 (device 1), the default
  /// route via 198.51.100.10, pool "POOL" of 203.0.113.3-203.0.113.9, group "GROUP" for
  /// 192.0.2.0/24 with all policies at their defaults.
  [[nodiscard]] static Config standard();

  /// The same with an ipsecalg profile "ALG" of default parameters for "GROUP", as it must be with
  /// UDP 500 (and so 4500) paired, and with a single pool address: all subscribers share
  /// 203.0.113.3.
  [[nodiscard]] static Config with_alg();

  AlgProfile& alg(std::size_t index = 0) { return alg_profiles.at(index); }
  GroupConfig& group(std::size_t index = 0) { return groups.at(index); }
  PoolConfig& pool(std::size_t index = 0) { return pools.at(index); }
  GroupConfig& add_group(std::string name, std::vector<Network> clients,
                         std::vector<std::string> pool_names);
  PoolConfig& add_pool(std::string name, std::vector<Network> addresses);
  /// One port of one protocol; `static ALL A * N *`.
  Config& add_static(Protocol protocol, Endpoint inside, Endpoint nat, Ip destination = {});
  Config& add_one_to_one(Ip inside, Ip nat, Ip destination = {});
  void remove_group(const std::string& name);
  void remove_pool(const std::string& name);

  [[nodiscard]] unsigned devices() const;
  /// ... in some domain.
  [[nodiscard]] bool is_client(Ip ip) const;
  [[nodiscard]] bool is_client(Ip ip, shared::DomainId td) const;
  /// Whether a bypass of the client's group covers some packet to that destination.
  [[nodiscard]] bool is_bypassed(Ip client, Ip destination) const;
  [[nodiscard]] bool is_nat_address(Ip ip) const;
  /// Index of the interface with that address, or -1.
  [[nodiscard]] int interface_of(Ip ip) const;
};

/// The generation after `before` (or the first one, with a table of displaced subscribers that is
/// no longer in use, if there is one: it has megabytes).
[[nodiscard]] std::unique_ptr<shared::Generation> build(
    const Config& config, unsigned shards, const shared::Generation* before,
    std::shared_ptr<shared::DisplacedSubscribers> displaced = nullptr);

}  // namespace lsn::test
