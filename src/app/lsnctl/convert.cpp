#include "convert.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "lsn/control/command/commands.hpp"
#include "lsn/control/command/object_commands.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/edit.hpp"
#include "lsn/control/config/plausibility.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/control/config/render.hpp"
#include "lsn/control/config/static_rules.hpp"
#include "lsn/control/config/validate.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/records/segment_name.hpp"

namespace lsn::ctl {
namespace {

using control::begins_with;
using control::Model;
using control::same_word;

/// Commands that have no counterpart here, and the consequence. The first that fits counts.
struct Meaning {
  std::string_view words;
  std::string_view means;
};
constexpr Meaning kMeanings[] = {
    {"set lsn parameter", "tables are sized by dataplane.maxSessions"},
    {"add lsn ", "it is not translated otherwise than by address and port"},
    {"bind lsn ", "it is not translated otherwise than by address and port"},
    {"set lsn ", "it is not translated otherwise than by address and port"},
    {"add vlan", "give vlan in interfaces, if a link is tagged"},
    {"bind vlan", "give vlan in interfaces, if a link is tagged"},
    {"set interface", "links are what interfaces and their devices say"},
    {"add channel", "give a net_bonding device in interfaces"},
    {"bind channel", "give a net_bonding device in interfaces"},
    {"set ns hostname", "the system has its own"},
    {"add HA node", "there is no second box in this version"},
    {"set HA node", "there is no second box in this version"},
    {"add ns acl", "it does not say which sources are a client's"},
    {"bind cluster", "there is one box"},
};

std::string_view meaning_of(std::string_view line) {
  for (const Meaning& meaning : kMeanings)
    if (begins_with(line, meaning.words)) return meaning.means;
  return "no part of large scale NAT";
}

struct SourceLine {
  unsigned number;
  std::string text;
};

struct Pending {
  SourceLine line;
  control::Edit edit;
};

class Converter {
 public:
  explicit Converter(std::string path) : path_(std::move(path)) {}

  void take(const SourceLine& line) {
    const auto words = control::split_words(line.text);
    if (!words) return say(line, words.error());
    if (words->empty() || same_word((*words)[0].text, "Done")) return;
    if (is(*words, {"add", "ns", "ip"}) && words->size() >= 5) return take_address(line, *words);
    if (is(*words, {"add", "route"}) && words->size() >= 5) return take_route(line, *words);
    if (is(*words, {"add", "ns", "trafficDomain"})) return;  // it is where something is in it
    if (is(*words, {"bind", "ns", "trafficDomain"}) && words->size() >= 4)
      return take_vlan_of_domain(line, *words);
    if (is(*words, {"apply", "acls"}) || is(*words, {"apply", "ns", "acls"}) ||
        is(*words, {"save", "ns", "config"}) || is(*words, {"save", "config"}) ||
        is(*words, {"enable", "ns", "feature"}))
      return;
    auto command = control::lsn_commands().parse(line.text);
    if (command && *command && (*command)->spec->takes_words) {
      auto edit = control::edit_of(**command);
      if (!edit) return say(line, edit.error());
      pending_.push_back({line, std::move(*edit)});
      return;
    }
    const bool concerns_us = is(*words, {"add", "lsn"}) || is(*words, {"bind", "lsn"}) ||
                             is(*words, {"set", "lsn"}) || is(*words, {"add", "ipsecalg"});
    const std::string kind =
        words->size() > 2 && concerns_us
            ? fmt::format("{} {} {}", (*words)[0].text, (*words)[1].text, (*words)[2].text)
        : words->size() > 1 ? fmt::format("{} {}", (*words)[0].text, (*words)[1].text)
                            : (*words)[0].text;
    if (concerns_us)
      return say(line, fmt::format("{} is left out: {}", kind, meaning_of(line.text)));
    std::vector<unsigned>& lines = others_[kind];
    if (lines.empty()) order_.push_back({kind, std::string(meaning_of(line.text))});
    lines.push_back(line.number);
  }

