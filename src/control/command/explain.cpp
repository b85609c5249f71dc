#include "lsn/control/command/explain.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "lsn/control/command/alg_answers.hpp"
#include "lsn/control/command/counter_list.hpp"
#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/session_answers.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/datapath/drop_reason.hpp"

namespace lsn::control {
namespace {

using datapath::Direction;
using datapath::DropReason;
using datapath::Generation;
using datapath::Group;
using datapath::kNoId;
using datapath::Lookup;
using datapath::Protocol;
using datapath::Side;
using datapath::ipsec_alg::GateRow;
using datapath::ipsec_alg::GateState;
using Json = nlohmann::ordered_json;

constexpr std::uint16_t kIkePort = 500, kNatTraversalPort = 4500;

/// The packet that is asked about.
struct Asked {
  wire::Ipv4Address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  Protocol protocol = Protocol::kUdp;
  std::uint32_t spi = 0;

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

bool is_host_address(wire::Ipv4Address address) {
  return address.value < 0xE0000000 && address.value >> 24 != 127 && address.value >> 24 != 0;
}

bool is_own_address(const Generation& generation, wire::Ipv4Address address) {
  return generation.link_addresses.find(address) == datapath::LinkAddress::kOwn;
}

std::string quota_text(std::uint64_t used, std::uint64_t limit) {
  return limit == 0 ? fmt::format("{}, no limit", used) : fmt::format("{} of {}", used, limit);
}

/// Which rules decide, in words; the last word is the verdict.
class Explanation {
 public:
  Explanation(const CommandContext& context, const Asked& asked)
      : context_(context), generation_(context.config.generation()), asked_(asked) {}

  /// Whether it comes from inside: its source is a client's, or lies inside.
  [[nodiscard]] bool is_from_inside() const {
    if (group_of(asked_.source) != nullptr) return true;
    const datapath::Route* const route = generation_.routes.find(asked_.source.value);
    return route != nullptr && generation_.interfaces[route->interface].side == Side::kInside;
  }

  /// What the workers are asked.
  [[nodiscard]] Lookup lookup() const {
    const bool out = is_from_inside();
    Lookup lookup;
    lookup.direction = out ? Direction::kOutbound : Direction::kInbound;
    lookup.protocol = asked_.protocol;
    lookup.local = out ? asked_.source : asked_.destination;
    lookup.remote = out ? asked_.destination : asked_.source;
    lookup.local_port = out ? asked_.source_port : asked_.destination_port;
    lookup.remote_port = out ? asked_.destination_port : asked_.source_port;
    if (asked_.protocol == Protocol::kIcmp) {
      lookup.local_port = asked_.source_port;
      lookup.remote_port = 0;
    }
    lookup.spi = asked_.spi;
    if (const Group* const group = out ? group_of(asked_.source) : nullptr)
      if (asked_.protocol != Protocol::kEsp)
        lookup.policy = group->app(asked_.protocol, asked_.destination_port);
    return lookup;
  }

  void explain(const std::vector<Lookup>& found) {
    const bool out = is_from_inside();
    say("packet", fmt::format("{}, from {}", asked_.text(), out ? "inside" : "outside"));
    choose(found, out);
    out ? explain_outbound() : explain_inbound();
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
    out += fmt::format("{:<11} {}\n", "verdict", verdict_);
  }

 private:
  // ── words ─────────────────────────────────────────────────────────────────────────────────────

  void say(std::string what, std::string says) {
    steps_.emplace_back(std::move(what), std::move(says));
  }
  void forwarded(std::string how) { decide("forwarded", std::move(how)); }
  void decide(std::string_view word, std::string how) {
    verdict_word_ = word;
    verdict_ = std::move(how);
  }
  void dropped(DropReason reason, const std::string& why = {}) {
    for (const datapath::DropReasonText& text : datapath::kDropReasonTexts)
      if (text.reason == reason) reason_ = &text;
    decide("dropped", fmt::format("dropped, {}: {}", reason_->name,
                                  why.empty() ? std::string(reason_->meaning) : why));
  }

  // ── what is known ─────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] const Group* group_of(wire::Ipv4Address address) const {
    if (generation_.maps.empty()) return nullptr;
    const std::uint16_t* const id = generation_.maps.front()->group_of(address);
    return id == nullptr ? nullptr : generation_.group(*id);
  }

