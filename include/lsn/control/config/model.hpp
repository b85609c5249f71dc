// A configuration that makes sense: the second of its three types (raw, model, generation).
//
// The model has every object and parameter of the configuration reference by the same name, with
// its default if nothing was given; which names, ranges and defaults there are stands once, in
// describe.hpp. Objects refer to each other by name. A model that load_config() returned has been
// checked whole: all references resolve, nothing contradicts anything else. It is plain data of the
// control thread: copied, changed by a command, checked again, rendered as a file.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <ratio>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

using Seconds = std::chrono::duration<std::uint32_t>;
using Minutes = std::chrono::duration<std::uint32_t, std::ratio<60>>;

struct UnreachableConfig {
  std::uint8_t code = 13;
  std::uint32_t rate = 100;  ///< per second and worker

  friend bool operator==(const UnreachableConfig&, const UnreachableConfig&) = default;
};

struct FragmentsConfig {
  std::uint32_t max = 4096;  ///< datagrams waiting per worker
  Seconds timeout{2};

  friend bool operator==(const FragmentsConfig&, const FragmentsConfig&) = default;
};

/// Capacities of the ALG's tables, in all; divided among the workers.
struct AlgTablesConfig {
  std::uint32_t max_ike_sessions = 65536;
  std::uint32_t max_esp_sessions = 65536;
  std::uint32_t max_gates = 16384;
  std::uint32_t max_held_bytes = 16777216;

  friend bool operator==(const AlgTablesConfig&, const AlgTablesConfig&) = default;
};

struct DataplaneConfig {
  std::vector<std::uint32_t> workers{1};  ///< CPU ids; worker n is shard n
  std::vector<std::string> eal{"--in-memory"};
  std::uint32_t max_sessions = 1048576;  ///< in all; divided among the workers
  std::string state_file = "/var/lib/lsnd/state";
  bool inbound_refresh = true;
  bool power_save = false;
  UnreachableConfig unreachable;
  FragmentsConfig fragments;
  AlgTablesConfig alg;

  friend bool operator==(const DataplaneConfig&, const DataplaneConfig&) = default;
};

/// Packets per second to an interface's kernel interface, by class (shared/kernel_class.hpp).
struct KernelRateConfig {
  std::uint32_t routing = 20000;
  std::uint32_t management = 5000;
  std::uint32_t rest = 1000;

  friend bool operator==(const KernelRateConfig&, const KernelRateConfig&) = default;
};

struct InterfaceConfig {
  std::string name;
  shared::Side role = shared::Side::kInside;
  std::string device;
  wire::Ipv4Prefix address;
  std::uint16_t vlan = 0;   ///< 0: untagged
  shared::DomainId td = 0;  ///< of an inside one
  std::uint16_t mtu = 1500;
  std::uint16_t tcp_mss = 0;            ///< 0: SYNs keep theirs
  std::optional<wire::MacAddress> mac;  ///< none: the device's own
  std::uint16_t rx_queue_size = 1024;
  std::uint16_t tx_queue_size = 1024;
  std::string kernel;          ///< the name of its kernel interface; empty: it has none
  std::string kernel_netns{};  ///< the network namespace of that; empty: lsnd's own
  bool kernel_ipv6 = false;
  KernelRateConfig kernel_rate{};

  friend bool operator==(const InterfaceConfig&, const InterfaceConfig&) = default;
};

struct RouteConfig {
  wire::Ipv4Prefix prefix;
  wire::Ipv4Address via;
  shared::DomainId td = 0;  ///< of a route that leads inside
  // Beside others of the same prefix:
  std::uint16_t weight = 1;
  bool backup = false;
  RouteTrack track = RouteTrack::kArp;

  friend bool operator==(const RouteConfig&, const RouteConfig&) = default;
};

/// Routes that daemons put into the kernel.
struct RoutingConfig {
  bool kernel_routes = false;
  std::uint32_t table = 254;  ///< the kernel's number of it

  friend bool operator==(const RoutingConfig&, const RoutingConfig&) = default;
};

struct ControlConfig {
  std::string socket = "/run/lsnd/lsnd.sock";
  std::string group;         ///< empty: "lsnd" if there is such a group, else root
  std::string view_group{};  ///< may read and change nothing; empty: no such group
  std::string capture_directory = "/var/lib/lsnd/captures";  ///< of `start capture`

  friend bool operator==(const ControlConfig&, const ControlConfig&) = default;
};

struct LogConfig {
  LogLevel level = LogLevel::kInfo;
  std::string target = "stderr";

  friend bool operator==(const LogConfig&, const LogConfig&) = default;
};