  std::optional<std::string> finish() {
    add_links();
    apply_all();
    for (const auto& [kind, means] : order_) {
      const std::vector<unsigned>& lines = others_[kind];
      std::string where = fmt::format("{}", lines.front());
      if (lines.size() > 1) where = fmt::format("{} and {} further lines", where, lines.size() - 1);
      fmt::print(stderr, "{}:{}: {} is left out: {}\n", path_, where, kind, means);
    }
    std::string text = fmt::format("# Converted from {} by \"lsnctl convert\".\n", path_);
    for (const std::string& note : notes_) text += fmt::format("# {}\n", note);
    return text + control::render_config(model_);
  }

 private:
  static bool is(const std::vector<control::Word>& words,
                 std::initializer_list<std::string_view> expected) {
    if (words.size() < expected.size()) return false;
    return std::equal(
        expected.begin(), expected.end(), words.begin(),
        [](std::string_view e, const control::Word& w) { return same_word(e, w.text); });
  }

  void say(const SourceLine& line, std::string_view what) {
    fmt::print(stderr, "{}:{}: {}\n", path_, line.number, what);
  }

  static std::optional<wire::Ipv4Prefix> network(const std::string& address,
                                                 const std::string& mask) {
    const auto a = wire::parse_ipv4(address);
    const auto m = wire::parse_ipv4(mask);
    const auto length = m ? wire::length_of_netmask(*m) : std::nullopt;
    if (!a || !length) return std::nullopt;
    return wire::Ipv4Prefix{*a, *length};
  }

  /// The number behind an option, from that word on; 0 without it.
  static unsigned number_behind(const std::vector<control::Word>& words, std::size_t from,
                                std::string_view option) {
    for (std::size_t i = from; i + 1 < words.size(); ++i)
      if (same_word(words[i].text, option))
        return control::parse_number(words[i + 1].text, shared::kLastDomain).value_or(0);
    return 0;
  }
  static shared::DomainId td_of(const std::vector<control::Word>& words) {
    return static_cast<shared::DomainId>(number_behind(words, 5, "-td"));
  }

  /// bind ns trafficDomain N -vlan V
  void take_vlan_of_domain(const SourceLine& line, const std::vector<control::Word>& words) {
    const auto td = control::parse_number(words[3].text, shared::kLastDomain);
    const unsigned vlan = number_behind(words, 4, "-vlan");
    if (td && vlan != 0)
      vlan_of_domain_.try_emplace(static_cast<shared::DomainId>(*td), vlan);
    else
      say(line, "bind ns trafficDomain is left out: it is none of a VLAN");
  }

  /// add ns ip ADDRESS MASK [-type SNIP|MIP|VIP|NSIP ...] [-td N]
  void take_address(const SourceLine& line, const std::vector<control::Word>& words) {
    bool is_links = true;
    for (std::size_t i = 5; i + 1 < words.size(); ++i)
      if (same_word(words[i].text, "-type"))
        is_links = same_word(words[i + 1].text, "SNIP") || same_word(words[i + 1].text, "MIP");
    const auto prefix = network(words[3].text, words[4].text);
    if (!prefix || prefix->length == 32 || !is_links) {
      say(line, "add ns ip is left out: it is no address of a link");
      return;
    }
    addresses_.push_back({*prefix, td_of(words)});
  }

  /// add route NETWORK MASK GATEWAY [-td N]
  void take_route(const SourceLine& line, const std::vector<control::Word>& words) {
    const auto prefix = network(words[2].text, words[3].text);
    const auto via = wire::parse_ipv4(words[4].text);
    if (!prefix || !via)
      return say(line, "add route is left out: it is none by a gateway's address");
    routes_.push_back({line, {*prefix, *via, td_of(words)}});
  }

