#include "lsn/control/command/explain.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "lsn/control/command/alg_answers.hpp"
#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/route_answers.hpp"
#include "lsn/control/command/session_answers.hpp"
#include "lsn/control/command/subscriber_answers.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/shared/counter_list.hpp"
#include "lsn/shared/drop_reason.hpp"

namespace lsn::control {
namespace {

using shared::Direction;
using shared::DropReason;
using shared::GateRow;
using shared::GateState;
using shared::Generation;
using shared::Group;
using shared::InsideAddress;
using shared::kNoId;
using shared::Lookup;
using shared::Protocol;
using shared::Side;
using Json = nlohmann::ordered_json;

constexpr std::uint16_t kIkePort = 500, kNatTraversalPort = 4500;

/// The packet in question.
struct Asked {
  wire::Ipv4Address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  Protocol protocol = Protocol::kUdp;
  std::uint32_t spi = 0;
  shared::DomainId td = 0;  ///< that it is in if it comes from inside

  [[nodiscard]] InsideAddress inside_source() const { return {source, td}; }

  [[nodiscard]] std::string text() const {
    const auto with = [&](wire::Ipv4Address address, std::uint16_t port) {
      return protocol == Protocol::kEsp ? wire::to_string(address) : endpoint(address, port);
    };
    if (protocol == Protocol::kIcmp)
      return fmt::format("ICMP query {} > {}, identifier {}", wire::to_string(source),
                         wire::to_string(destination), source_port);
    return fmt::format("{} {} > {}{}", name_of(protocol), with(source, source_port),
                       with(destination, destination_port),
                       protocol == Protocol::kEsp ? fmt::format(", SPI {}", spi_text(spi)) : "");
  }
};

std::string quota_text(std::uint64_t used, std::uint64_t limit) {
  return limit == 0 ? fmt::format("{}, no limit", used) : fmt::format("{} of {}", used, limit);
}

/// The side where a packet comes in. Inside: a traffic domain is given; its source is a client's or
/// is routed there; or neither its source nor its destination is known.
Side guess_side(const Generation& generation, const Asked& asked) {
  const auto is_client = [&](const InsideAddress& address) {
    return !generation.maps.empty() && generation.maps.front()->group_of(address) != nullptr;
  };
  if (asked.td != 0 || is_client(asked.inside_source())) return Side::kInside;
  const shared::Route* const route = generation.routes[0].find(asked.source.value);
  if (route != nullptr && generation.interfaces[route->interface].side == Side::kInside)
    return Side::kInside;
  const bool is_ours = generation.nat_addresses.find(asked.destination) != nullptr ||
                       generation.is_own_address({asked.destination});
  return is_ours || is_client({asked.destination}) ? Side::kOutside : Side::kInside;
}

/// The workers' lookup for a packet.
Lookup question_about(const Generation& generation, const Asked& asked, Side from) {
  const bool out = from == Side::kInside;
  Lookup lookup;
  lookup.direction = out ? Direction::kOutbound : Direction::kInbound;
  lookup.protocol = asked.protocol;
  lookup.local = out ? asked.source : asked.destination;
  lookup.remote = out ? asked.destination : asked.source;
  lookup.local_port = out ? asked.source_port : asked.destination_port;
  lookup.remote_port = out ? asked.destination_port : asked.source_port;
  if (asked.protocol == Protocol::kIcmp) {  // the identifier is the local port
    lookup.local_port = asked.source_port;
    lookup.remote_port = 0;
  }
  lookup.spi = asked.spi;
  if (out) lookup.td = asked.td;
  if (out && !generation.maps.empty())
    if (const std::uint16_t* const id = generation.maps.front()->group_of(asked.inside_source())) {
      lookup.group = *id;
      const Group* const group = generation.group(*id);
      if (group != nullptr && asked.protocol != Protocol::kEsp)
        lookup.policy = group->app(asked.protocol, asked.destination_port);
    }
  if (const shared::Route* const route = generation.routes[lookup.td].find(lookup.remote.value);
      out && route)
    lookup.hop =
        shared::Route{route->interface, route->via.value != 0 ? route->via : asked.destination};
  return lookup;
}

/// The deciding rules, in words, in the order in which the packet path applies them; the last one
/// is the verdict.
class Explanation {
 public:
  Explanation(const CommandContext& context, const Asked& asked, Side from)
      : context_(context), generation_(context.config.generation()), asked_(asked), from_(from) {}

  void explain(const std::vector<Lookup>& found) {
    const bool out = from_ == Side::kInside;
    say("packet", fmt::format("{}, from {}{}", asked_.text(), out ? "inside" : "outside",
                              out && asked_.td != 0 ? fmt::format(", td {}", asked_.td) : ""));
    choose(found);
    if (out)
      explain_outbound();
    else if (passes_source_checks())
      explain_inbound();
  }

  /// A hairpinned packet that is translated, as it is on the other side.
  [[nodiscard]] std::optional<Asked> other_side() const { return other_side_; }
  /// ... whose rules decide then.
  void go_on(const std::vector<Lookup>& found) {
    asked_ = *other_side_;
    asked_.td = 0;
    from_ = Side::kOutside;
    say("hairpin", asked_.text());
    choose(found);
    explain_inbound();
  }

  void print(Format format, std::string& out) const {
    if (format == Format::kJson) {
      Json steps = Json::array();
      for (const auto& [what, says] : steps_) steps.push_back({{"what", what}, {"says", says}});
      Json json{{"steps", std::move(steps)}, {"verdict", verdict_word_}, {"says", verdict_}};
      json["reason"] = reason_ == nullptr ? Json() : Json(reason_->name);
      out += document(json);
      return;
    }
    for (const auto& [what, says] : steps_) out += fmt::format("{:<11} {}\n", what, says);
    out += fmt::format("{:<11} {}: {}\n", "verdict",
                       reason_ == nullptr ? std::string(verdict_word_)
                                          : fmt::format("{}, {}", verdict_word_, reason_->name),
                       verdict_);
  }

 private:
  // ── words ─────────────────────────────────────────────────────────────────────────────────────