  /// The worker that has most to say: a session, a subscriber or mapping; if none has, the owner.
  void choose(const std::vector<Lookup>& found, bool out) {
    const auto owner = [&]() -> std::size_t {
      if (generation_.maps.empty()) return 0;
      if (out) return generation_.maps.front()->owner_of(asked_.source);
      const auto* const place = generation_.nat_addresses.find(asked_.destination);
      return place == nullptr ? 0 : place->owner;
    }();
    const auto weight = [&](std::size_t shard) {
      if (found[shard].session) return 3;
      if (found[shard].mapping || found[shard].subscriber) return 2;
      return shard == owner ? 1 : 0;
    };
    for (std::size_t shard = 1; shard < found.size(); ++shard)
      if (weight(shard) > weight(worker_)) worker_ = static_cast<unsigned>(shard);
    known_ = &found[worker_];
  }

  [[nodiscard]] const datapath::AlgProfile* alg_of(const Group& group) const {
    return group.alg_profile < generation_.alg_profiles.size()
               ? &generation_.alg_profiles[group.alg_profile]
               : nullptr;
  }

  // ── parts of the answer ───────────────────────────────────────────────────────────────────────

  void say_group(const Group& group) {
    say("client", group.client);
    const datapath::AlgProfile* const alg = alg_of(group);
    say("group", group.name + (alg == nullptr ? ", no IPsec ALG" : ", IPsec ALG " + alg->name));
  }

  void say_worker() {
    say("worker", fmt::format("{} (CPU {})", worker_, context_.dataplane.worker(worker_).cpu));
  }

  void say_policy(const Group& group) {
    const datapath::AppPolicy policy = group.app(asked_.protocol, asked_.destination_port);
    const Model& model = context_.config.model();
    const auto* const config = find_by_name(model.lsn.group, group.name);
    std::string profile = "no appsprofile covers it";
    if (config != nullptr) {
      const auto covering =
          covering_profile(model, *config, asked_.protocol, asked_.destination_port);
      if (covering.profile != nullptr) profile = "appsprofile " + covering.profile->name;
    }
    if (alg_of(group) != nullptr && asked_.protocol == Protocol::kUdp &&
        asked_.destination_port == kNatTraversalPort)
      profile += "; its pooling follows that of UDP 500";
    say("policy", fmt::format("{}: ippooling {}, mapping {}, filtering {}", profile,
                              policy.pooling == datapath::Pooling::kPaired ? "PAIRED" : "RANDOM",
                              to_word(policy.mapping), to_word(policy.filtering)));
  }

  void say_limits(const Group& group) {
    const auto p = static_cast<std::size_t>(asked_.protocol);
    const auto& subscriber = known_->subscriber;
    const std::uint32_t sessions = subscriber ? subscriber->sessions[p] : 0;
    if (asked_.protocol == Protocol::kEsp) {
      const datapath::AlgProfile* const alg = alg_of(group);
      say("limits", fmt::format("ESP sessions {}",
                                quota_text(sessions, alg == nullptr ? 0 : alg->esp_session_quota)));
      return;
    }
    const datapath::TransportPolicy& policy = group.transport[p];
    std::string text = fmt::format(
        "{} sessions {}; NAT ports {}", name_of(asked_.protocol),
        quota_text(sessions, policy.session_quota),
        quota_text(subscriber ? subscriber->ports[p] : 0, policy.port_quota));
    if (policy.group_session_limit != 0)
      text += fmt::format("; the group's sessions {}",
                          quota_text(group.usage->sessions[p].load(), policy.group_session_limit));
    say("limits", std::move(text));
  }

  void say_session() {
    if (!known_->session) {
      say("session", "none");
      return;
    }
    const datapath::SessionRow& row = *known_->session;
    say("session",
        fmt::format("{}, begun from {}, idle {} s, {} packets out, {} in", to_word(row.state),
                    row.direction == Direction::kOutbound ? "inside" : "outside",
                    row.idle_seconds, row.packets[0], row.packets[1]));
  }

