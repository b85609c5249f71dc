// The words of the configuration: enumerations, names, and how values are written.
//
// One vocabulary everywhere: file, command line, `show`, logs and metrics use the words that stand
// here. An enumeration is accepted in any case and written as here. A *syntax* says how a value is
// written as text, in both directions; its `kAllowed` completes "..., allowed ...", and its hint(),
// if it has one, names the fault of a text that it does not parse.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lsn/shared/generation.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

enum class NatType : std::uint8_t { kDynamic, kDeterministic };
enum class AllocPolicy : std::uint8_t { kPorts, kIpAddrs };
/// The action of an access list on the sources that it names: the only one supported.
enum class AclAction : std::uint8_t { kAllow };
enum class LogLevel : std::uint8_t { kTrace, kDebug, kInfo, kWarning, kError, kCritical };
/// How a line of the records' files is written, and how their segments are kept once closed.
enum class RecordFormat : std::uint8_t { kText, kJson };
enum class Compression : std::uint8_t { kNone, kZstd };
/// What takes a way of a route out of use while another one can be had.
enum class RouteTrack : std::uint8_t { kNone, kArp };
/// How records travel to a server of syslog, and to a collector of IPFIX.
enum class SyslogTransport : std::uint8_t { kUdp, kTcp, kTls };
enum class IpfixTransport : std::uint8_t { kUdp, kTcp };
enum class SyslogFormat : std::uint8_t { kRfc5424, kNetscaler };
/// By their numbers (RFC 5424 section 6.2.1).
enum class SyslogFacility : std::uint8_t {
  kUser = 1,
  kDaemon = 3,
  kLocal0 = 16,
  kLocal1,
  kLocal2,
  kLocal3,
  kLocal4,
  kLocal5,
  kLocal6,
  kLocal7
};
/// The switch of most of the objects' parameters.
enum class Switch : std::uint8_t { kDisabled, kEnabled };

template <class Enum>
struct Words;  // kAll: every value with its word