  void say(std::string what, std::string says) {
    steps_.emplace_back(std::move(what), std::move(says));
  }
  void decide(std::string_view word, std::string how) {
    verdict_word_ = word;
    verdict_ = std::move(how);
  }
  void forwarded(std::string how) { decide("forwarded", std::move(how)); }
  void dropped(DropReason reason, const std::string& why = {}) {
    reason_ = &shared::text_of(reason);
    decide("dropped", why.empty() ? std::string(reason_->meaning) : why);
  }

  // ── the tables ────────────────────────────────────────────────────────────────────────────────

  /// The worker that has found most: a session, a subscriber or mapping; of several the owner.
  void choose(const std::vector<Lookup>& found) {
    const auto owner = [&]() -> std::size_t {
      if (generation_.maps.empty()) return 0;
      if (from_ == Side::kInside) return generation_.maps.front()->owner_of(asked_.inside_source());
      const auto* const place = generation_.nat_addresses.find(asked_.destination);
      return place == nullptr ? 0 : place->owner;
    }();
    const auto weight = [&](std::size_t shard) {
      if (found[shard].session) return 3;
      return found[shard].mapping || found[shard].subscriber ? 2 : 0;
    };
    worker_ = owner < found.size() ? static_cast<unsigned>(owner) : 0;
    for (std::size_t shard = 0; shard < found.size(); ++shard)
      if (weight(shard) > weight(worker_)) worker_ = static_cast<unsigned>(shard);
    known_ = &found[worker_];
  }

  [[nodiscard]] const shared::AlgProfile* alg_of(const Group& group) const {
    return group.alg_profile < generation_.alg_profiles.size()
               ? &generation_.alg_profiles[group.alg_profile]
               : nullptr;
  }

  [[nodiscard]] std::size_t protocol_index() const {
    return static_cast<std::size_t>(asked_.protocol);
  }

  /// The port whose policies count.
  [[nodiscard]] std::uint16_t destination_port() const {
    return from_ == Side::kInside ? asked_.destination_port : asked_.source_port;
  }

  // ── parts of the answer ───────────────────────────────────────────────────────────────────────

  void say_group(const Group& group) {
    say("client", group.client);
    const shared::AlgProfile* const alg = alg_of(group);
    say("group", group.name + (alg == nullptr ? ", no IPsec ALG" : ", IPsec ALG " + alg->name));
  }

  /// The address is no client's, or the client is in no group.
  void say_no_group(const InsideAddress& address) {
    const std::string client = client_without_group(context_.config.model(), address);
    say("client", client.empty() ? fmt::format("none has a network with {}", to_text(address))
                                 : fmt::format("{}, which is in no group", client));
  }

  void say_worker() {
    say("worker", fmt::format("{} (CPU {})", worker_, context_.dataplane.worker(worker_).cpu));
  }

  void say_policy(const Group& group) {
    const shared::AppPolicy policy = group.app(asked_.protocol, asked_.destination_port);
    const Model& model = context_.config.model();
    const auto* const config = find_by_name(model.lsn.group, group.name);
    std::string profile = "no appsprofile covers it";
    const AppsAttributesConfig* attributes = nullptr;
    if (config != nullptr) {
      const auto covering =
          covering_profile(model, *config, asked_.protocol, asked_.destination_port);
      if (covering.profile != nullptr) {
        profile = "appsprofile " + covering.profile->name;
        attributes = covering_attributes(model, *covering.profile, asked_.destination_port);
      }
    }
    const bool is_deterministic = group.deterministic != nullptr;
    if (!is_deterministic && alg_of(group) != nullptr && asked_.protocol == Protocol::kUdp &&
        asked_.destination_port == kNatTraversalPort)
      profile += "; its pooling follows that of UDP 500";
    const std::string pooling =
        is_deterministic ? "PAIRED by deterministic NAT" : std::string(to_word(policy.pooling));
    say("policy",
        fmt::format("{}: ippooling {}, mapping {}, filtering {}{}{}", profile, pooling,
                    to_word(policy.mapping), to_word(policy.filtering),
                    policy.tcp_mss == 0 ? "" : fmt::format(", tcpMss {}", policy.tcp_mss),
                    attributes == nullptr
                        ? ""
                        : fmt::format("; sessiontimeout {} s by appsattributes {}",
                                      attributes->sessiontimeout.count(), attributes->name)));
  }

  void say_limits(const Group& group) {
    const std::size_t p = protocol_index();
    const auto& subscriber = known_->subscriber;
    const std::uint32_t sessions = subscriber ? subscriber->sessions[p] : 0;
    if (asked_.protocol == Protocol::kEsp) {
      const shared::AlgProfile* const alg = alg_of(group);
      say("limits", fmt::format("ESP sessions {}",
                                quota_text(sessions, alg == nullptr ? 0 : alg->esp_session_quota)));
      return;
    }
    const shared::TransportPolicy& policy = group.transport[p];
    std::string text = fmt::format("{} sessions {}", name_of(asked_.protocol),
                                   quota_text(sessions, policy.session_quota));
    // A session that begins outside takes no NAT port and no part of sessionRate.
    if (from_ == Side::kInside) text += outbound_limits(policy);
    if (policy.group_session_limit != 0)
      text += fmt::format("; the group's sessions {}",
                          quota_text(group.usage->sessions[p].load(), policy.group_session_limit));
    say("limits", std::move(text));
  }

  [[nodiscard]] std::string outbound_limits(const shared::TransportPolicy& policy) const {
    const auto& subscriber = known_->subscriber;
    const std::uint32_t quota = policy.port_quota_for(destination_port());
    std::string text = fmt::format(
        "; NAT ports {}", quota_text(subscriber ? subscriber->ports[protocol_index()] : 0, quota));
    if (quota != policy.port_quota)
      text += fmt::format(", another {} for reservedFor", policy.port_reserve);
    if (policy.session_rate != 0)
      text += fmt::format("; {} new sessions per second, {} at once", policy.session_rate,
                          policy.session_burst);
    return text;
  }