  [[nodiscard]] bool is_covered(const control::ClientNetwork& network) const {
    for (const auto& link : model_.interfaces)
      if (link.role == shared::Side::kInside && link.td == network.td &&
          link.address.length <= network.length && link.address.contains(network.address))
        return true;
    for (const auto& route : model_.routes) {
      const auto* const link = control::interface_of(model_.interfaces, route);
      if (link != nullptr && link->role == shared::Side::kInside && link->td == network.td &&
          route.prefix.length <= network.length && route.prefix.contains(network.address))
        return true;
    }
    return false;
  }

  /// Interfaces and routes: the default route leads outside.
  void add_links() {
    std::optional<wire::Ipv4Address> gateway;
    for (const auto& [line, route] : routes_)
      if (route.prefix.length == 0 && route.td == 0) gateway = route.via;
    const control::ClientNetwork* outside = nullptr;
    for (const control::ClientNetwork& a : addresses_)
      if (gateway && a.td == 0 && a.contains(*gateway)) outside = &a;
    const auto link = [this](std::string name, shared::Side role,
                             const control::ClientNetwork& address, unsigned n) {
      control::InterfaceConfig interface;
      interface.td = address.td;
      if (const auto vlan = vlan_of_domain_.find(address.td);
          address.td != 0 && vlan != vlan_of_domain_.end())
        interface.vlan = static_cast<std::uint16_t>(vlan->second);
      interface.name = std::move(name);
      interface.role = role;
      interface.device = fmt::format("net_tap{},iface=lsn{}", n, n);
      interface.address = address;
      model_.interfaces.push_back(std::move(interface));
    };
    unsigned n = 0;
    for (const control::ClientNetwork& a : addresses_) {
      if (&a == outside) continue;
      link(fmt::format("inside{}", n == 0 ? "" : fmt::format("{}", n)), shared::Side::kInside, a,
           n);
      ++n;
    }
    for (const shared::DomainId td : domains_of_pending()) {
      if (control::has_inside(model_, td)) continue;
      notes_.push_back(
          fmt::format("The file does not say which link traffic domain {0} is on: address and "
                      "device of interface inside-td{0} are placeholders.",
                      td));
      control::ClientNetwork address = placeholder(1, 1);
      address.td = td;
      link(fmt::format("inside-td{}", td), shared::Side::kInside, address, n++);
    }
    if (n == 0) {
      notes_.emplace_back(
          "The file does not say which link the subscribers are on: address and device "
          "of interface inside are placeholders.");
      link("inside", shared::Side::kInside, placeholder(1, 1), n++);
    }
    if (outside == nullptr)
      notes_.emplace_back(
          "The file does not say which link leads outside: address and device of "
          "interface outside are placeholders.");
    link("outside", shared::Side::kOutside, outside == nullptr ? placeholder(2, 1) : *outside, n);
    notes_.emplace_back("Devices are placeholders: give the NICs' PCI addresses.");
    add_routes();
    if (outside == nullptr)
      model_.routes.push_back({wire::Ipv4Prefix{}, placeholder(2, 2).address, 0});
  }

  [[nodiscard]] static control::ClientNetwork placeholder(unsigned net, unsigned host) {
    return {{wire::Ipv4Address{0xA9FE0000u + (net << 8) + host}, 30}, 0};
  }

  void add_routes() {
    for (const auto& [line, route] : routes_) {
      const bool connected = std::any_of(
          model_.interfaces.begin(), model_.interfaces.end(), [&r = route](const auto& i) {
            return (i.role == shared::Side::kOutside ? r.td == 0 : i.td == r.td) &&
                   i.address.contains(r.via) && i.address.address != r.via;
          });
      if (connected)
        model_.routes.push_back(route);
      else
        say(line, "add route is left out: its gateway is on no link of the box");
    }
  }

  /// The traffic domains that clients, statics and access lists name.
  [[nodiscard]] std::set<shared::DomainId> domains_of_pending() const {
    std::set<shared::DomainId> all;
    for (const Pending& each : pending_)
      for (const control::Edit::Option& option : each.edit.options)
        if (same_word(option.name, "td") && !option.values.empty() &&
            !same_word(each.edit.kind, "lsn appsprofile"))
          if (const auto td = control::parse_number(option.values[0], shared::kLastDomain);
              td && *td != 0)
            all.insert(static_cast<shared::DomainId>(*td));
    return all;
  }