struct MetricsConfig {
  std::string listen;  ///< empty: off

  friend bool operator==(const MetricsConfig&, const MetricsConfig&) = default;
};

/// A sink of the records that writes files.
struct RecordFileConfig {
  std::string path;                  ///< of its segments, without what their names add
  std::uint32_t rotate_size = 1024;  ///< MB
  Seconds rotate_time{3600};
  std::uint32_t keep = 0;  ///< closed segments; 0: all
  Compression compress = Compression::kNone;
  RecordFormat format = RecordFormat::kText;

  friend bool operator==(const RecordFileConfig&, const RecordFileConfig&) = default;
};

/// A sink of the records that sends them to a server of syslog.
struct RecordSyslogConfig {
  std::string server;
  SyslogTransport transport = SyslogTransport::kUdp;
  SyslogFacility facility = SyslogFacility::kLocal0;
  SyslogFormat format = SyslogFormat::kRfc5424;
  std::string
      ca_file;  ///< of TLS: who may have signed the server's certificate; empty: the system's

  friend bool operator==(const RecordSyslogConfig&, const RecordSyslogConfig&) = default;
};

/// A sink of the records that sends them to a collector of IPFIX.
struct RecordIpfixConfig {
  std::string collector;
  IpfixTransport transport = IpfixTransport::kUdp;
  std::uint32_t domain = 1;       ///< RFC 7011: the Observation Domain ID
  Seconds template_refresh{600};  ///< of UDP

  friend bool operator==(const RecordIpfixConfig&, const RecordIpfixConfig&) = default;
};

/// Per cent of a pool's ports in use at which its alert is raised (0: never) and cleared.
struct PoolThresholdConfig {
  std::uint32_t raise = 90;
  std::uint32_t clear = 80;

  friend bool operator==(const PoolThresholdConfig&, const PoolThresholdConfig&) = default;
};

struct RecordsConfig {
  std::string node;  ///< in each record; empty: the host's name
  PoolThresholdConfig pool_threshold;
  std::vector<RecordFileConfig> file;
  std::vector<RecordSyslogConfig> syslog;
  std::vector<RecordIpfixConfig> ipfix;

  friend bool operator==(const RecordsConfig&, const RecordsConfig&) = default;
};

/// An extended access list as far as one says which sources are a client's.
struct AclConfig {
  std::string name;
  AclAction action = AclAction::kAllow;
  std::vector<wire::Ipv4Range> src_ip;
  shared::DomainId td = 0;  ///< of these sources

  friend bool operator==(const AclConfig&, const AclConfig&) = default;
};

struct ClientConfig {
  std::string name;
  std::vector<ClientNetwork> network;
  std::vector<std::string> aclname{};

  friend bool operator==(const ClientConfig&, const ClientConfig&) = default;
};

struct PoolConfig {
  std::string name;
  NatType nattype = NatType::kDynamic;
  Switch portblockallocation = Switch::kDisabled;
  Seconds portrealloctimeout{0};
  std::uint32_t max_port_realloc_tmq = 65536;
  std::vector<wire::Ipv4Range> lsnip;
  std::vector<wire::Ipv4Range> drain{};  ///< of them: nothing new begins on these

  [[nodiscard]] std::uint64_t addresses() const;
  [[nodiscard]] std::uint64_t draining_addresses() const;

  friend bool operator==(const PoolConfig&, const PoolConfig&) = default;
};

/// An idle timeout for some destination ports of the application profiles that name it.
struct AppsAttributesConfig {
  std::string name;
  shared::Protocol transportprotocol = shared::Protocol::kTcp;
  std::optional<PortRange> port;  ///< none: all ports of the profile
  Seconds sessiontimeout{30};

  [[nodiscard]] PortRange ports() const { return port.value_or(PortRange{0, 65535}); }

  friend bool operator==(const AppsAttributesConfig&, const AppsAttributesConfig&) = default;
};

struct AppsProfileConfig {
  std::string name;
  shared::Protocol transportprotocol = shared::Protocol::kTcp;
  shared::Pooling ippooling = shared::Pooling::kRandom;
  shared::Dependence mapping = shared::Dependence::kAddressPort;
  shared::Dependence filtering = shared::Dependence::kAddressPort;
  std::uint16_t tcp_mss = 0;  ///< 0: SYNs keep theirs
  std::vector<PortRange> lsnport;
  std::vector<std::string> appsattributesname;

  friend bool operator==(const AppsProfileConfig&, const AppsProfileConfig&) = default;
};