  void say_session() {
    if (!known_->session) {
      say("session", "none");
      return;
    }
    const shared::SessionRow& row = *known_->session;
    say("session",
        fmt::format("{}, begun from {}, idle {} s, {} packets out, {} in", to_word(row.state),
                    row.direction == Direction::kOutbound ? "inside" : "outside", row.idle_seconds,
                    row.packets[0], row.packets[1]));
  }

  void say_mapping() {
    if (!known_->mapping) return;
    const shared::MappingRow& row = *known_->mapping;
    say("mapping", fmt::format("{}{} is {}, {} mapping, {} filtering, {} session{}",
                               endpoint(row.subscriber_ip, row.subscriber_port), td_text(row.td),
                               endpoint(row.nat_ip, row.nat_port), to_word(row.mapping),
                               to_word(row.filtering), row.sessions, row.sessions == 1 ? "" : "s"));
  }

  /// The static mapping that fits the packet, if it is in force.
  const shared::StaticMapping* say_static() {
    const shared::StaticMapping* const fixed = find_static();
    if (fixed == nullptr) {
      say_statics_of_others();
      return nullptr;
    }
    say("static",
        static_text(*fixed) +
            (known_->static_held ? "" : "; INACTIVE, the NAT port is in use (show lsn static)"));
    waits_ = !known_->static_held;
    return waits_ ? nullptr : fixed;
  }

  [[nodiscard]] static std::string static_text(const shared::StaticMapping& fixed) {
    const auto port_text = [&fixed](std::uint16_t number) {
      return fixed.is_whole ? std::string("*") : fmt::format("{}", number);
    };
    return fmt::format(
        "{}:{}{} is {}:{}{}", wire::to_string(fixed.inside_ip), port_text(fixed.inside_port),
        td_text(fixed.td), wire::to_string(fixed.nat_ip), port_text(fixed.nat_port),
        fixed.destination.value == 0 ? "" : ", for destIP " + wire::to_string(fixed.destination));
  }

  /// The static mappings that would fit the packet if its remote address were their destIP.
  void say_statics_of_others() {
    const shared::StaticMappings* const all = generation_.statics.get();
    if (all == nullptr) return;
    const bool out = from_ == Side::kInside;
    const bool is_esp = asked_.protocol == Protocol::kEsp;
    const wire::Ipv4Address remote = out ? asked_.destination : asked_.source;
    constexpr std::size_t kMost = 3;
    std::size_t others = 0;
    for (const shared::StaticMapping& each : out ? all->of_subscriber(asked_.inside_source())
                                                 : all->of_nat_address(asked_.destination)) {
      const bool is_of_protocol = each.scope == shared::StaticScope::kAll ||
                                  (!is_esp && each.scope == shared::scope_of(asked_.protocol));
      const std::uint16_t port = out ? each.inside_port : each.nat_port;
      if (!is_of_protocol || !(each.is_whole || port == static_port())) continue;
      if (++others > kMost) continue;
      say("static",
          fmt::format("{} alone, not for {}", static_text(each), wire::to_string(remote)));
    }
    if (others > kMost)
      say("static", fmt::format("and {} more for other destIPs (show lsn static)", others - kMost));
    is_for_others_ = others != 0;
  }

  /// The port of the packet by which static mappings are found: the identifier of an ICMP query
  /// stands where the source's port does.
  [[nodiscard]] std::uint16_t static_port() const {
    return from_ == Side::kInside || asked_.protocol == Protocol::kIcmp ? asked_.source_port
                                                                        : asked_.destination_port;
  }

  [[nodiscard]] const shared::StaticMapping* find_static() const {
    const shared::StaticMappings* const all = generation_.statics.get();
    if (all == nullptr) return nullptr;
    const bool out = from_ == Side::kInside;
    const wire::Ipv4Address local = out ? asked_.source : asked_.destination;
    const wire::Ipv4Address remote = out ? asked_.destination : asked_.source;
    if (asked_.protocol == Protocol::kEsp)
      return out ? all->find_inside({local, asked_.td}, remote) : all->find_nat(local, remote);
    const std::uint16_t port = static_port();
    const shared::StaticScope scope = shared::scope_of(asked_.protocol);
    return out ? all->find_inside(scope, {local, asked_.td}, port, remote)
               : all->find_nat(scope, local, port, remote);
  }

  void say_gate() {
    const shared::AlgLookup& alg = known_->alg;
    if (!alg.gate) {
      say("gate", "none: nobody has to do with that server through that NAT address");
      return;
    }
    const GateRow& gate = *alg.gate;
    std::string text = fmt::format("{} > {}: {}", wire::to_string(gate.nat_ip),
                                   wire::to_string(gate.server), to_word(gate.state));
    if (gate.holder)
      text += fmt::format(", held by {} for another {}.{} s", to_text(*gate.holder),
                          gate.left_ms / 1000, gate.left_ms % 1000 / 100);
    if (gate.lingering) text += fmt::format(", lingering for {}", to_text(*gate.lingering));
    if (gate.waiters != 0)
      text += fmt::format(", {} waiting, the first of them {}", gate.waiters,
                          to_text(gate.first_waiters[0]));
    if (gate.dangling) text += ", somebody may still be owed an SPI";
    say("gate", std::move(text));
  }

  /// The next hop; false: the verdict is a drop.
  bool say_next_hop(const InsideAddress& destination, Side wanted) {
    const wire::Ipv4Address to = destination.address;
    const shared::Route* const configured = generation_.routes[destination.td].find(to.value);
    const auto kernel = context_.dataplane.find_kernel_route(destination);
    const bool is_kernels =
        kernel && (configured == nullptr || kernel->prefix.length > configured->length);
    if (configured == nullptr && !is_kernels) {
      dropped(DropReason::kNoRoute, fmt::format("no route to {}", to_text(destination)));
      return false;
    }
    std::vector<shared::RouteHop> ways;
    if (is_kernels)
      ways = kernel->hops;
    else if (configured->group != shared::Route::kOneWay) {
      const auto all = generation_.route_groups[configured->group].all();
      ways.assign(all.begin(), all.end());
    }
    if (!ways.empty()) return say_way(ways, is_kernels ? &*kernel : nullptr, destination, wanted);
    const shared::Interface& interface = generation_.interfaces[configured->interface];
    const bool direct = configured->via.value == 0;
    if (direct &&
        generation_.link_addresses[destination.td].find(to) != shared::LinkAddress::kNone) {
      dropped(DropReason::kNoRoute,
              fmt::format("{} is a network's own or its broadcast address", wire::to_string(to)));
      return false;
    }
    std::string text =
        fmt::format("{} on {}", wire::to_string(direct ? to : configured->via), interface.name);
    if (known_->hop && interface.side == wanted)
      text += known_->hop_known ? "" : ", whose hardware address is not known (show arp)";
    say("next hop", std::move(text));
    return leads_to(interface, to, wanted);
  }