template <>
struct Words<Switch> {
  static constexpr std::array<std::pair<Switch, std::string_view>, 2> kAll{
      {{Switch::kEnabled, "ENABLED"}, {Switch::kDisabled, "DISABLED"}}};
};
template <>
struct Words<NatType> {
  static constexpr std::array<std::pair<NatType, std::string_view>, 2> kAll{
      {{NatType::kDynamic, "DYNAMIC"}, {NatType::kDeterministic, "DETERMINISTIC"}}};
};
template <>
struct Words<AclAction> {
  static constexpr std::array<std::pair<AclAction, std::string_view>, 1> kAll{
      {{AclAction::kAllow, "ALLOW"}}};
};
template <>
struct Words<AllocPolicy> {
  static constexpr std::array<std::pair<AllocPolicy, std::string_view>, 2> kAll{
      {{AllocPolicy::kPorts, "PORTS"}, {AllocPolicy::kIpAddrs, "IPADDRS"}}};
};
template <>
struct Words<LogLevel> {
  static constexpr std::array<std::pair<LogLevel, std::string_view>, 6> kAll{
      {{LogLevel::kTrace, "trace"},
       {LogLevel::kDebug, "debug"},
       {LogLevel::kInfo, "info"},
       {LogLevel::kWarning, "warning"},
       {LogLevel::kError, "error"},
       {LogLevel::kCritical, "critical"}}};
};
template <>
struct Words<RecordFormat> {
  static constexpr std::array<std::pair<RecordFormat, std::string_view>, 2> kAll{
      {{RecordFormat::kText, "text"}, {RecordFormat::kJson, "json"}}};
};
template <>
struct Words<Compression> {
  static constexpr std::array<std::pair<Compression, std::string_view>, 2> kAll{
      {{Compression::kNone, "none"}, {Compression::kZstd, "zstd"}}};
};
template <>
struct Words<RouteTrack> {
  static constexpr std::array<std::pair<RouteTrack, std::string_view>, 2> kAll{
      {{RouteTrack::kArp, "ARP"}, {RouteTrack::kNone, "NONE"}}};
};
template <>
struct Words<SyslogTransport> {
  static constexpr std::array<std::pair<SyslogTransport, std::string_view>, 3> kAll{
      {{SyslogTransport::kUdp, "UDP"},
       {SyslogTransport::kTcp, "TCP"},
       {SyslogTransport::kTls, "TLS"}}};
};
template <>
struct Words<IpfixTransport> {
  static constexpr std::array<std::pair<IpfixTransport, std::string_view>, 2> kAll{
      {{IpfixTransport::kUdp, "UDP"}, {IpfixTransport::kTcp, "TCP"}}};
};
template <>
struct Words<SyslogFormat> {
  static constexpr std::array<std::pair<SyslogFormat, std::string_view>, 2> kAll{
      {{SyslogFormat::kRfc5424, "RFC5424"}, {SyslogFormat::kNetscaler, "NETSCALER"}}};
};
template <>
struct Words<SyslogFacility> {
  static constexpr std::array<std::pair<SyslogFacility, std::string_view>, 10> kAll{
      {{SyslogFacility::kLocal0, "LOCAL0"},
       {SyslogFacility::kLocal1, "LOCAL1"},
       {SyslogFacility::kLocal2, "LOCAL2"},
       {SyslogFacility::kLocal3, "LOCAL3"},
       {SyslogFacility::kLocal4, "LOCAL4"},
       {SyslogFacility::kLocal5, "LOCAL5"},
       {SyslogFacility::kLocal6, "LOCAL6"},
       {SyslogFacility::kLocal7, "LOCAL7"},
       {SyslogFacility::kUser, "USER"},
       {SyslogFacility::kDaemon, "DAEMON"}}};
};
template <>
struct Words<shared::Side> {
  static constexpr std::array<std::pair<shared::Side, std::string_view>, 2> kAll{
      {{shared::Side::kInside, "inside"}, {shared::Side::kOutside, "outside"}}};
};
template <>
struct Words<shared::Protocol> {
  static constexpr std::array<std::pair<shared::Protocol, std::string_view>, 3> kAll{
      {{shared::Protocol::kTcp, "TCP"},
       {shared::Protocol::kUdp, "UDP"},
       {shared::Protocol::kIcmp, "ICMP"}}};
};
template <>
struct Words<shared::StaticScope> {
  static constexpr std::array<std::pair<shared::StaticScope, std::string_view>, 4> kAll{
      {{shared::StaticScope::kTcp, "TCP"},
       {shared::StaticScope::kUdp, "UDP"},
       {shared::StaticScope::kIcmp, "ICMP"},
       {shared::StaticScope::kAll, "ALL"}}};
};
template <>
struct Words<shared::Pooling> {
  static constexpr std::array<std::pair<shared::Pooling, std::string_view>, 2> kAll{
      {{shared::Pooling::kPaired, "PAIRED"}, {shared::Pooling::kRandom, "RANDOM"}}};
};
template <>
struct Words<shared::Dependence> {
  static constexpr std::array<std::pair<shared::Dependence, std::string_view>, 3> kAll{
      {{shared::Dependence::kEndpointIndependent, "ENDPOINT-INDEPENDENT"},
       {shared::Dependence::kAddress, "ADDRESS-DEPENDENT"},
       {shared::Dependence::kAddressPort, "ADDRESS-PORT-DEPENDENT"}}};
};

/// How many bytes at the beginning of `text` are one printable character of UTF-8 (RFC 3629); 0: it
/// begins with something else.
[[nodiscard]] std::size_t printable_character(std::string_view text);

/// The text for a message: unprintable bytes as \xNN, the end of a long one as "...".
[[nodiscard]] std::string printable(std::string_view text, std::size_t longest = 1000);

/// Same letters, in any case (ASCII).
[[nodiscard]] bool same_word(std::string_view a, std::string_view b);
/// Whether a word is, or begins with, the typed text; in any case.
[[nodiscard]] inline bool begins_with(std::string_view word, std::string_view typed) {
  return same_word(word.substr(0, typed.size()), typed);
}

template <class Enum>
[[nodiscard]] constexpr std::string_view to_word(Enum value) {
  for (const auto& [known, word] : Words<Enum>::kAll)
    if (known == value) return word;
  return "?";
}

