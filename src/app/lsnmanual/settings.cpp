#include "settings.hpp"

#include <fmt/format.h>

#include <initializer_list>
#include <map>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "lsn/control/config/describe.hpp"
#include "lsn/control/config/reload_diff.hpp"

namespace lsn::manual {
namespace {

using Sentences = std::map<std::string_view, std::string_view>;

const Sentences& sentences() {
  static const Sentences all{
      {"dataplane.workers", "CPUs of the poll-mode workers, each once, 1-64 of them."},
      {"dataplane.eal", "Options that DPDK's EAL gets as they are."},
      {"dataplane.maxSessions",
       "Sessions in all, divided among the workers. Memory for them is taken at start."},
      {"dataplane.stateFile", "Where the state is kept that survives a restart."},
      {"dataplane.inboundRefresh",
       "Whether packets from outside keep a mapping alive (RFC 4787 REQ-6); those from inside "
       "always do."},
      {"dataplane.powerSave", "Whether idle workers sleep instead of polling."},
      {"dataplane.unreachable.code",
       "Code of the ICMP destination unreachable that a subscriber gets when no mapping can be "
       "made for it (13: administratively prohibited)."},
      {"dataplane.unreachable.rate",
       "How many of those are sent at most; one subscriber gets a tenth. 0: none."},
      {"dataplane.fragments.max",
       "Fragmented datagrams that are remembered until all of them is there."},
      {"dataplane.fragments.timeout", "How long they are."},
      {"dataplane.alg.maxIkeSessions", "IKE sessions in all, divided among the workers."},
      {"dataplane.alg.maxEspSessions", "ESP sessions in all; each is one of maxSessions as well."},
      {"dataplane.alg.maxGates", "Pairs of a NAT address and an IPsec server."},
      {"dataplane.alg.maxHeldBytes", "Messages that wait for a gate, with their packet buffers."},
      {"interfaces.name", "What output and messages call it."},
      {"interfaces.role", "Whether subscribers are on this side."},
      {"interfaces.device",
       "A DPDK device with its arguments. Several interfaces may share one, in different VLANs."},
      {"interfaces.address", "Ours, with the length of its network."},
      {"interfaces.vlan", "Its VLAN; without it the interface is untagged."},
      {"interfaces.td",
       "Of an inside interface: the traffic domain of what comes in by it. Interfaces, and their "
       "subscribers, of different domains may have the same addresses."},
      {"interfaces.mtu", "The largest IP packet."},
      {"interfaces.tcpMss",
       "The largest MSS of TCP SYNs that come in or leave here; larger ones are lowered. 0: none."},
      {"interfaces.mac", "Its hardware address; without it the device keeps its own."},
      {"interfaces.rxQueueSize", "Descriptors of each receive queue."},
      {"interfaces.txQueueSize", "Descriptors of each transmit queue."},
      {"interfaces.kernel",
       "The name of a kernel interface (a TAP) that is made for it, with its address, mtu and "
       "hardware address: ssh, BGP and others reach the box by it. \"\": none."},
      {"interfaces.kernelNetns",
       "The network namespace of that, a name in /run/netns; \"\": lsnd's own."},
      {"interfaces.kernelIpv6", "Whether the kernel gets link-local IPv6, too."},
      {"interfaces.kernelRate.routing",
       "How much BGP, OSPF, BFD, VRRP and ARP the kernel gets by it at most."},
      {"interfaces.kernelRate.management", "How much ssh, SNMP and HTTPS."},
      {"interfaces.kernelRate.rest", "How much of anything else."},
      {"routes.prefix", "Where to. The longest prefix wins."},
      {"routes.via", "A neighbour in the network of an interface."},
      {"routes.td", "Of a route that leads inside: its traffic domain."},
      {"routes.weight", "Beside others of the prefix: its share of the subscribers."},
      {"routes.backup", "Beside others of the prefix: taken while none of them answers."},
      {"routes.track",
       "Beside others of the prefix: ARP leaves out a neighbour that does not answer."},
      {"routing.kernelRoutes",
       "Whether routes that daemons put into the kernel, by kernel interfaces, are taken over."},
      {"routing.table", "Which of the kernel's routing tables; 254 is the main one."},
      {"control.socket", "Where lsnctl finds lsnd, mode 0660."},
      {"control.group",
       "Whom the socket belongs to: \"\" is lsnd if there is such a group, else root."},
      {"control.viewGroup",
       "Whose members may look and change nothing, by a socket of their own; \"\": nobody."},
      {"control.captureDirectory",
       "Where the files of start capture lie; made with mode 0750 if it is not there."},
      {"log.level", "The least that is logged."},
      {"log.target", "Where to. SIGUSR2 opens a file anew."},
      {"metrics.listen", "Where metrics are served; \"\": nowhere."},
      {"records.node", "The name of this box in each record; \"\": the name of the host."},
      {"records.poolThreshold.raise",
       "How much of a pool's ports is in use when its alert is raised; 0: never."},
      {"records.poolThreshold.clear", "... and when it is cleared."},
      {"records.file.path",
       "Where its segments lie: PATH-YYYYMMDDTHHMMSSZ.log and so on, by the first second of each."},
      {"records.file.rotateSize", "The size at which a segment is closed."},
      {"records.file.rotateTime", "The time after which a segment is closed."},
      {"records.file.keep", "Closed segments that are kept, the oldest go; 0: all."},
      {"records.file.compress", "How closed segments are compressed."},
      {"records.file.format", "How a record is written."},
      {"records.syslog.server", "Where the server listens."},
      {"records.syslog.transport", "How records travel to it."},
      {"records.syslog.facility", "The facility of each message."},
      {"records.syslog.format", "How a record is written: RFC 5424, or as NetScaler's LSN does."},
      {"records.syslog.caFile",
       "With TLS: certificates of those who may have signed the server's, which is for its "
       "address; "
       "\"\": the system's."},
      {"records.ipfix.collector", "Where the collector listens."},
      {"records.ipfix.transport", "How records travel to it."},
      {"records.ipfix.domain", "The Observation Domain ID of each message (RFC 7011)."},
      {"records.ipfix.templateRefresh", "Over UDP: how often templates are sent again."},
      {"lsn.acl.name", "What clients call it."},
      {"lsn.acl.action", "Whether those sources are the client's."},
      {"lsn.acl.srcIP", "Sources."},
      {"lsn.acl.td", "Their traffic domain."},
      {"lsn.client.name", "What groups call it."},
      {"lsn.client.network",
       "Subscribers, in a traffic domain: \"10.0.0.0/8 td 5\". Networks of different clients may "
       "not overlap in one domain."},
      {"lsn.client.aclname", "Access lists whose sources are subscribers as well."},
      {"lsn.pool.name", "What groups call it."},
      {"lsn.pool.nattype", "How addresses are given to subscribers; equal to the group's."},
      {"lsn.pool.portblockallocation",
       "Whether a subscriber gets ports in blocks that he has to himself."},
      {"lsn.pool.portrealloctimeout", "How long a freed NAT port waits until it is used again."},
      {"lsn.pool.maxPortReallocTmq", "Ports that wait so at most."},
      {"lsn.pool.lsnip",
       "NAT addresses, up to 4096, each in one pool. Those in an outside interface's network are "
       "answered by ARP, all others have to be routed to us."},
      {"lsn.pool.drain",
       "Addresses of it on which nothing new begins; what lives there goes on, also the "
       "subscribers "
       "that are paired with them."},
      {"lsn.appsattributes.name", "What application profiles call it."},
      {"lsn.appsattributes.transportprotocol", "Whose sessions it is for; equal to the profile's."},
      {"lsn.appsattributes.port",
       "Destination ports of the profile that it is for; without it all of them. The most specific "
       "range of a profile's attributes wins. ICMP has none."},
      {"lsn.appsattributes.sessiontimeout",
       "When an idle session to these ports ends, in place of the transport profile's "
       "sessiontimeout; of TCP, an open one."},
      {"lsn.appsprofile.name", "What groups call it."},
      {"lsn.appsprofile.transportprotocol", "Whose sessions it is for."},
      {"lsn.appsprofile.ippooling", "PAIRED: a subscriber keeps one NAT address (RFC 6888 REQ-2)."},
      {"lsn.appsprofile.mapping", "When a NAT endpoint is used again (RFC 4787 section 4.1)."},
      {"lsn.appsprofile.filtering", "Who may send to it (RFC 4787 section 5)."},
      {"lsn.appsprofile.tcpMss",
       "The largest MSS of TCP SYNs of both sides; larger ones are lowered, also where an "
       "interface's tcpMss is larger. 0: none."},
      {"lsn.appsprofile.lsnport",
       "Destination ports. The most specific range of a group's profiles wins."},
      {"lsn.appsprofile.appsattributesname", "Attributes that give its ports idle timeouts."},
      {"lsn.transportprofile.name", "What groups call it."},
      {"lsn.transportprofile.transportprotocol",
       "Whose sessions it is for; a group has one for each at most."},
      {"lsn.transportprofile.sessiontimeout", "When an idle session ends."},
      {"lsn.transportprofile.finrsttimeout",
       "When a TCP session ends after the FINs of both sides; after a RST it takes 240 s at least "
       "(RFC 7857 section 2)."},
      {"lsn.transportprofile.stuntimeout",
       "When an endpoint-independent mapping without sessions ends."},
      {"lsn.transportprofile.synidletimeout", "When a TCP session that is not established ends."},
      {"lsn.transportprofile.portquota", "NAT ports of one subscriber; 0: no limit."},
      {"lsn.transportprofile.sessionquota", "Sessions of one subscriber; 0: no limit."},
      {"lsn.transportprofile.sessionRate",
       "Sessions that one subscriber begins per second at most; 0: no limit."},
      {"lsn.transportprofile.sessionBurst", "How many of them at once; 0: as many as sessionRate."},
      {"lsn.transportprofile.portReserve",
       "The last ports of portquota, kept for the destination ports in reservedFor."},
      {"lsn.transportprofile.reservedFor", "Destination ports that may use portReserve."},
      {"lsn.transportprofile.groupSessionLimit",
       "Sessions of the group, exact over all workers; 0: no limit."},
      {"lsn.transportprofile.portpreserveparity",
       "Whether even ports get even ones, if it can be."},
      {"lsn.transportprofile.portpreserverange",
       "Whether ports below 1024 get such, if it can be."},
      {"lsn.transportprofile.syncheck",
       "Whether TCP without a session that is not a SYN is dropped."},
      {"lsn.logprofile.name", "What groups call it."},
      {"lsn.logprofile.logSubscrInfo", "Whether records have the name of the subscriber's client."},
      {"lsn.logprofile.logCompact", "Whether lines of text are short ones."},
      {"lsn.logprofile.logIpfix", "Whether records go to IPFIX collectors, too."},
      {"lsn.logprofile.logSessDeletion",
       "Whether the ends of mappings, blocks, pairings and sessions are recorded."},
      {"lsn.group.name", "What output calls it."},
      {"lsn.group.clientname", "Who is translated so. A client belongs to one group."},
      {"lsn.group.nattype", "How addresses are given to subscribers."},
      {"lsn.group.allocPolicy",
       "The order of deterministic NAT's blocks: all of an address first (PORTS), or one of each "
       "address in turn (IPADDRS)."},
      {"lsn.group.portblocksize",
       "Ports in a block, of deterministic NAT and of pools with portblockallocation ENABLED; 0: "
       "256 "
       "there."},
      {"lsn.group.maxBlocks", "Most port blocks of a subscriber."},
      {"lsn.group.blockTimeout", "How long a port block is kept without ports in use."},
      {"lsn.group.logging", "Whether mappings, blocks and pairings are recorded."},
      {"lsn.group.sessionLogging", "With logging: whether sessions are recorded, too."},
      {"lsn.group.sessionSync", "Whether a standby gets the group's sessions."},
      {"lsn.group.snmptraplimit", "Alerts of each kind per minute at most."},
      {"lsn.group.poolname", "Whose NAT addresses it uses, up to 16 pools."},
      {"lsn.group.appsprofilename", "Profiles of the applications that are treated otherwise."},
      {"lsn.group.transportprofilename", "Timeouts and limits."},
      {"lsn.group.logprofilename", "What its records have, one profile."},
      {"lsn.group.ipsecAlgProfile",
       "IPsec through NAT addresses, one profile; needs UDP port 500 with ippooling PAIRED."},
      {"lsn.bypass.name", "What output calls it."},
      {"lsn.bypass.clientname", "Whose traffic is routed without translation."},
      {"lsn.bypass.destNetwork", "To and from these remote addresses."},
      {"lsn.bypass.destPort",
       "To and from these remote ports, of TCP and UDP; 0-65535: all traffic."},
      {"lsn.bypass.protocol", "Of that protocol."},
      {"lsn.static.name", "What output calls it."},
      {"lsn.static.transportprotocol", "Whose traffic it is for; ALL: one-to-one NAT."},
      {"lsn.static.subscrIP", "The subscriber."},
      {"lsn.static.subscrPort",
       "Its port, of ICMP its identifier; *: its whole address. With ALL only *."},
      {"lsn.static.natIP",
       "A NAT address of the group's pools, or of a pool that no group has; without it one of the "
       "group's is chosen."},
      {"lsn.static.natPort", "Its port, or *; without it one is chosen."},
      {"lsn.static.destIP", "Only towards that destination."},
      {"lsn.static.td", "The subscriber's traffic domain."},
      {"ipsecalg.profile.name", "What groups call it."},
      {"ipsecalg.profile.ikeSessionTimeout", "When an idle IKE session ends."},
      {"ipsecalg.profile.espSessionTimeout", "When an idle ESP session ends."},
      {"ipsecalg.profile.espGateTimeout",
       "How long a client's turn at a server takes at most, and a new SPI's answer."},
      {"ipsecalg.profile.connfailover", "Whether tunnels are kept over a restart."},
      {"ipsecalg.profile.phase2Hold",
       "Clients that wait at a gate; 0: messages that are not their client's turn are dropped."},
      {"ipsecalg.profile.freshSequence", "The largest ESP sequence number of a new SA."},
      {"ipsecalg.profile.spiCandidates", "Unknown SPIs in a turn and direction."},
      {"ipsecalg.profile.espSessionQuota", "ESP sessions of one subscriber."},
      {"ipsecalg.profile.requireIke", "Whether unknown outbound ESP needs a live IKE session."},
      {"ipsecalg.profile.serverSpread",
       "Whether a client gets a NAT address on which nobody else talks IKE to that server."},
      {"ipsecalg.profile.ikePreservePort", "Whether source port 500 is kept."},
  };
  return all;
}

std::string quoted(std::string_view text) {
  return fmt::format("\"{}\"", text);
}

/// Collects the settings of one kind of object; those of inner groups come behind it.
class Collector {
 public:
  Collector(std::string path, bool list, std::vector<Section>& out) : path_(std::move(path)) {
    section_.path = path_;
    section_.list = list;
    out_ = &out;
  }