  /// The router of a placeholder route on the first inside link of a domain.
  [[nodiscard]] std::optional<wire::Ipv4Address> router_in(shared::DomainId td) const {
    const auto inside =
        std::find_if(model_.interfaces.begin(), model_.interfaces.end(),
                     [td](const auto& i) { return i.role == shared::Side::kInside && i.td == td; });
    if (inside == model_.interfaces.end()) return std::nullopt;
    const wire::Ipv4Address next{inside->address.address.value ^ 3u};
    return inside->address.length <= 30 && inside->address.contains(next) &&
                   next != inside->address.first() && next != inside->address.last()
               ? next
               : wire::Ipv4Address{inside->address.first().value + 1};
  }

  /// Subscribers that no link or route leads to.
  void add_client_routes() {
    const control::ByName acls(model_.lsn.acl);
    for (const auto& client : model_.lsn.client)
      for (const auto& [range, td] : control::subscriber_ranges(acls, client))
        for (const wire::Ipv4Prefix& prefix : wire::prefixes_of(range)) {
          const auto via = router_in(td);
          if (!via || is_covered({prefix, td})) continue;
          model_.routes.push_back({prefix, *via, td});
          if (std::exchange(has_routes_note_, true)) continue;
          notes_.push_back(
              fmt::format("No route leads to some subscribers: those by {} are placeholders.",
                          wire::to_string(*via)));
        }
  }

  [[nodiscard]] static std::string problem_of(const Model& model) {
    const auto problems = control::check_model(model);
    return problems.empty() ? std::string() : control::to_string(problems.front());
  }

  void apply_all() {
    Model model = model_;
    bool good = true;
    std::vector<std::vector<std::string>> remarks(pending_.size());
    for (std::size_t i = 0; good && i < pending_.size(); ++i)
      good = control::apply(pending_[i].edit, model, remarks[i]).has_value();
    control::complete(model);
    if (good && problem_of(model).empty()) {
      model_ = std::move(model);
      for (std::size_t i = 0; i < pending_.size(); ++i)
        for (const std::string& remark : remarks[i]) say(pending_[i].line, remark);
    } else {
      one_by_one();
    }
    add_client_routes();
    complete_records();
    const auto problems = problems_of_result();
    for (const control::Problem& problem : problems)
      fmt::print(stderr, "{}: the result has still to be completed: {}\n", path_, problem.text);
  }

  /// What `lsnd --check --elsewhere` says of it.
  [[nodiscard]] std::vector<control::Problem> problems_of_result() const {
    if (auto problems = control::check_model(model_); !problems.empty()) return problems;
    control::Findings findings;
    control::check_plausibility(model_, findings);
    return findings.take();
  }

  /// A remark about the result: on standard error, and in its first lines.
  void remark(const std::string& what) {
    fmt::print(stderr, "{}: {}\n", path_, what);
    notes_.push_back(what);
  }

  /// What records need that commands do not say: log servers and collectors are not converted.
  void complete_records() {
    for (control::LogProfileConfig& profile : model_.lsn.logprofile)
      if (std::exchange(profile.log_ipfix, control::Switch::kDisabled) == control::Switch::kEnabled)
        remark(fmt::format(
            "logprofile {}: -logIpfix is left out: it needs a collector in records.ipfix, which "
            "the file does not say.",
            profile.name));
    bool is_logging = false;
    for (control::GroupConfig& group : model_.lsn.group) {
      is_logging = is_logging || group.logging == control::Switch::kEnabled;
      if (group.logging == control::Switch::kEnabled ||
          group.session_logging == control::Switch::kDisabled)
        continue;
      group.session_logging = control::Switch::kDisabled;
      remark(fmt::format(
          "group {}: -sessionLogging is left out: without -logging ENABLED nothing is recorded.",
          group.name));
    }
    if (!is_logging) return;
    control::RecordFileConfig file;
    file.path = control::kUsualRecordPath;
    remark(
        fmt::format("Groups have logging, and the file does not say where records go: "
                    "records.file {} is added.",
                    file.path));
    model_.records.file.push_back(std::move(file));
  }