template <class Enum>
[[nodiscard]] std::optional<Enum> parse_word(std::string_view text) {
  for (const auto& [value, word] : Words<Enum>::kAll)
    if (same_word(text, word)) return value;
  return std::nullopt;
}

/// Digits and nothing else, up to `highest`.
[[nodiscard]] std::optional<unsigned> parse_number(std::string_view text, unsigned highest,
                                                   int base = 10);

/// "TCP, UDP or ICMP"
template <class Enum>
[[nodiscard]] std::string all_words() {
  std::string all;
  for (std::size_t i = 0; i < Words<Enum>::kAll.size(); ++i) {
    if (i != 0) all += i + 1 == Words<Enum>::kAll.size() ? " or " : ", ";
    all += Words<Enum>::kAll[i].second;
  }
  return all;
}

/// The candidate that was probably meant, if one is near enough.
[[nodiscard]] std::optional<std::string_view> nearest_word(
    std::string_view given, std::span<const std::string_view> candidates);

// Names --------------------------------------------------------------------------------------

inline constexpr std::size_t kMaxName = 127;
inline constexpr std::size_t kMaxAlgProfileName = 32;

/// The allowed characters, if `name` cannot be a name of up to `longest` of them. Letters, digits
/// and _ # . : @ = - and blank, the first a letter, a digit or _.
[[nodiscard]] std::optional<std::string> check_name(std::string_view name, std::size_t longest);

// Values that are written as text ---------------------------------------------------------------

/// Destination ports; both ends belong to it.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;

  [[nodiscard]] bool contains(std::uint16_t port) const { return first <= port && port <= last; }
  [[nodiscard]] bool overlaps(PortRange other) const {
    return first <= other.last && other.first <= last;
  }
  [[nodiscard]] unsigned width() const { return 1U + last - first; }

  friend bool operator==(PortRange, PortRange) = default;
};

/// An interface's address with the length of its network: a unicast address that is neither the
/// network's nor its broadcast address.
struct InterfaceAddressSyntax {
  using Value = wire::Ipv4Prefix;
  static constexpr std::string_view kAllowed =
      "A.B.C.D/L with L 1-32, a unicast address that is not the network's first or last";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return wire::to_string(value); }
};

/// "host bits set, did you mean 10.1.0.0/16?" of "10.1.0.1/16"; nothing if that is not the fault.
[[nodiscard]] std::optional<std::string> host_bits_set(std::string_view text);

/// A destination prefix without host bits.
struct PrefixSyntax {
  using Value = wire::Ipv4Prefix;
  static constexpr std::string_view kAllowed = "A.B.C.D/L with L 0-32 and no host bits set";
  static std::optional<std::string> hint(std::string_view text) { return host_bits_set(text); }
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return wire::to_string(value); }
};

/// The same for subscribers; a plain address is a network of one.
struct NetworkSyntax {
  using Value = wire::Ipv4Prefix;
  static constexpr std::string_view kAllowed =
      "A.B.C.D or A.B.C.D/L with L 0-32 and no host bits set";
  static std::optional<std::string> hint(std::string_view text) { return host_bits_set(text); }
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return wire::to_string(value); }
};

/// A network of subscribers, in a traffic domain.
struct ClientNetwork : wire::Ipv4Prefix {
  shared::DomainId td = 0;

  friend bool operator==(const ClientNetwork&, const ClientNetwork&) = default;
};

/// "10.0.0.0/8", "10.0.0.0/8 td 5"; a plain address is a network of one.
struct ClientNetworkSyntax {
  using Value = ClientNetwork;
  static constexpr std::string_view kAllowed =
      "A.B.C.D or A.B.C.D/L with L 0-32 and no host bits set, in a traffic domain with \" td N\" "
      "behind it, N 0-4094";
  static std::optional<std::string> hint(std::string_view text) {
    return host_bits_set(text.substr(0, text.find(' ')));
  }
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value);
};
/// Completes the text of what is in a domain: " td 5"; nothing of domain 0.
[[nodiscard]] std::string td_text(shared::DomainId td);

/// A unicast address.
struct AddressSyntax {
  using Value = wire::Ipv4Address;
  static constexpr std::string_view kAllowed = "a unicast address A.B.C.D";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(Value value) { return wire::to_string(value); }
};