  template <class Object>
  void collect() {
    const std::size_t place = out_->size();
    const Object untouched{};
    control::describe(*this, untouched);
    if (!section_.settings.empty())
      out_->insert(out_->begin() + static_cast<std::ptrdiff_t>(place), std::move(section_));
  }

  void name(const std::string&, std::size_t longest) {
    put("name", "", fmt::format("1-{} characters, unique", longest), true);
  }
  template <class Syntax, class Member>
  void text(std::string_view setting, const Member& value, control::Presence presence) {
    const bool required = presence == control::Presence::kRequired;
    std::string initial;
    if constexpr (requires { value.has_value(); }) {
      if (value) initial = quoted(Syntax::format(*value));
    } else {
      if (!required) initial = quoted(Syntax::format(value));
    }
    put(setting, initial, std::string(Syntax::kAllowed), required);
  }
  template <class Enum>
  void word(std::string_view setting, Enum value, control::Presence presence) {
    const bool required = presence == control::Presence::kRequired;
    put(setting, required ? "" : quoted(control::to_word(value)), control::all_words<Enum>(),
        required);
  }
  template <class Number>
  void number(std::string_view setting, const Number& value, control::Limits limits) {
    const std::int64_t count = control::count_of(value);
    const bool none = count < limits.lowest && !limits.zero_too;
    put(setting, none ? "" : fmt::format("{}", count), control::allowed_numbers(limits), false);
  }
  void flag(std::string_view setting, bool value) {
    put(setting, value ? "true" : "false", "true or false", false);
  }
  template <class Syntax>
  void texts(std::string_view setting, const std::vector<typename Syntax::Value>& list) {
    array(
        setting, list, [](const auto& value) { return quoted(Syntax::format(value)); },
        std::string(Syntax::kAllowed));
  }
  template <class Number>
  void numbers(std::string_view setting, const std::vector<Number>& list, control::Limits limits) {
    array(
        setting, list,
        [](const Number& value) { return fmt::format("{}", control::count_of(value)); },
        control::allowed_numbers(limits));
  }
  template <class Object>
  void section(std::string_view setting, const Object&) {
    Collector(at(setting), false, *out_).template collect<Object>();
  }
  template <class Object>
  void objects(std::string_view setting, const std::vector<Object>&) {
    Collector(at(setting), true, *out_).template collect<Object>();
  }