struct TransportProfileConfig {
  std::string name;
  shared::Protocol transportprotocol = shared::Protocol::kTcp;
  Seconds sessiontimeout{120};
  Seconds finrsttimeout{30};
  Seconds stuntimeout{600};
  Seconds synidletimeout{60};
  std::uint16_t portquota = 0;
  std::uint16_t sessionquota = 0;
  std::uint16_t session_rate = 0;
  std::uint16_t session_burst = 0;  ///< 0: as many as session_rate
  std::uint16_t port_reserve = 0;
  std::vector<PortRange> reserved_for{};
  std::uint32_t group_session_limit = 0;
  Switch portpreserveparity = Switch::kDisabled;
  Switch portpreserverange = Switch::kDisabled;
  Switch syncheck = Switch::kEnabled;

  friend bool operator==(const TransportProfileConfig&, const TransportProfileConfig&) = default;
};

struct LogProfileConfig {
  std::string name;
  Switch log_subscr_info = Switch::kDisabled;
  Switch log_compact = Switch::kDisabled;
  Switch log_ipfix = Switch::kDisabled;
  Switch log_sess_deletion = Switch::kEnabled;

  friend bool operator==(const LogProfileConfig&, const LogProfileConfig&) = default;
};

struct GroupConfig {
  std::string name;
  std::string clientname;
  NatType nattype = NatType::kDynamic;
  AllocPolicy alloc_policy = AllocPolicy::kPorts;
  std::uint32_t portblocksize = 0;  ///< 0: the default where there are blocks (port_blocks.hpp)
  std::uint32_t max_blocks = 8;     ///< of a subscriber
  Seconds block_timeout{120};
  Switch logging = Switch::kDisabled;
  Switch session_logging = Switch::kDisabled;
  Switch session_sync = Switch::kEnabled;
  std::uint32_t snmptraplimit = 100;
  std::vector<std::string> poolname;
  std::vector<std::string> appsprofilename;
  std::vector<std::string> transportprofilename;
  std::vector<std::string> logprofilename;     ///< at most one
  std::vector<std::string> ipsec_alg_profile;  ///< at most one

  friend bool operator==(const GroupConfig&, const GroupConfig&) = default;
};

/// ipsec-alg section 2 of the reference; the parameters' meaning is the ALG's.
struct AlgProfileConfig {
  std::string name;
  Minutes ike_session_timeout{60};
  Minutes esp_session_timeout{60};
  Seconds esp_gate_timeout{30};
  Switch connfailover = Switch::kEnabled;
  std::uint32_t phase2_hold = 64;
  std::uint32_t fresh_sequence = 256;
  std::uint32_t spi_candidates = 4;
  std::uint32_t esp_session_quota = 256;
  Switch require_ike = Switch::kDisabled;
  Switch server_spread = Switch::kEnabled;
  Switch ike_preserve_port = Switch::kDisabled;

  friend bool operator==(const AlgProfileConfig&, const AlgProfileConfig&) = default;
};

/// An inside endpoint that is a NAT endpoint for good (shared/static_mappings.hpp). In a checked
/// model both parts of the NAT endpoint are there: what was not given has been chosen
/// (static_rules.hpp).
struct StaticConfig {
  std::string name;
  shared::StaticScope transportprotocol = shared::StaticScope::kAll;
  wire::Ipv4Address subscr_ip;
  StaticPort subscr_port;
  std::optional<wire::Ipv4Address> nat_ip;
  std::optional<StaticPort> nat_port;
  std::optional<wire::Ipv4Address> dest_ip;
  shared::DomainId td = 0;  ///< of the subscriber

  [[nodiscard]] shared::InsideAddress subscriber() const { return {subscr_ip, td}; }

  friend bool operator==(const StaticConfig&, const StaticConfig&) = default;
};

/// Destinations that a client's subscribers reach without translation (shared/bypass.hpp).
struct BypassConfig {
  std::string name;
  std::string clientname;
  wire::Ipv4Prefix dest_network{};
  PortRange dest_port{0, 65535};
  shared::StaticScope protocol = shared::StaticScope::kAll;

  friend bool operator==(const BypassConfig&, const BypassConfig&) = default;
};

struct LsnConfig {
  std::vector<AclConfig> acl;
  std::vector<ClientConfig> client;
  std::vector<PoolConfig> pool;
  std::vector<AppsAttributesConfig> appsattributes;
  std::vector<AppsProfileConfig> appsprofile;
  std::vector<TransportProfileConfig> transportprofile;
  std::vector<LogProfileConfig> logprofile;
  std::vector<GroupConfig> group;
  std::vector<StaticConfig> statics;
  std::vector<BypassConfig> bypass;

  friend bool operator==(const LsnConfig&, const LsnConfig&) = default;
};