/// NAT addresses: one, a range or a prefix of unicast addresses.
struct AddressRangeSyntax {
  using Value = wire::Ipv4Range;
  static constexpr std::string_view kAllowed =
      "A.B.C.D, A.B.C.D-E.F.G.H (ascending) or A.B.C.D/L (no host bits set), unicast addresses";
  static std::optional<std::string> hint(std::string_view text) { return host_bits_set(text); }
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value);
};

/// Source addresses of an access list.
struct SourceRangeSyntax {
  using Value = wire::Ipv4Range;
  static constexpr std::string_view kAllowed = "A.B.C.D or A.B.C.D-E.F.G.H (ascending)";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return AddressRangeSyntax::format(value); }
};

struct PortRangeSyntax {
  using Value = PortRange;
  static constexpr std::string_view kAllowed = "\"PORT\" or \"PORT-PORT\" (ascending), 0-65535";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(Value value);
};

/// The port of a static mapping (ICMP: the identifier); `*`: the whole address, each port keeps its
/// number.
struct StaticPort {
  std::uint16_t number = 0;
  bool is_any = false;

  friend bool operator==(StaticPort, StaticPort) = default;
};
struct StaticPortSyntax {
  using Value = StaticPort;
  static constexpr std::string_view kAllowed = "a port 0-65535, or * for the whole address";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(Value value);
};

struct MacSyntax {
  using Value = wire::MacAddress;
  static constexpr std::string_view kAllowed = "a unicast address such as 02:00:00:00:00:01";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return wire::to_string(value); }
};

/// The name of a kernel interface that is made, or nothing (IFNAMSIZ; dev_valid_name() in Linux).
struct KernelNameSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed =
      "up to 15 letters, digits and _ - . (not ., .., all or default; \"\": no kernel interface)";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

/// A network namespace as ip-netns(8) names it, or nothing.
struct NetnsSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed =
      "a name in /run/netns: up to 255 letters, digits and _ - . (not . or ..; \"\": lsnd's own)";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

/// A DPDK device: a PCI address, which is completed by its domain, or a virtual device; with
/// arguments behind a comma.
struct DeviceSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed =
      "a PCI address such as 0000:03:00.0 or a virtual device such as net_tap0,iface=tap0";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

/// An absolute path, or nothing.
struct PathSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed = "an absolute path or \"\"";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

/// An absolute path of something that is not a directory.
struct FilePathSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed = "an absolute path that does not end in /";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

/// The name of this box in records: as a host's, without blanks; nothing: the host's own.
struct NodeSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed =
      "up to 64 letters, digits and . _ - (\"\": the name of the host)";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

/// A path that fits into a socket's address (108 bytes with the closing NUL, unix(7)).
struct SocketPathSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed = "an absolute path of up to 107 bytes";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

struct LogTargetSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed = "stderr, syslog or an absolute path";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

/// Where a server of lsnd listens: an address of the kernel's and a TCP port, or nothing.
struct ListenSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed =
      "A.B.C.D:PORT with PORT 1-65535 (0.0.0.0: all addresses of the kernel) or \"\"";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

struct Endpoint {
  wire::Ipv4Address address;
  std::uint16_t port = 0;
};
/// Anything that ListenSyntax takes, but "".
[[nodiscard]] std::optional<Endpoint> parse_endpoint(std::string_view text);

/// Where a server of somebody else's listens.
struct ServerSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed = "A.B.C.D:PORT with PORT 1-65535";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

/// Anything that can be printed.
struct TextSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed = "printable characters";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

/// An option for DPDK that does not interfere with lsnd's own options.
struct EalOptionSyntax {
  using Value = std::string;
  static constexpr std::string_view kAllowed =
      "an option of DPDK's EAL other than -c, -l, -s, -S, --lcores, --main-lcore, -a, --allow, "
      "--vdev "
      "(lsnd adds cores and devices itself) or --help";
  static std::optional<Value> parse(std::string_view text);
  static std::string format(const Value& value) { return value; }
};

}  // namespace lsn::control