 private:
  [[nodiscard]] std::string at(std::string_view setting) const {
    return path_.empty() ? std::string(setting) : fmt::format("{}.{}", path_, setting);
  }

  template <class Value, class Format>
  void array(std::string_view setting, const std::vector<Value>& list, Format format,
             std::string allowed) {
    std::string all;
    for (const Value& value : list) all += (all.empty() ? " " : ", ") + format(value);
    put(setting, list.empty() ? "" : fmt::format("[{} ]", all), "an array, each " + allowed, false);
  }

  void put(std::string_view name, std::string initial, std::string allowed, bool required) {
    const std::string path = at(name);
    const auto sentence = sentences().find(path);
    if (sentence == sentences().end())
      throw std::runtime_error(
          fmt::format("{} has no sentence in src/app/lsnmanual/settings.cpp", path));
    section_.settings.push_back({std::string(name), std::move(initial), std::move(allowed),
                                 std::string(sentence->second), required,
                                 control::needs_restart(path)});
  }

  std::string path_;
  Section section_;
  std::vector<Section>* out_;
};

}  // namespace

std::vector<Section> all_settings() {
  std::vector<Section> all;
  Collector("", false, all).collect<control::Model>();
  std::set<std::string> described;
  for (const Section& section : all)
    for (const Setting& setting : section.settings)
      described.insert(fmt::format("{}.{}", section.path, setting.name));
  for (const auto& [path, sentence] : sentences())
    if (!described.contains(std::string(path)))
      throw std::runtime_error(
          fmt::format("src/app/lsnmanual/settings.cpp: there is no setting {}", path));
  return all;
}

}  // namespace lsn::manual