  /// Whether an interface is on the side where the packet may go; else the verdict is a drop.
  bool leads_to(const shared::Interface& interface, wire::Ipv4Address to, Side wanted) {
    if (interface.side == wanted) return true;
    if (wanted == Side::kOutside)
      dropped(DropReason::kInsideDestination, fmt::format("{} lies inside", wire::to_string(to)));
    else
      dropped(DropReason::kNoRoute, fmt::format("{} does not lie inside", wire::to_string(to)));
    return false;
  }

  /// The next hop by a route with ways: the subscriber's, where the worker has said it.
  bool say_way(const std::vector<shared::RouteHop>& ways, const shared::RouteRow* kernel,
               const InsideAddress& destination, Side wanted) {
    const auto text_of = [this](const shared::RouteHop& way) {
      return fmt::format("{} on {}", wire::to_string(way.via),
                         generation_.interfaces[way.interface].name);
    };
    const bool is_known =
        wanted == Side::kOutside && known_->way && destination.address == asked_.destination;
    const auto taken =
        !is_known ? ways.begin() : std::find_if(ways.begin(), ways.end(), [&](const auto& way) {
          return way.interface == known_->way->interface && way.via == known_->way->via;
        });
    std::string text;
    if (taken != ways.end() && (is_known || ways.size() == 1)) {
      text = text_of(*taken);
      if (is_known && !known_->hop_known)
        text += ", whose hardware address is not known (show arp)";
      if (ways.size() > 1) text += fmt::format(", one of {} ways, by the subscriber", ways.size());
    } else {
      for (const shared::RouteHop& way : ways)
        text += (text.empty() ? "by the subscriber one of " : ", ") + text_of(way);
    }
    if (kernel != nullptr)
      text += fmt::format("; the kernel's route {} ({})", wire::to_string(kernel->prefix),
                          route_protocol(kernel->protocol));
    say("next hop", std::move(text));
    return leads_to(generation_.interfaces[ways.front().interface], destination.address, wanted);
  }

  /// Whether a new session would be refused by a limit: then that is the verdict.
  bool exceeds_limits(const Group& group) {
    const std::size_t p = protocol_index();
    const shared::TransportPolicy& policy = group.transport[p];
    const auto& subscriber = known_->subscriber;
    if (known_->full == DropReason::kSubscriberTableFull)
      dropped(*known_->full);
    else if (known_->rate_spent)
      dropped(DropReason::kSessionRate);
    else if (policy.session_quota != 0 && subscriber &&
             subscriber->sessions[p] >= policy.session_quota)
      dropped(DropReason::kSessionQuota);
    else if (known_->full == DropReason::kSessionTableFull)
      dropped(*known_->full);
    else if (policy.group_session_limit != 0 &&
             group.usage->sessions[p].load() >= policy.group_session_limit)
      dropped(DropReason::kGroupSessionLimit);
    else
      return false;
    return true;
  }

  /// The further conditions on the first packet of a session.
  [[nodiscard]] std::string if_syn(const Group& group) const {
    return asked_.protocol == Protocol::kTcp && group.transport[protocol_index()].syn_check
               ? ", if it is a SYN (else tcp_not_syn)"
               : "";
  }

  // ── from inside ───────────────────────────────────────────────────────────────────────────────

  /// Why a new session would get neither a mapping nor a NAT port.
  std::optional<DropReason> lacks_nat_endpoint(const Group& group) {
    if (known_->mapping) return std::nullopt;
    const shared::TransportPolicy& policy = group.transport[protocol_index()];
    if (known_->full == DropReason::kMappingTableFull) return *known_->full;
    if (policy.port_quota != 0 && known_->subscriber &&
        known_->subscriber->ports[protocol_index()] >= policy.port_quota_for(destination_port()))
      return DropReason::kPortQuota;
    return known_->no_port;
  }

  /// Where a new session gets its NAT port.
  [[nodiscard]] std::string port_source(const Group& group) const {
    if (known_->block)
      return fmt::format("a free port of {}, its {}", range_text(*known_->block),
                         group.deterministic != nullptr ? "deterministic block" : "port block");
    const std::string of = group.blocks.size == 0 ? "a free port" : "a new port block";
    return is_paired(group) ? fmt::format("{} of {}, with which it is paired", of,
                                          wire::to_string(*known_->subscriber->nat_ip))
                            : fmt::format("{} of any address of {}", of, pools_of(group));
  }