  void say_mapping() {
    if (!known_->mapping) return;
    const datapath::MappingRow& row = *known_->mapping;
    say("mapping",
        fmt::format("{} is {}, {} mapping, {} filtering, {} session{}",
                    endpoint(row.subscriber_ip, row.subscriber_port),
                    endpoint(row.nat_ip, row.nat_port), to_word(row.mapping),
                    to_word(row.filtering), row.sessions, row.sessions == 1 ? "" : "s"));
  }

  void say_gate() {
    const datapath::ipsec_alg::AlgLookup& alg = known_->alg;
    if (!alg.gate) {
      say("gate", "none: nobody has to do with that server through that NAT address");
      return;
    }
    const GateRow& gate = *alg.gate;
    std::string text = fmt::format("{} > {}: {}", wire::to_string(gate.nat_ip),
                                   wire::to_string(gate.server), to_word(gate.state));
    if (gate.holder)
      text += fmt::format(", held by {} for another {}.{} s", wire::to_string(*gate.holder),
                          gate.left_ms / 1000, gate.left_ms % 1000 / 100);
    if (gate.lingering)
      text += fmt::format(", lingering for {}", wire::to_string(*gate.lingering));
    if (gate.waiters != 0)
      text += fmt::format(", {} waiting, the first of them {}", gate.waiters,
                          wire::to_string(gate.first_waiters[0]));
    if (gate.dangling) text += ", somebody may still be owed an SPI";
    say("gate", std::move(text));
  }

  /// Where it goes on; false: the verdict is a drop.
  bool say_next_hop(wire::Ipv4Address to, Side wanted) {
    const datapath::Route* const route = generation_.routes.find(to.value);
    if (route == nullptr) {
      dropped(DropReason::kNoRoute, fmt::format("no route to {}", wire::to_string(to)));
      return false;
    }
    const datapath::Interface& interface = generation_.interfaces[route->interface];
    const bool direct = route->via.value == 0;
    say("next hop", fmt::format("{} on {}", wire::to_string(direct ? to : route->via),
                                interface.name));
    if (interface.side == wanted) return true;
    if (wanted == Side::kOutside)
      dropped(DropReason::kInsideDestination,
              fmt::format("{} lies inside", wire::to_string(to)));
    else
      dropped(DropReason::kNoRoute, fmt::format("{} does not lie inside", wire::to_string(to)));
    return false;
  }

  // ── from inside ───────────────────────────────────────────────────────────────────────────────

  void explain_outbound() {
    if (is_own_address(generation_, asked_.destination))
      return decide("local", "for lsnd itself: it answers echo requests, and others with errors");
    if (!is_host_address(asked_.source)) return dropped(DropReason::kIpSourceInvalid);
    if (!is_host_address(asked_.destination)) return dropped(DropReason::kIpDestinationInvalid);
    if (is_own_address(generation_, asked_.source) ||
        generation_.nat_addresses.find(asked_.source) != nullptr)
      return dropped(DropReason::kSpoofedNatSource);
    const Group* const group = group_of(asked_.source);
    if (group == nullptr) {
      say("client", fmt::format("none has a network with {}", wire::to_string(asked_.source)));
      return dropped(DropReason::kNotAClient);
    }
    say_group(*group);
    say_worker();
    if (generation_.maps.front()->owner_of(asked_.source) == datapath::kNoShard)
      return dropped(DropReason::kPoolExhausted,
                     fmt::format("group {} has no NAT address", group->name));
    if (asked_.protocol == Protocol::kEsp) return explain_esp_outbound(*group);

    say_policy(*group);
    say_limits(*group);
    say_session();
    if (!known_->session) say_mapping();
    const bool hairpin = generation_.nat_addresses.find(asked_.destination) != nullptr;
    if (hairpin)
      say("next hop", "itself: the destination is a NAT address (hairpin)");
    else if (!say_next_hop(asked_.destination, Side::kOutside))
      return;
    if (known_->session) {
      const datapath::SessionRow& row = *known_->session;
      return forwarded(fmt::format("forwarded by its session as {} > {}",
                                   shown(row.nat_ip, row.nat_port), remote()));
    }
    const auto p = static_cast<std::size_t>(asked_.protocol);
    const datapath::TransportPolicy& policy = group->transport[p];
    const auto& subscriber = known_->subscriber;
    if (policy.session_quota != 0 && subscriber && subscriber->sessions[p] >= policy.session_quota)
      return dropped(DropReason::kSessionQuota);
    if (policy.group_session_limit != 0 &&
        group->usage->sessions[p].load() >= policy.group_session_limit)
      return dropped(DropReason::kGroupSessionLimit);
    if (known_->mapping)
      return forwarded(fmt::format("forwarded: it makes a session, from its mapping's {} > {}{}",
                                   shown(known_->mapping->nat_ip, known_->mapping->nat_port),
                                   remote(), conditions(*group)));
    if (policy.port_quota != 0 && subscriber && subscriber->ports[p] >= policy.port_quota)
      return dropped(DropReason::kPortQuota);
    const bool paired =
        group->app(asked_.protocol, asked_.destination_port).pooling == datapath::Pooling::kPaired;
    const std::string from =
        paired && subscriber && subscriber->nat_ip
            ? fmt::format("a free port of {}, with which it is paired",
                          wire::to_string(*subscriber->nat_ip))
            : fmt::format("a free port of any address of {}", pools_of(*group));
    forwarded(fmt::format("forwarded: it makes a session, from {}{}", from, conditions(*group)));
  }

