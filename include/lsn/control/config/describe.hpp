// Every setting there is: its name, how it is written, its range and its default, in this one
// place.
//
// describe(visitor, object) walks through the settings of one object in the order of the reference.
// The reader of the file (validate.cpp), the writer (render.cpp) and the comparison of two models
// (flatten.hpp) are visitors, so a setting that is added here is read, checked, shown, and
// compared. A default is the value in a default-constructed object. A visitor has
//
//   name(member, longest)                  the object's name, required
//   text<Syntax>(setting, member, presence)    a value written as text
//   word(setting, member, presence)        an enumeration
//   number(setting, member, Limits)        a number or duration
//   flag(setting, member)                  true or false
//   texts<Syntax>(setting, list)           an array of values written as text
//   numbers(setting, list, Limits)
//   section(setting, object)               a group { }
//   objects(setting, list)                 a list of groups ( { }, ... )
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {

enum class Presence { kOptional, kRequired };

struct Limits {
  std::int64_t lowest;
  std::int64_t highest;
  std::string_view unit = "";  ///< for messages
  bool zero_too = false;       ///< 0 has a meaning of its own: none

  [[nodiscard]] constexpr bool admit(std::int64_t value) const {
    return (lowest <= value && value <= highest) || (zero_too && value == 0);
  }
};

/// "1-60 s", "0 or 256-65536": completes "..., allowed ..."
[[nodiscard]] inline std::string allowed_numbers(Limits limits) {
  return fmt::format("{}{}-{}{}{}", limits.zero_too ? "0 or " : "", limits.lowest, limits.highest,
                     limits.unit.empty() ? "" : " ", limits.unit);
}

template <class T, class Object>
concept Like = std::same_as<std::remove_const_t<T>, Object>;

/// 32-bit ticks of 10 ms reach 248 days (ticks.hpp); no timeout needs more.
inline constexpr std::int64_t kLongestTimeout = 10'000'000;
/// 536 fits any IPv4 link (RFC 9293 section 3.7.1).
inline constexpr Limits kMssLimits{536, 9000, "bytes", true};
inline constexpr Limits kDomainLimits{0, shared::kLastDomain};
inline constexpr std::int64_t kMaxPoolAddresses = 4096;
inline constexpr std::size_t kMaxPoolsPerGroup = 16;
inline constexpr std::int64_t kMaxTable = std::int64_t{1} << 28;
/// A worker's share of each table: the flow tables' indexes have 26 bits.
inline constexpr std::int64_t kMaxTablePerWorker = std::int64_t{1} << 26;

void describe(auto& v, Like<UnreachableConfig> auto& c) {
  v.number("code", c.code, {0, 15});
  v.number("rate", c.rate, {0, 1'000'000, "per second and worker"});
}

void describe(auto& v, Like<FragmentsConfig> auto& c) {
  v.number("max", c.max, {0, 1'048'576, "datagrams per worker"});
  v.number("timeout", c.timeout, {1, 60, "s"});
}

void describe(auto& v, Like<AlgTablesConfig> auto& c) {
  v.number("maxIkeSessions", c.max_ike_sessions, {64, kMaxTable});
  v.number("maxEspSessions", c.max_esp_sessions, {64, kMaxTable});
  v.number("maxGates", c.max_gates, {64, kMaxTable});
  v.number("maxHeldBytes", c.max_held_bytes, {65536, 2'147'483'647, "bytes"});
}

void describe(auto& v, Like<DataplaneConfig> auto& c) {
  v.numbers("workers", c.workers, {0, 1023, "(CPU ids)"});
  v.template texts<EalOptionSyntax>("eal", c.eal);
  v.number("maxSessions", c.max_sessions, {1024, kMaxTable});
  v.template text<PathSyntax>("stateFile", c.state_file, Presence::kOptional);
  v.flag("inboundRefresh", c.inbound_refresh);
  v.flag("powerSave", c.power_save);
  v.section("unreachable", c.unreachable);
  v.section("fragments", c.fragments);
  v.section("alg", c.alg);
}

void describe(auto& v, Like<KernelRateConfig> auto& c) {
  constexpr Limits kRates{1, 1'000'000, "packets per second"};
  v.number("routing", c.routing, kRates);
  v.number("management", c.management, kRates);
  v.number("rest", c.rest, kRates);
}

void describe(auto& v, Like<InterfaceConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.word("role", c.role, Presence::kRequired);
  v.template text<DeviceSyntax>("device", c.device, Presence::kRequired);
  v.template text<InterfaceAddressSyntax>("address", c.address, Presence::kRequired);
  v.number("vlan", c.vlan, {1, 4094});
  v.number("td", c.td, kDomainLimits);
  // 68 is the least that a link may carry (RFC 791 section 3.2), 9600 the most that NICs agree on.
  v.number("mtu", c.mtu, {68, 9600, "bytes"});
  v.number("tcpMss", c.tcp_mss, kMssLimits);
  v.template text<MacSyntax>("mac", c.mac, Presence::kOptional);
  v.number("rxQueueSize", c.rx_queue_size, {64, 32768});
  v.number("txQueueSize", c.tx_queue_size, {64, 32768});
  v.template text<KernelNameSyntax>("kernel", c.kernel, Presence::kOptional);
  v.template text<NetnsSyntax>("kernelNetns", c.kernel_netns, Presence::kOptional);
  v.flag("kernelIpv6", c.kernel_ipv6);
  v.section("kernelRate", c.kernel_rate);
}

void describe(auto& v, Like<RouteConfig> auto& c) {
  v.template text<PrefixSyntax>("prefix", c.prefix, Presence::kRequired);
  v.template text<AddressSyntax>("via", c.via, Presence::kRequired);
  v.number("td", c.td, kDomainLimits);
  v.number("weight", c.weight, {1, 256});
  v.flag("backup", c.backup);
  v.word("track", c.track, Presence::kOptional);
}

void describe(auto& v, Like<RoutingConfig> auto& c) {
  v.flag("kernelRoutes", c.kernel_routes);
  v.number("table", c.table, {1, 4'294'967'295});
}

void describe(auto& v, Like<ControlConfig> auto& c) {
  v.template text<SocketPathSyntax>("socket", c.socket, Presence::kOptional);
  v.template text<TextSyntax>("group", c.group, Presence::kOptional);
  v.template text<TextSyntax>("viewGroup", c.view_group, Presence::kOptional);
  v.template text<FilePathSyntax>("captureDirectory", c.capture_directory, Presence::kOptional);
}

void describe(auto& v, Like<LogConfig> auto& c) {
  v.word("level", c.level, Presence::kOptional);
  v.template text<LogTargetSyntax>("target", c.target, Presence::kOptional);
}

void describe(auto& v, Like<MetricsConfig> auto& c) {
  v.template text<ListenSyntax>("listen", c.listen, Presence::kOptional);
}

void describe(auto& v, Like<RecordFileConfig> auto& c) {
  v.template text<FilePathSyntax>("path", c.path, Presence::kRequired);
  v.number("rotateSize", c.rotate_size, {1, 1'048'576, "MB"});
  v.number("rotateTime", c.rotate_time, {10, 2'678'400, "s"});
  v.number("keep", c.keep, {0, 1'000'000, "segments"});
  v.word("compress", c.compress, Presence::kOptional);
  v.word("format", c.format, Presence::kOptional);
}

void describe(auto& v, Like<RecordSyslogConfig> auto& c) {
  v.template text<ServerSyntax>("server", c.server, Presence::kRequired);
  v.word("transport", c.transport, Presence::kOptional);
  v.word("facility", c.facility, Presence::kOptional);
  v.word("format", c.format, Presence::kOptional);
  v.template text<PathSyntax>("caFile", c.ca_file, Presence::kOptional);
}

void describe(auto& v, Like<RecordIpfixConfig> auto& c) {
  v.template text<ServerSyntax>("collector", c.collector, Presence::kRequired);
  v.word("transport", c.transport, Presence::kOptional);
  v.number("domain", c.domain, {0, 4'294'967'295});
  v.number("templateRefresh", c.template_refresh, {10, 86400, "s"});
}

void describe(auto& v, Like<PoolThresholdConfig> auto& c) {
  v.number("raise", c.raise, {0, 100, "%"});
  v.number("clear", c.clear, {0, 100, "%"});
}

void describe(auto& v, Like<RecordsConfig> auto& c) {
  v.template text<NodeSyntax>("node", c.node, Presence::kOptional);
  v.section("poolThreshold", c.pool_threshold);
  v.objects("file", c.file);
  v.objects("syslog", c.syslog);
  v.objects("ipfix", c.ipfix);
}

void describe(auto& v, Like<AclConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.word("action", c.action, Presence::kOptional);
  v.template texts<SourceRangeSyntax>("srcIP", c.src_ip);
  v.number("td", c.td, kDomainLimits);
}

void describe(auto& v, Like<ClientConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.template texts<ClientNetworkSyntax>("network", c.network);
  v.template texts<TextSyntax>("aclname", c.aclname);
}

void describe(auto& v, Like<PoolConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.word("nattype", c.nattype, Presence::kOptional);
  v.word("portblockallocation", c.portblockallocation, Presence::kOptional);
  v.number("portrealloctimeout", c.portrealloctimeout, {0, 600, "s"});
  v.number("maxPortReallocTmq", c.max_port_realloc_tmq, {0, 65536});
  v.template texts<AddressRangeSyntax>("lsnip", c.lsnip);
  v.template texts<AddressRangeSyntax>("drain", c.drain);
}

void describe(auto& v, Like<AppsAttributesConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.word("transportprotocol", c.transportprotocol, Presence::kRequired);
  v.template text<PortRangeSyntax>("port", c.port, Presence::kOptional);
  v.number("sessiontimeout", c.sessiontimeout, {1, kLongestTimeout, "s"});
}

void describe(auto& v, Like<AppsProfileConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.word("transportprotocol", c.transportprotocol, Presence::kRequired);
  v.word("ippooling", c.ippooling, Presence::kOptional);
  v.word("mapping", c.mapping, Presence::kOptional);
  v.word("filtering", c.filtering, Presence::kOptional);
  v.number("tcpMss", c.tcp_mss, kMssLimits);
  v.template texts<PortRangeSyntax>("lsnport", c.lsnport);
  v.template texts<TextSyntax>("appsattributesname", c.appsattributesname);
}

void describe(auto& v, Like<TransportProfileConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.word("transportprotocol", c.transportprotocol, Presence::kRequired);
  v.number("sessiontimeout", c.sessiontimeout, {1, kLongestTimeout, "s"});
  v.number("finrsttimeout", c.finrsttimeout, {1, kLongestTimeout, "s"});
  v.number("stuntimeout", c.stuntimeout, {120, 1200, "s"});
  v.number("synidletimeout", c.synidletimeout, {30, 600, "s"});
  v.number("portquota", c.portquota, {0, 65535});
  v.number("sessionquota", c.sessionquota, {0, 65535});
  v.number("sessionRate", c.session_rate, {0, 65535, "per second"});
  v.number("sessionBurst", c.session_burst, {0, 65535});
  v.number("portReserve", c.port_reserve, {0, 65535});
  v.template texts<PortRangeSyntax>("reservedFor", c.reserved_for);
  v.number("groupSessionLimit", c.group_session_limit, {0, 4'294'967'295});
  v.word("portpreserveparity", c.portpreserveparity, Presence::kOptional);
  v.word("portpreserverange", c.portpreserverange, Presence::kOptional);
  v.word("syncheck", c.syncheck, Presence::kOptional);
}

void describe(auto& v, Like<LogProfileConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.word("logSubscrInfo", c.log_subscr_info, Presence::kOptional);
  v.word("logCompact", c.log_compact, Presence::kOptional);
  v.word("logIpfix", c.log_ipfix, Presence::kOptional);
  v.word("logSessDeletion", c.log_sess_deletion, Presence::kOptional);
}

void describe(auto& v, Like<GroupConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.template text<TextSyntax>("clientname", c.clientname, Presence::kRequired);
  v.word("nattype", c.nattype, Presence::kOptional);
  v.word("allocPolicy", c.alloc_policy, Presence::kOptional);
  v.number("portblocksize", c.portblocksize, {256, 65536, "", true});
  v.number("maxBlocks", c.max_blocks, {1, 512});
  v.number("blockTimeout", c.block_timeout, {0, 86400, "s"});
  v.word("logging", c.logging, Presence::kOptional);
  v.word("sessionLogging", c.session_logging, Presence::kOptional);
  v.word("sessionSync", c.session_sync, Presence::kOptional);
  v.number("snmptraplimit", c.snmptraplimit, {0, 10000});
  v.template texts<TextSyntax>("poolname", c.poolname);
  v.template texts<TextSyntax>("appsprofilename", c.appsprofilename);
  v.template texts<TextSyntax>("transportprofilename", c.transportprofilename);
  v.template texts<TextSyntax>("logprofilename", c.logprofilename);
  v.template texts<TextSyntax>("ipsecAlgProfile", c.ipsec_alg_profile);
}

void describe(auto& v, Like<StaticConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.word("transportprotocol", c.transportprotocol, Presence::kRequired);
  v.template text<AddressSyntax>("subscrIP", c.subscr_ip, Presence::kRequired);
  v.template text<StaticPortSyntax>("subscrPort", c.subscr_port, Presence::kRequired);
  v.template text<AddressSyntax>("natIP", c.nat_ip, Presence::kOptional);
  v.template text<StaticPortSyntax>("natPort", c.nat_port, Presence::kOptional);
  v.template text<AddressSyntax>("destIP", c.dest_ip, Presence::kOptional);
  v.number("td", c.td, kDomainLimits);
}

void describe(auto& v, Like<BypassConfig> auto& c) {
  v.name(c.name, kMaxName);
  v.template text<TextSyntax>("clientname", c.clientname, Presence::kRequired);
  v.template text<NetworkSyntax>("destNetwork", c.dest_network, Presence::kOptional);
  v.template text<PortRangeSyntax>("destPort", c.dest_port, Presence::kOptional);
  v.word("protocol", c.protocol, Presence::kOptional);
}

void describe(auto& v, Like<LsnConfig> auto& c) {
  v.objects("acl", c.acl);
  v.objects("client", c.client);
  v.objects("pool", c.pool);
  v.objects("appsattributes", c.appsattributes);
  v.objects("appsprofile", c.appsprofile);
  v.objects("transportprofile", c.transportprofile);
  v.objects("logprofile", c.logprofile);
  v.objects("group", c.group);
  v.objects("static", c.statics);
  v.objects("bypass", c.bypass);
}

void describe(auto& v, Like<AlgProfileConfig> auto& c) {
  v.name(c.name, kMaxAlgProfileName);
  v.number("ikeSessionTimeout", c.ike_session_timeout, {1, 1440, "minutes"});
  v.number("espSessionTimeout", c.esp_session_timeout, {1, 1440, "minutes"});
  v.number("espGateTimeout", c.esp_gate_timeout, {3, 1200, "s"});
  v.word("connfailover", c.connfailover, Presence::kOptional);
  v.number("phase2Hold", c.phase2_hold, {0, 1024, "clients"});
  v.number("freshSequence", c.fresh_sequence, {1, 65535});
  v.number("spiCandidates", c.spi_candidates, {1, 64});
  v.number("espSessionQuota", c.esp_session_quota, {1, 65535});
  v.word("requireIke", c.require_ike, Presence::kOptional);
  v.word("serverSpread", c.server_spread, Presence::kOptional);
  v.word("ikePreservePort", c.ike_preserve_port, Presence::kOptional);
}

void describe(auto& v, Like<AlgConfig> auto& c) {
  v.objects("profile", c.profile);
}

void describe(auto& v, Like<Model> auto& c) {
  v.section("dataplane", c.dataplane);
  v.objects("interfaces", c.interfaces);
  v.objects("routes", c.routes);
  v.section("routing", c.routing);
  v.section("control", c.control);
  v.section("log", c.log);
  v.section("metrics", c.metrics);
  v.section("records", c.records);
  v.section("lsn", c.lsn);
  v.section("ipsecalg", c.ipsecalg);
}

// Numbers and durations as one kind of thing, for visitors -------------------------------------

template <class T>
[[nodiscard]] std::int64_t count_of(const T& value) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<std::int64_t>(value);
  else
    return static_cast<std::int64_t>(value.count());
}

template <class T>
void set_count(T& value, std::int64_t count) {
  if constexpr (std::is_integral_v<T>)
    value = static_cast<T>(count);
  else
    value = T{static_cast<typename T::rep>(count)};
}

/// Whether commands give an array a value as a whole (set, unset) instead of binding and unbinding
/// its elements.
[[nodiscard]] constexpr bool is_set_as_a_whole(std::string_view array) {
  return array == "reservedFor" || array == "drain";
}

/// The word for the objects of a list in messages.
[[nodiscard]] constexpr std::string_view kind_of_objects(std::string_view setting) {
  if (setting == "interfaces") return "interface";
  if (setting == "routes") return "route";
  if (setting == "profile") return "ipsecalg profile";
  if (setting == "file") return "records file";
  if (setting == "syslog") return "records syslog";
  if (setting == "ipfix") return "records ipfix";
  return setting;
}

}  // namespace lsn::control