  void explain_outbound() {
    if (generation_.is_own_address({asked_.destination, asked_.td})) return decide_local();
    if (!wire::is_host_address(asked_.source)) return dropped(DropReason::kIpSourceInvalid);
    if (generation_.is_own_address(asked_.inside_source()) ||
        generation_.nat_addresses.find(asked_.source) != nullptr)
      return dropped(DropReason::kSpoofedNatSource);
    if (!wire::is_host_address(asked_.destination))
      return dropped(DropReason::kIpDestinationInvalid);
    const Group* const group = generation_.group_of(asked_.inside_source());
    if (group == nullptr) {
      say_no_group(asked_.inside_source());
      return dropped(DropReason::kNotAClient);
    }
    say_group(*group);
    if (is_bypassed(*group, asked_.destination)) return explain_bypassed(*group);
    say_worker();
    if (context_.dataplane.workers() > 1 &&
        generation_.maps.front()->owner_of(asked_.inside_source()) == shared::kNoShard)
      return dropped(DropReason::kPoolExhausted,
                     fmt::format("group {} has no NAT address", group->name));
    if (asked_.protocol == Protocol::kEsp) return explain_esp_outbound(*group);

    say_policy(*group);
    say_limits(*group);
    say_session();
    const bool is_ike =
        asked_.protocol == Protocol::kUdp && alg_of(*group) != nullptr &&
        (asked_.destination_port == kIkePort || asked_.destination_port == kNatTraversalPort);
    const shared::StaticMapping* const fixed = known_->session ? nullptr : say_static();
    if (!known_->session) {
      if (fixed == nullptr) say_mapping();
      if (exceeds_limits(*group)) return;
      if (const auto reason = lacks_nat_endpoint(*group); fixed == nullptr && reason)
        return dropped(*reason);
    }
    if (is_ike && known_->alg.gate) say_gate();
    if (generation_.nat_addresses.find(asked_.destination) != nullptr) {
      if (is_ike) return dropped(DropReason::kAlgHairpin);
      say("next hop", "itself: the destination is a NAT address (hairpin)");
      other_side_ = translated(fixed);
      if (!other_side_)
        decide("depends",
               "on the other side it is from the NAT endpoint that its new session gets; "
               "ask for that with -from outside");
      return;
    }
    if (!say_next_hop({asked_.destination, asked_.td}, Side::kOutside)) return;
    const std::string held = is_ike ? held_text() : "";
    if (known_->session)
      return forwarded(fmt::format("by its session as {} > {}{}",
                                   shown(known_->session->nat_ip, known_->session->nat_port),
                                   remote(), held));
    forward_new(*group, fixed, held);
  }

  /// A packet from inside that makes a session.
  void forward_new(const Group& group, const shared::StaticMapping* fixed,
                   const std::string& held) {
    if (fixed != nullptr)
      return forwarded(
          fmt::format("it makes a session, from its static mapping's {} > {}{}{}",
                      shown(fixed->nat_ip, fixed->is_whole ? asked_.source_port : fixed->nat_port),
                      remote(), if_syn(group), held));
    if (known_->mapping)
      return forwarded(fmt::format("it makes a session, from its mapping's {} > {}{}{}",
                                   shown(known_->mapping->nat_ip, known_->mapping->nat_port),
                                   remote(), if_syn(group), held));
    forwarded(
        fmt::format("it makes a session, from {}{}{}", port_source(group), if_syn(group), held));
  }

  // ── untranslated ──────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] bool is_bypassed(const Group& group, wire::Ipv4Address remote) const {
    constexpr std::uint8_t kIpProtocols[] = {6, 17, 1, 50};
    const std::uint16_t port =
        from_ == Side::kInside ? asked_.destination_port : asked_.source_port;
    return generation_.nat_addresses.find(remote) == nullptr &&
           group.bypass.covers(remote, kIpProtocols[protocol_index()], port) ==
               shared::Coverage::kYes;
  }

  void explain_bypassed(const Group& group) {
    std::string names;
    for (const BypassConfig& bypass : context_.config.model().lsn.bypass)
      if (bypass.clientname == group.client &&
          bypass.dest_network.contains(from_ == Side::kInside ? asked_.destination : asked_.source))
        names += (names.empty() ? "" : ", ") + bypass.name;
    say("bypass", names);
    if (!say_next_hop({asked_.destination},
                      from_ == Side::kInside ? Side::kOutside : Side::kInside))
      return;
    forwarded("without translation");
  }

  void decide_local() {
    const auto& interfaces = context_.config.model().interfaces;
    for (const InterfaceConfig& on : interfaces)
      if (on.address.address == asked_.destination && !on.kernel.empty() &&
          (on.role == Side::kOutside || on.td == asked_.td))
        return decide("kernel", fmt::format("for the kernel, by its interface \"{}\", if it comes "
                                            "in on {} and the rate of its class allows it",
                                            on.kernel, on.name));
    decide("local",
           "for lsnd itself: it answers echo requests, and UDP, TCP and others with an error "
           "(no_listener)");
  }

  [[nodiscard]] bool is_paired(const Group& group) const {
    return group.app(asked_.protocol, asked_.destination_port).pooling ==
               shared::Pooling::kPaired &&
           known_->subscriber && known_->subscriber->nat_ip;
  }

  /// The packet as the other NAT address gets it, if that is known already.
  [[nodiscard]] std::optional<Asked> translated(const shared::StaticMapping* fixed) const {
    Asked there = asked_;
    if (fixed != nullptr) {
      there.source = fixed->nat_ip;
      if (!fixed->is_whole) there.source_port = fixed->nat_port;
    } else if (known_->session) {
      there.source = known_->session->nat_ip;
      there.source_port = known_->session->nat_port;
    } else if (known_->mapping) {
      there.source = known_->mapping->nat_ip;
      there.source_port = known_->mapping->nat_port;
    } else {
      return std::nullopt;
    }
    return there;
  }

  /// IKE whose phase 2 would have to wait.
  [[nodiscard]] std::string held_text() const {
    const auto& gate = known_->alg.gate;
    std::string text = "; the ALG follows its IKE";
    if (gate && gate->holder && *gate->holder != asked_.inside_source())
      text += fmt::format(", and holds a phase 2 exchange while {} has the gate",
                          to_text(*gate->holder));
    return text;
  }

  [[nodiscard]] std::string pools_of(const Group& group) const {
    std::string text;
    for (const std::uint16_t id : group.pools)
      text += fmt::format("{}{}", text.empty() ? "" : ", ", generation_.pools[id].name);
    return text.empty() ? "no pool" : text;
  }

  [[nodiscard]] std::string shown(wire::Ipv4Address address, std::uint16_t port) const {
    return asked_.protocol == Protocol::kEsp ? wire::to_string(address) : endpoint(address, port);
  }
  [[nodiscard]] std::string remote() const {
    return asked_.protocol == Protocol::kIcmp || asked_.protocol == Protocol::kEsp
               ? wire::to_string(asked_.destination)
               : endpoint(asked_.destination, asked_.destination_port);
  }