  /// What a first packet must be beyond.
  [[nodiscard]] std::string conditions(const Group& group) const {
    std::string text;
    if (asked_.protocol == Protocol::kTcp &&
        group.transport[static_cast<std::size_t>(Protocol::kTcp)].syn_check)
      text += ", if it is a SYN (else tcp_not_syn)";
    if (asked_.protocol == Protocol::kUdp && asked_.destination_port == kIkePort &&
        alg_of(group) != nullptr) {
      const auto& gate = known_->alg.gate;
      text += "; the ALG follows its IKE";
      if (gate && gate->state != GateState::kClosed && gate->holder != asked_.source)
        text += fmt::format(", and holds a phase 2 exchange while {} has the gate",
                            wire::to_string(*gate->holder));
    }
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
    const datapath::AlgProfile* const alg = alg_of(group);
    say_limits(group);
    say_session();
    if (alg == nullptr) return dropped(DropReason::kEspNoProfile);
    if (asked_.spi == 0) return dropped(DropReason::kEspSpiZero);
    if (generation_.nat_addresses.find(asked_.destination) != nullptr)
      return dropped(DropReason::kAlgHairpin);
    const datapath::ipsec_alg::AlgLookup& known = known_->alg;
    say("IKE", known.ike_sessions == 0
                   ? "no session of that client and server"
                   : fmt::format("{} session{} of that client and server, {}", known.ike_sessions,
                                 known.ike_sessions == 1 ? "" : "s",
                                 known.ike_answered ? "answered" : "not answered"));
    say_gate();
    if (!say_next_hop(asked_.destination, Side::kOutside)) return;
    if (known_->session) {
      const datapath::SessionRow& row = *known_->session;
      return forwarded(fmt::format(
          "forwarded by its session as {} > {}; the other half is {}", wire::to_string(row.nat_ip),
          wire::to_string(row.remote_ip),
          row.spi_in == 0 ? "not known yet" : "SPI " + spi_text(row.spi_in)));
    }
    if (known_->subscriber && alg->esp_session_quota != 0 &&
        known_->subscriber->sessions[static_cast<std::size_t>(Protocol::kEsp)] >=
            alg->esp_session_quota)
      return dropped(DropReason::kEspSessionQuota);
    if (known.holds_gate)
      return forwarded("forwarded: its client has the gate, the SPI is learned in that turn");
    if (alg->require_ike && !known.ike_answered) return dropped(DropReason::kEspOutNoIke);
    if (known.gate && known.gate->state != GateState::kClosed)
      return dropped(DropReason::kEspOutGateBusy,
                     fmt::format("{} has the gate; the client {} for its turn",
                                 wire::to_string(*known.gate->holder),
                                 known.waits ? "waits" : "will wait"));
    if (!known.gate && !(known_->subscriber && known_->subscriber->nat_ip) &&
        group.addresses_of[worker_].size() > 1)
      return forwarded("forwarded, if the gate is free at the NAT address with which its client will "
                       "be paired; the SPI is learned in that turn");
    if (known.gate && known.gate->waiters != 0 && !known.waits)
      return dropped(DropReason::kEspOutGateBusy, "others wait for the gate; the client gets its turn");
    forwarded("forwarded: its client takes the gate, and the SPI is learned in that turn");
  }