  /// An edit that is refused at first may be accepted after others; one that never is gets
  /// reported.
  void one_by_one() {
    while (!pending_.empty()) {
      std::vector<Pending> left;
      std::vector<std::string> why;
      for (Pending& each : pending_) {
        std::string problem = attempt(each);
        if (problem.empty()) continue;
        // An edit that changes or removes makes sense in its place or not at all.
        if (each.edit.verb != control::Verb::kAdd && each.edit.verb != control::Verb::kBind) {
          say(each.line, problem + "; it is left out");
          continue;
        }
        left.push_back(std::move(each));
        why.push_back(std::move(problem));
      }
      if (left.size() == pending_.size()) {
        for (std::size_t i = 0; i < left.size(); ++i)
          say(left[i].line, why[i] + "; it is left out");
        return;
      }
      pending_ = std::move(left);
    }
  }

  /// Why the edit fails; empty: it is done, perhaps without an option that this version does not
  /// have.
  std::string attempt(const Pending& each) {
    control::Edit edit = each.edit;
    std::string notes;
    while (true) {
      std::string problem = attempt(each.line, edit, notes);
      if (problem.find("is not available in this version") == std::string::npos) return problem;
      // The one that the problem names: "group G: logging ENABLED is not available ..."
      const std::size_t colon = problem.rfind(": ");
      std::string_view named = problem;
      named.remove_prefix(colon == std::string::npos ? 0 : colon + 2);
      named = named.substr(0, named.find(' '));
      const auto option = std::find_if(
          edit.options.begin(), edit.options.end(),
          [named](const control::Edit::Option& o) { return same_word(named, o.name); });
      if (option == edit.options.end()) return problem;
      notes +=
          fmt::format("{}-{} is left out: {}", notes.empty() ? "" : "; ", option->name, problem);
      edit.options.erase(option);
      if (edit.options.empty() && edit.verb != control::Verb::kAdd) {
        say(each.line, notes);
        return "";
      }
    }
  }

  std::string attempt(const SourceLine& line, const control::Edit& edit, const std::string& note) {
    Model next = model_;
    std::vector<std::string> remarks;
    if (const auto done = control::apply(edit, next, remarks); !done) return done.error();
    control::complete(next);
    if (std::string problem = problem_of(next); !problem.empty()) return problem;
    model_ = std::move(next);
    for (const std::string& remark : remarks) say(line, remark);
    if (!note.empty()) say(line, note);
    return "";
  }

  std::string path_;
  Model model_;
  std::vector<Pending> pending_;
  std::vector<control::ClientNetwork> addresses_;
  std::map<shared::DomainId, unsigned> vlan_of_domain_;
  std::vector<std::pair<SourceLine, control::RouteConfig>> routes_;
  std::map<std::string, std::vector<unsigned>> others_;
  std::vector<std::pair<std::string, std::string>> order_;
  std::vector<std::string> notes_;
  bool has_routes_note_ = false;
};

}  // namespace

int convert(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    if (!std::filesystem::is_directory(path)) file.open(path);
    if (!file.is_open()) {
      fmt::print(stderr, "ERROR: {}\n",
                 control::complaint("convert", path, "a file that can be read"));
      return 1;
    }
  }
  std::istream& lines = path == "-" ? std::cin : file;
  Converter converter(path);
  std::string text;
  for (unsigned number = 1; std::getline(lines, text); ++number) {
    const std::size_t first = text.find_first_not_of(" \t\r");
    if (first == std::string::npos || text[first] == '#') continue;
    converter.take({number, text});
  }
  const auto result = converter.finish();
  if (!result) return 1;
  fmt::print("{}", *result);
  return 0;
}

}  // namespace lsn::ctl