  void explain_esp_outbound(const Group& group) {
    const shared::AlgProfile* const alg = alg_of(group);
    if (const auto* const fixed = known_->session ? nullptr : say_static()) {
      if (generation_.nat_addresses.find(asked_.destination) == nullptr &&
          !say_next_hop({asked_.destination, asked_.td}, Side::kOutside))
        return;
      return forwarded(fmt::format("by its static mapping as {} > {}, without the ALG",
                                   wire::to_string(fixed->nat_ip), remote()));
    }
    say_limits(group);
    say_session();
    if (known_->session) {
      if (!say_next_hop({asked_.destination, asked_.td}, Side::kOutside)) return;
      const shared::SessionRow& row = *known_->session;
      return forwarded(
          fmt::format("by its session as {} > {}; the other half is {}",
                      wire::to_string(row.nat_ip), wire::to_string(row.remote_ip),
                      row.spi_in == 0 ? "not known yet" : "SPI " + spi_text(row.spi_in)));
    }
    if (alg == nullptr) return dropped(DropReason::kEspNoProfile);
    if (asked_.spi == 0) return dropped(DropReason::kEspSpiZero);
    if (generation_.nat_addresses.find(asked_.destination) != nullptr)
      return dropped(DropReason::kAlgHairpin);
    const shared::AlgLookup& known = known_->alg;
    say("IKE", known.ike_sessions == 0
                   ? "no session of that client and server"
                   : fmt::format("{} session{} of that client and server, {}", known.ike_sessions,
                                 known.ike_sessions == 1 ? "" : "s",
                                 known.ike_answered ? "answered" : "not answered"));
    say_gate();
    if (!known.holds_gate) {
      if (alg->require_ike && !known.ike_answered) return dropped(DropReason::kEspOutNoIke);
      if (known.gate && !known.is_free)
        return dropped(
            DropReason::kEspOutGateBusy,
            fmt::format("{}; the client {} for its turn",
                        known.gate->holder
                            ? fmt::format("{} has the gate", to_text(*known.gate->holder))
                            : std::string("the gate is kept for who waits"),
                        known.waits ? "waits" : "will wait"));
    }
    if (known_->full) return dropped(*known_->full);
    if (known_->subscriber && alg->esp_session_quota != 0 &&
        known_->subscriber->sessions[protocol_index()] >= alg->esp_session_quota)
      return dropped(DropReason::kEspSessionQuota,
                     "the client has as many ESP sessions as it may; unless the SPI is the missing "
                     "half of one of them");
    if (!say_next_hop({asked_.destination, asked_.td}, Side::kOutside)) return;
    if (known.holds_gate)
      return forwarded(
          "its client has the gate, the SPI is learned in that turn, unless it is one "
          "too many (spiCandidates)");
    if (!known.gate && !(known_->subscriber && known_->subscriber->nat_ip) &&
        group.addresses_of[worker_].size() > 1)
      return forwarded(
          "if the gate is free at the NAT address with which its client will be paired; "
          "the SPI is learned in that turn");
    forwarded("its client takes the gate, and the SPI is learned in that turn");
  }

  // ── from outside ──────────────────────────────────────────────────────────────────────────────

  bool passes_source_checks() {
    if (generation_.is_own_address({asked_.destination})) {
      decide_local();
      return false;
    }
    if (!wire::is_host_address(asked_.destination))
      dropped(DropReason::kIpDestinationInvalid);
    else if (!wire::is_host_address(asked_.source))
      dropped(DropReason::kIpSourceInvalid);
    else if (generation_.nat_addresses.find(asked_.source) != nullptr ||
             generation_.is_own_address({asked_.source}))
      dropped(DropReason::kSpoofedNatSource);
    else if (generation_.group_of({asked_.source}) != nullptr)
      dropped(DropReason::kSpoofedClientSource);
    else
      return true;
    return false;
  }

  void explain_inbound() {
    const shared::NatAddressPlace* const place = generation_.nat_addresses.find(asked_.destination);
    if (place == nullptr) {
      const Group* const own = generation_.group_of({asked_.destination});
      if (own != nullptr && is_bypassed(*own, asked_.source)) {
        say_group(*own);
        return explain_bypassed(*own);
      }
      say("pool", fmt::format("none has {}", wire::to_string(asked_.destination)));
      return dropped(DropReason::kNotForUs);
    }
    const shared::Pool& pool = generation_.pools[place->pool];
    say("pool",
        pool.name + (pool.drains(asked_.destination) ? ", of which the address drains" : ""));
    say_worker();
    const Group* group = nullptr;
    if (known_->subscriber) {
      group = generation_.group(known_->subscriber->group);
      say("subscriber", to_text(InsideAddress{known_->subscriber->ip, known_->subscriber->td}));
      if (group != nullptr) say_group(*group);
    }
    say_session();
    const shared::StaticMapping* const fixed =
        known_->session || known_->mapping ? nullptr : say_static();
    if (fixed != nullptr) return explain_static_inbound(*fixed);
    if (asked_.protocol == Protocol::kEsp) return explain_esp_inbound();
    if (asked_.protocol == Protocol::kUdp && asked_.source_port == kIkePort &&
        asked_.destination_port == kIkePort && known_->alg.keeps_ports)
      return decide("depends",
                    "on the IKE initiator's SPI: clients keep UDP 500 at that NAT address "
                    "(ikePreservePort); one that none of them has is dropped, "
                    "ike_spi_unknown");
    if (known_->session) return explain_session_inbound(*known_->session);
    say_mapping();
    if (!known_->mapping && waits_) return dropped(DropReason::kStaticInactive);
    if (!known_->mapping) return drop_without_mapping();
    if (!known_->admits)
      return dropped(
          DropReason::kFiltered,
          fmt::format("the mapping's filtering is {}, and its subscriber has not sent to {}",
                      to_word(known_->mapping->filtering), wire::to_string(asked_.source)));
    if (group == nullptr) return dropped(DropReason::kNoMapping);
    const shared::DomainId td = known_->mapping->td;
    if (is_forged_neighbour(td)) return dropped(DropReason::kSpoofedClientSource);
    say_limits(*group);
    if (exceeds_limits(*group)) return;
    if (!say_next_hop({known_->mapping->subscriber_ip, td}, Side::kInside)) return;
    forwarded(
        fmt::format("the mapping lets it in, it makes a session with {}{}{}",
                    endpoint(known_->mapping->subscriber_ip, known_->mapping->subscriber_port),
                    td_text(td), if_syn(*group)));
  }