  // ── from outside ──────────────────────────────────────────────────────────────────────────────

  void explain_inbound() {
    if (!is_host_address(asked_.destination)) return dropped(DropReason::kIpDestinationInvalid);
    if (!is_host_address(asked_.source)) return dropped(DropReason::kIpSourceInvalid);
    if (generation_.nat_addresses.find(asked_.source) != nullptr ||
        is_own_address(generation_, asked_.source))
      return dropped(DropReason::kSpoofedNatSource);
    if (is_own_address(generation_, asked_.destination))
      return decide("local", "for lsnd itself: it answers echo requests, and others with errors");
    const datapath::NatAddressPlace* const place =
        generation_.nat_addresses.find(asked_.destination);
    if (place == nullptr) {
      say("pool", fmt::format("none has {}", wire::to_string(asked_.destination)));
      return dropped(DropReason::kNotForUs);
    }
    say("pool", generation_.pools[place->pool].name);
    say_worker();
    if (known_->subscriber) {
      const Group* const group = generation_.group(known_->subscriber->group);
      say("subscriber", wire::to_string(known_->subscriber->ip));
      if (group != nullptr) say_group(*group);
    }
    say_session();
    if (asked_.protocol == Protocol::kEsp) return explain_esp_inbound();
    if (known_->session) {
      const datapath::SessionRow& row = *known_->session;
      if (!say_next_hop(row.subscriber_ip, Side::kInside)) return;
      return forwarded(fmt::format("forwarded by its session to {}",
                                   endpoint(row.subscriber_ip, row.subscriber_port)));
    }
    say_mapping();
    if (!known_->mapping)
      return known_->port_taken
                 ? dropped(DropReason::kFiltered,
                           "that NAT port is a session's with another destination, which lets nobody "
                           "else in (ADDRESS-PORT-DEPENDENT)")
                 : dropped(DropReason::kNoMapping);
    if (!known_->admits)
      return dropped(DropReason::kFiltered,
                     fmt::format("the mapping's filtering is {}, and its subscriber has not sent to {}",
                                 to_word(known_->mapping->filtering),
                                 wire::to_string(asked_.source)));
    if (!say_next_hop(known_->mapping->subscriber_ip, Side::kInside)) return;
    forwarded(fmt::format("forwarded: the mapping lets it in, it makes a session with {}",
                          endpoint(known_->mapping->subscriber_ip,
                                   known_->mapping->subscriber_port)));
  }

  void explain_esp_inbound() {
    if (asked_.spi == 0) return dropped(DropReason::kEspSpiZero);
    const datapath::ipsec_alg::AlgLookup& known = known_->alg;
    say_gate();
    if (known_->session) {
      const datapath::SessionRow& row = *known_->session;
      if (!say_next_hop(row.subscriber_ip, Side::kInside)) return;
      return forwarded(fmt::format("forwarded by its session to {}: the SPI is that client's",
                                   wire::to_string(row.subscriber_ip)));
    }
    if (known.seen) {
      std::string text = fmt::format("it came {} s ago for the first time, {} s ago for the last",
                                     known.seen->first_seconds, known.seen->last_seconds);
      if (known.seen->learned_by)
        text += fmt::format("; it was {}'s", wire::to_string(*known.seen->learned_by));
      if (known.seen->expected_by != 0)
        text += fmt::format("; {} client{} may be owed it", known.seen->expected_by,
                            known.seen->expected_by == 1 ? "" : "s");
      say("SPI", std::move(text));
    } else {
      say("SPI", "the gate has not seen it, or not among the last");
    }
    if (!known.gate) return dropped(DropReason::kEspInNoGate);
    const GateRow& gate = *known.gate;
    switch (gate.state) {
      case GateState::kExchange:
        return dropped(DropReason::kEspInAmbiguous,
                       fmt::format("the exchange of {} is not answered: nobody can have a new SPI yet",
                                   wire::to_string(*gate.holder)));
      case GateState::kArmed:
        return decide("depends",
                      fmt::format("learned for {}, which has the gate, if it begins anew (a sequence "
                                  "number up to freshSequence) and no other client may be owed it; "
                                  "else dropped, esp_in_not_fresh, esp_in_dangling or esp_in_ambiguous",
                                  wire::to_string(*gate.holder)));
      case GateState::kClosed: break;
    }
    if (gate.lingering)
      return decide("depends",
                    fmt::format("learned for {}, whose turn was the last, if it begins anew and no "
                                "other client may be owed it; else dropped, esp_in_not_fresh, "
                                "esp_in_dangling or esp_in_ambiguous",
                                wire::to_string(*gate.lingering)));
    decide("depends",
           "learned if it can only be one client's: the only one that is owed an SPI or has half a "
           "session; else dropped, esp_in_no_gate, esp_in_not_fresh or esp_in_ambiguous");
  }