struct AlgConfig {
  std::vector<AlgProfileConfig> profile;

  friend bool operator==(const AlgConfig&, const AlgConfig&) = default;
};

struct Model {
  DataplaneConfig dataplane;
  std::vector<InterfaceConfig> interfaces;
  std::vector<RouteConfig> routes;
  RoutingConfig routing;
  ControlConfig control;
  LogConfig log;
  MetricsConfig metrics;
  RecordsConfig records;
  LsnConfig lsn;
  AlgConfig ipsecalg;

  friend bool operator==(const Model&, const Model&) = default;
};

/// The object of that name, or nullptr.
template <class Object>
[[nodiscard]] const Object* find_by_name(const std::vector<Object>& objects,
                                         std::string_view name) {
  for (const Object& object : objects)
    if (object.name == name) return &object;
  return nullptr;
}

/// The objects of a list by name, for when many are to be found; of several of one name, the first.
/// Lives no longer than the list and as long as that does not change.
template <class Object>
class ByName {
 public:
  explicit ByName(const std::vector<Object>& objects) {
    for (const Object& object : objects) objects_.try_emplace(object.name, &object);
  }
  [[nodiscard]] const Object* find(std::string_view name) const {
    const auto found = objects_.find(name);
    return found == objects_.end() ? nullptr : found->second;
  }

 private:
  std::unordered_map<std::string_view, const Object*> objects_;
};

/// The devices of the interfaces, each once, in the order of the interfaces:
/// shared::Interface::device is an index of this list.
[[nodiscard]] std::vector<std::string> devices(const std::vector<InterfaceConfig>& interfaces);

/// A device without its arguments: DPDK tells devices apart by this.
[[nodiscard]] std::string_view device_name(std::string_view device);

/// The addresses of a pool that are NAT addresses: its ranges without the network's own address and
/// the broadcast address of an outside interface's link, which are no host's (RFC 1812 section
/// 4.2.3.1); those are put into `left_out` if it is given.
[[nodiscard]] std::vector<wire::Ipv4Range> nat_ranges(
    const Model& model, const PoolConfig& pool, std::vector<wire::Ipv4Address>* left_out = nullptr);

/// The addresses of a client's access lists, one range after the other; of a list that is not
/// there, none.
[[nodiscard]] std::vector<shared::InsideRange> acl_ranges(const ByName<AclConfig>& acls,
                                                          const ClientConfig& client);
/// ... and before them those of its networks: all its subscribers.
[[nodiscard]] std::vector<shared::InsideRange> subscriber_ranges(const ByName<AclConfig>& acls,
                                                                 const ClientConfig& client);

/// The interface that a route's gateway is on, as the route's domain knows the interfaces; nullptr:
/// none.
[[nodiscard]] const InterfaceConfig* interface_of(const std::vector<InterfaceConfig>& interfaces,
                                                  const RouteConfig& route);
/// The same for routes that are ways to one prefix: they lead by interfaces of one side.
using RouteKey = std::tuple<std::uint32_t, unsigned, shared::Side, shared::DomainId>;
[[nodiscard]] inline RouteKey route_key(const RouteConfig& route, const InterfaceConfig& by) {
  return {route.prefix.first().value, route.prefix.length, by.role, by.td};
}
/// Whether an inside interface is in a domain.
[[nodiscard]] bool has_inside(const Model& model, shared::DomainId td);

/// The application profile of the group with the most specific range for a destination port, with
/// that range; the profile is nullptr if the defaults apply. ICMP: any port, one profile for all.
struct CoveringProfile {
  const AppsProfileConfig* profile = nullptr;
  PortRange range;
};
[[nodiscard]] CoveringProfile covering_profile(const Model& model, const GroupConfig& group,
                                               shared::Protocol protocol, std::uint16_t port);

/// Of a profile's attributes the most specific one for a destination port, or nullptr.
[[nodiscard]] const AppsAttributesConfig* covering_attributes(const Model& model,
                                                              const AppsProfileConfig& profile,
                                                              std::uint16_t port);

/// The group's transport profile for a protocol, or nullptr.
[[nodiscard]] const TransportProfileConfig* transport_profile(const Model& model,
                                                              const GroupConfig& group,
                                                              shared::Protocol protocol);

/// The group's log profile; without one, one of the defaults.
[[nodiscard]] LogProfileConfig log_profile(const Model& model, const GroupConfig& group);

/// RFC 3947 and RFC 5996: IKE, and IKE and ESP behind a NAT.
inline constexpr std::uint16_t kIkePort = 500;
inline constexpr std::uint16_t kNatTraversalPort = 4500;

}  // namespace lsn::control