  void drop_without_mapping() {
    const DropReason reason = known_->port_taken ? DropReason::kFiltered : DropReason::kNoMapping;
    if (is_for_others_)
      return dropped(reason, fmt::format("the static mapping of that NAT endpoint lets its destIP "
                                         "in, and not {}",
                                         wire::to_string(asked_.source)));
    if (!known_->port_taken) return dropped(reason);
    dropped(reason,
            "that NAT port is a session's with another destination, which lets nobody else in "
            "(ADDRESS-PORT-DEPENDENT)");
  }

  void explain_session_inbound(const shared::SessionRow& row) {
    if (say_next_hop({row.subscriber_ip, row.td}, Side::kInside))
      forwarded(fmt::format("by its session to {}{}",
                            endpoint(row.subscriber_ip, row.subscriber_port), td_text(row.td)));
  }

  /// A client of the very domain, as lsn44::is_forged_neighbour().
  [[nodiscard]] bool is_forged_neighbour(shared::DomainId td) const {
    return td != 0 && generation_.group_of({asked_.source, td}) != nullptr;
  }

  /// A static mapping lets everybody in.
  void explain_static_inbound(const shared::StaticMapping& fixed) {
    const Group* const group = generation_.group_of(fixed.inside());
    if (is_forged_neighbour(fixed.td)) return dropped(DropReason::kSpoofedClientSource);
    if (group == nullptr) return dropped(DropReason::kNoMapping);
    if (!known_->subscriber) {
      say("subscriber", to_text(fixed.inside()));
      say_group(*group);
    }
    const bool is_esp = asked_.protocol == Protocol::kEsp;
    if (!is_esp) say_limits(*group);
    if (!is_esp && exceeds_limits(*group)) return;
    if (!say_next_hop(fixed.inside(), Side::kInside)) return;
    if (is_esp)
      return forwarded(
          fmt::format("by the static mapping to {}, without the ALG", to_text(fixed.inside())));
    const std::uint16_t same =
        asked_.protocol == Protocol::kIcmp ? asked_.source_port : asked_.destination_port;
    forwarded(fmt::format("the static mapping lets it in, it makes a session with {}{}{}",
                          endpoint(fixed.inside_ip, fixed.is_whole ? same : fixed.inside_port),
                          td_text(fixed.td), if_syn(*group)));
  }

  void explain_esp_inbound() {
    if (asked_.spi == 0) return dropped(DropReason::kEspSpiZero);
    const shared::AlgLookup& known = known_->alg;
    say_gate();
    if (known_->session) {
      const shared::SessionRow& row = *known_->session;
      const InsideAddress client{row.subscriber_ip, row.td};
      if (!say_next_hop(client, Side::kInside)) return;
      return forwarded(
          fmt::format("by its session to {}: the SPI is that client's", to_text(client)));
    }
    if (known.seen) {
      std::string text = fmt::format("it came {} s ago for the first time, {} s ago for the last",
                                     known.seen->first_seconds, known.seen->last_seconds);
      if (known.seen->learned_by)
        text += fmt::format("; it was {}'s", to_text(*known.seen->learned_by));
      if (known.seen->expected_by != 0)
        text += fmt::format("; {}{} client{} expected one when it was refused",
                            known.seen->expected_by_several ? "more than " : "",
                            known.seen->expected_by, known.seen->expected_by == 1 ? "" : "s");
      say("SPI", std::move(text));
    } else {
      say("SPI", "the gate has not seen it, or not among the last");
    }
    if (!known.gate)
      return dropped(known.no_profile ? DropReason::kEspNoProfile : DropReason::kEspInNoGate);
    const GateRow& gate = *known.gate;
    const std::string else_dropped =
        "else it is dropped: esp_in_not_fresh, esp_in_dangling or esp_in_ambiguous";
    if (gate.state == GateState::kExchange)
      return dropped(DropReason::kEspInAmbiguous,
                     "the exchange under way is not answered: nobody can have a new SPI yet");
    if (gate.state == GateState::kArmed && gate.holder)
      return decide(
          "depends",
          fmt::format("learned for {}, which has the gate: by its exchange if it begins anew "
                      "(a sequence number up to freshSequence) and no other client may be "
                      "owed it, in a turn without an exchange if it answers that client "
                      "three times (five while others wait); {}",
                      to_text(*gate.holder), else_dropped));
    if (gate.lingering)
      return decide("depends",
                    fmt::format("learned for {}, whose turn was the last, if it begins anew and no "
                                "other client may be owed it; {}",
                                to_text(*gate.lingering), else_dropped));
    decide("depends",
           "learned if it can only be one client's: the only one that is owed an SPI or has half a "
           "session; else it is dropped: esp_in_no_gate, esp_in_not_fresh or esp_in_ambiguous");
  }

  const CommandContext& context_;
  const Generation& generation_;
  Asked asked_;
  Side from_;
  const Lookup* known_ = nullptr;
  unsigned worker_ = 0;
  bool waits_ = false;          ///< the static mapping that fits has not got its NAT port yet
  bool is_for_others_ = false;  ///< static mappings of the endpoint have another destIP
  std::optional<Asked> other_side_;
  std::vector<std::pair<std::string, std::string>> steps_;
  std::string_view verdict_word_ = "depends";
  std::string verdict_;
  const shared::DropReasonText* reason_ = nullptr;
};

/// All workers are asked; once more if a reload came in between, and about the other side of a
/// hairpin.
class ExplainAnswer final : public Answer {
 public:
  ExplainAnswer(Format format, const CommandContext& context, Asked asked, std::optional<Side> from)
      : format_(format), context_(context), asked_(asked), given_(from) {
    begin();
  }

  Progress next(std::string& out) override {
    for (;;) {
      if (!has_all()) return Progress::kWaiting;
      if (generation_ != context_.config.generation().number) {
        begin();
        continue;
      }
      if (!explanation_) {
        explanation_.emplace(context_, asked_, from_);
        explanation_->explain(found_);
        if (const auto there = explanation_->other_side()) {
          ask(*there, Side::kOutside);  // the steps so far stay true
          continue;
        }
      } else {
        explanation_->go_on(found_);
      }
      explanation_->print(format_, out);
      return Progress::kDone;
    }
  }