  const CommandContext& context_;
  const Generation& generation_;
  const Asked& asked_;
  const Lookup* known_ = nullptr;
  unsigned worker_ = 0;
  std::vector<std::pair<std::string, std::string>> steps_;
  std::string_view verdict_word_ = "depends";
  std::string verdict_;
  const datapath::DropReasonText* reason_ = nullptr;
};

class ExplainAnswer final : public Answer {
 public:
  ExplainAnswer(Format format, const CommandContext& context, Asked asked)
      : format_(format), context_(context), asked_(asked),
        missing_(context.dataplane.workers()), found_(missing_) {
    const Lookup question = Explanation(context_, asked_).lookup();
    for (unsigned shard = 0; shard < found_.size(); ++shard) {
      answers_.emplace_back();
      context_.dataplane.ask_for<Lookup>(shard, question, answers_.back().ask());
    }
  }

  Progress next(std::string& out) override {
    for (std::size_t shard = 0; shard < answers_.size(); ++shard)
      if (auto answer = answers_[shard].take()) {
        found_[shard] = std::move(*answer);
        --missing_;
      }
    if (missing_ != 0) return Progress::kWaiting;
    Explanation explanation(context_, asked_);
    explanation.explain(found_);
    explanation.print(format_, out);
    return Progress::kDone;
  }

 private:
  Format format_;
  const CommandContext& context_;
  Asked asked_;
  std::size_t missing_;
  std::vector<Lookup> found_;
  std::vector<Awaited<Lookup>> answers_;
};

// ── what is typed ───────────────────────────────────────────────────────────────────────────────

constexpr std::string_view kSource = "SRC[:PORT]", kDestination = "DST[:PORT]",
                           kProtocolParameter = "PROTOCOL", kSpiParameter = "SPI";

struct Given {
  wire::Ipv4Address address;
  std::optional<std::uint16_t> port;
};

std::optional<std::uint32_t> number(std::string_view text, std::uint32_t most) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  std::uint32_t value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (error != std::errc{} || end != text.data() + text.size() || value > most)
    return std::nullopt;
  return value;
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

const ValueSyntax kEndpointSyntax{"A.B.C.D[:PORT]", "an address A.B.C.D, or with a port A.B.C.D:PORT",
                                  [](std::string_view text) -> std::optional<Value> {
                                    if (!parse_given(text)) return std::nullopt;
                                    return std::string(text);
                                  }};

const ValueSyntax kSpiSyntax{"SPI", "an SPI: a number, or hexadecimal as 0xc3f1a2b4",
                             [](std::string_view text) -> std::optional<Value> {
                               const auto spi = number(text, 0xFFFFFFFF);
                               if (!spi) return std::nullopt;
                               return *spi;
                             }};

}  // namespace

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
  asked.source = source.address;
  asked.destination = destination.address;
  asked.source_port = source.port.value_or(0);
  asked.destination_port = destination.port.value_or(0);
  if (const auto* const name = command.get<std::string>(kProtocolParameter)) {
    for (const Protocol each : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp, Protocol::kEsp})
      if (same_word(name_of(each), *name)) asked.protocol = each;
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
    return std::unexpected(complaint("explain: SPI", name_of(asked.protocol), "with ESP"));
  } else if (asked.protocol != Protocol::kIcmp && (!source.port || !destination.port)) {
    return std::unexpected(complaint(
        fmt::format("explain: {}", source.port ? kDestination : kSource), "no port",
        fmt::format("A.B.C.D:PORT for {}", name_of(asked.protocol))));
  }
  return std::make_unique<ExplainAnswer>(command.format, context, asked);
}

}  // namespace lsn::control