 private:
  void begin() {
    explanation_.reset();
    generation_ = context_.config.generation().number;
    from_ = given_.value_or(guess_side(context_.config.generation(), asked_));
    ask(asked_, from_);
  }

  void ask(const Asked& asked, Side from) {
    const unsigned workers = context_.dataplane.workers();
    const Lookup question = question_about(context_.config.generation(), asked, from);
    found_.assign(workers, {});
    answers_.ask(workers, [&](unsigned shard, auto done) {
      context_.dataplane.ask_for<Lookup>(shard, question, std::move(done));
    });
  }

  bool has_all() {
    return answers_.take([&](unsigned shard, Lookup answer) { found_[shard] = std::move(answer); });
  }

  Format format_;
  const CommandContext& context_;
  Asked asked_;
  std::optional<Side> given_;
  Side from_ = Side::kInside;
  std::uint64_t generation_ = 0;
  std::vector<Lookup> found_;
  AwaitedOfAll<Lookup> answers_;
  std::optional<Explanation> explanation_;
};

// ── the command ─────────────────────────────────────────────────────────────────────────────────

constexpr std::string_view kSource = "SRC[:PORT]", kDestination = "DST[:PORT]",
                           kProtocolParameter = "PROTOCOL", kSpiParameter = "SPI";

struct Given {
  wire::Ipv4Address address;
  std::optional<std::uint16_t> port;
};

std::optional<std::uint32_t> number(std::string_view text, std::uint32_t most) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  return hex ? parse_number(text.substr(2), most, 16) : parse_number(text, most);
}

std::optional<Given> parse_given(std::string_view text) {
  const std::size_t colon = text.find(':');
  const auto address = wire::parse_ipv4(text.substr(0, colon));
  if (!address) return std::nullopt;
  if (colon == std::string_view::npos) return Given{*address, std::nullopt};
  const auto port = number(text.substr(colon + 1), 65535);
  if (!port) return std::nullopt;
  return Given{*address, static_cast<std::uint16_t>(*port)};
}

const ValueSyntax kEndpointSyntax{"A.B.C.D[:PORT]",
                                  "an address A.B.C.D, or with a port A.B.C.D:PORT",
                                  [](std::string_view text) -> std::optional<Value> {
                                    if (!parse_given(text)) return std::nullopt;
                                    return std::string(text);
                                  }};

const ValueSyntax kSide{"inside|outside", "inside or outside",
                        [](std::string_view text) { return one_of({"inside", "outside"}, text); }};

}  // namespace

const ValueSyntax kSpiSyntax{"SPI", "an SPI: a number, or hexadecimal as 0xc3f1a2b4",
                             [](std::string_view text) -> std::optional<Value> {
                               const auto spi = number(text, 0xFFFFFFFF);
                               if (!spi) return std::nullopt;
                               return *spi;
                             }};

std::span<const OptionSpec> explain_options() {
  static const std::array<OptionSpec, 2> kOptions{{
      {"-from", &kSide, "where it comes in; without it, where its source lies"},
      {"-td", &kDomainNumber, "the traffic domain that it comes from, 0 without it"},
  }};
  return kOptions;
}

std::span<const PositionalSpec> explain_parameters() {
  static const std::array<PositionalSpec, 4> kParameters{{
      {kSource, &kEndpointSyntax},
      {kDestination, &kEndpointSyntax},
      {kProtocolParameter, &kProtocolName, Occurs::kAtMostOnce},
      {kSpiParameter, &kSpiSyntax, Occurs::kAtMostOnce},
  }};
  return kParameters;
}

std::expected<std::unique_ptr<Answer>, std::string> begin_explain(const Command& command,
                                                                  const CommandContext& context) {
  const Given source = *parse_given(*command.get<std::string>(kSource));
  const Given destination = *parse_given(*command.get<std::string>(kDestination));
  Asked asked;
  asked.td = command.td().value_or(0);
  asked.source = source.address;
  asked.destination = destination.address;
  asked.source_port = source.port.value_or(0);
  asked.destination_port = destination.port.value_or(0);
  if (const auto* const name = command.get<std::string>(kProtocolParameter)) {
    asked.protocol = protocol_named(*name).value_or(asked.protocol);
  } else if (!source.port && !destination.port) {
    asked.protocol = Protocol::kIcmp;
  }
  const auto* const spi = command.get<std::uint32_t>(kSpiParameter);
  if (asked.protocol == Protocol::kEsp) {
    if (spi == nullptr)
      return std::unexpected(complaint("explain: SPI", "nothing", kSpiSyntax.allowed));
    if (source.port || destination.port)
      return std::unexpected(complaint("explain: ESP", "a port", "addresses and an SPI"));
    asked.spi = *spi;
  } else if (spi != nullptr) {
    return std::unexpected(complaint("explain",
                                     fmt::format("{} behind {}", *spi, name_of(asked.protocol)),
                                     "an SPI behind ESP"));
  } else if (asked.protocol == Protocol::kIcmp) {
    if (source.port && destination.port)
      return std::unexpected(complaint("explain: ICMP", "two identifiers",
                                       "A.B.C.D:IDENTIFIER at one of both addresses"));
    asked.source_port = source.port ? *source.port : destination.port.value_or(0);
    asked.destination_port = 0;
  } else if (!source.port || !destination.port) {
    return std::unexpected(
        complaint(fmt::format("explain: {}", source.port ? kDestination : kSource), "no port",
                  fmt::format("A.B.C.D:PORT for {}", name_of(asked.protocol))));
  }
  std::optional<Side> from;
  if (const auto* const side = command.get<std::string>("-from")) from = parse_word<Side>(*side);
  if (from == Side::kOutside && asked.td != 0)
    return std::unexpected(complaint("explain: -td", fmt::format("{} with -from outside", asked.td),
                                     "0: the outside is in traffic domain 0"));
  return std::make_unique<ExplainAnswer>(command.format, context, asked, from);
}

}  // namespace lsn::control
