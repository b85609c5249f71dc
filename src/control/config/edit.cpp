#include "lsn/control/config/edit.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <map>
#include <set>
#include <type_traits>
#include <utility>

#include "lsn/control/config/describe.hpp"
#include "lsn/control/config/problem.hpp"

namespace lsn::control {
namespace {

// ── the kinds ───────────────────────────────────────────────────────────────────────────────────

constexpr std::string_view kAcl = "ns acl";
constexpr std::string_view kClient = "lsn client";
constexpr std::string_view kPool = "lsn pool";
constexpr std::string_view kAppsAttributes = "lsn appsattributes";
constexpr std::string_view kAppsProfile = "lsn appsprofile";
constexpr std::string_view kTransportProfile = "lsn transportprofile";
constexpr std::string_view kLogProfile = "lsn logprofile";
constexpr std::string_view kAlgProfile = "ipsecalg profile";
constexpr std::string_view kGroup = "lsn group";
constexpr std::string_view kStatic = "lsn static";
constexpr std::string_view kBypass = "lsn bypass";
/// An option that is the mask of another one's network.
struct MaskOption {
  std::string_view kind;
  std::string_view network;
  std::string_view mask;
};
constexpr MaskOption kMaskOptions[] = {{kClient, "network", "netmask"},
                                       {kBypass, "destNetwork", "destNetmask"}};
/// bind lsn client NAME -network A -td N: the domain is a part of the network.
constexpr std::string_view kDomain = "td";
bool is_domain_of_network(std::string_view kind, std::string_view option) {
  return kind == kClient && same_word(option, kDomain);
}
const MaskOption* mask_option(std::string_view kind) {
  for (const MaskOption& option : kMaskOptions)
    if (option.kind == kind) return &option;
  return nullptr;
}

/// Calls f with the list of a kind's objects.
template <class AnyModel, class Function>
auto with_list(AnyModel& model, std::string_view kind, Function&& f) {
  if (kind == kAcl) return f(model.lsn.acl);
  if (kind == kClient) return f(model.lsn.client);
  if (kind == kPool) return f(model.lsn.pool);
  if (kind == kAppsAttributes) return f(model.lsn.appsattributes);
  if (kind == kAppsProfile) return f(model.lsn.appsprofile);
  if (kind == kTransportProfile) return f(model.lsn.transportprofile);
  if (kind == kLogProfile) return f(model.lsn.logprofile);
  if (kind == kAlgProfile) return f(model.ipsecalg.profile);
  if (kind == kStatic) return f(model.lsn.statics);
  if (kind == kBypass) return f(model.lsn.bypass);
  return f(model.lsn.group);
}

/// The kind whose objects a setting names.
std::string_view kind_referred_to(std::string_view setting) {
  static constexpr std::pair<std::string_view, std::string_view> kReferences[] = {
      {"aclname", kAcl},
      {"clientname", kClient},
      {"poolname", kPool},
      {"appsattributesname", kAppsAttributes},
      {"appsprofilename", kAppsProfile},
      {"transportprofilename", kTransportProfile},
      {"logprofilename", kLogProfile},
      {"ipsecAlgProfile", kAlgProfile},
  };
  for (const auto& [name, kind] : kReferences)
    if (name == setting) return kind;
  return {};
}

/// Names among which one that was mistyped is looked for: the work would grow with a large box.
constexpr std::size_t kMostCandidates = 2000;

/// Another name that published examples use for a parameter.
struct Alias {
  std::string_view kind;
  std::string_view name;
  std::string_view ours;
};
constexpr Alias kAliases[] = {
    {kGroup, "applicationprofilename", "appsprofilename"},
    {kGroup, "appsprofile", "appsprofilename"},
    {kGroup, "transportprofile", "transportprofilename"},
    {kGroup, "logprofile", "logprofilename"},
    {kGroup, "pool", "poolname"},
    {kGroup, "ipsecAlgProfileName", "ipsecAlgProfile"},
    {kGroup, "client", "clientname"},
    {kClient, "acl", "aclname"},
};

/// An option of the published examples that changes nothing here, or asks for something that cannot
/// be had.
struct Ignored {
  std::string_view kind;
  std::string_view name;
  std::string_view means;
  bool is_domain = false;  ///< of what is outside
};
constexpr Ignored kIgnored[] = {
    {kGroup, "ftp", "active FTP has no ALG"},
    {kGroup, "ftpcm", "active FTP has no ALG"},
    {kGroup, "pptp", "PPTP has no ALG"},
    {kGroup, "sipalg", "SIP has no ALG"},
    {kGroup, "rtspAlg", "RTSP has no ALG"},
    {kGroup, "sipalgprofilename", "SIP has no ALG"},
    {kGroup, "rtspalgprofilename", "RTSP has no ALG"},
    {kGroup, "httphdrlogprofilename", "HTTP headers are not logged"},
    {kGroup, "pcpServer", "there is no PCP server"},
    {kGroup, "ip6profile", "there is no IPv6"},
    {kStatic, "dsttd", "destinations are outside, which is in traffic domain 0", true},
    {kStatic, "nattype", "a static mapping is of NAT44"},
    {kStatic, "network6", "there is no IPv6"},
    {kClient, "network6", "there is no IPv6"},
    {kAppsProfile, "tcpproxy", "TCP connections are never terminated"},
    {kAppsProfile, "td", "what is translated leaves outside, which is in traffic domain 0", true},
    {kAppsProfile, "l2info", "subscribers are told apart by address alone"},
    {kAcl, "priority", "clients may not overlap, so that no order matters"},
    {kAcl, "state", "an access list is in force as long as a client names it"},
    {kAcl, "kernelstate", "an access list is in force as long as a client names it"},
    {kAcl, "logstate", "an access list logs nothing"},
    {kAcl, "ratelimit", "an access list logs nothing"},
};

const Ignored* find_ignored(std::string_view kind, std::string_view option) {
  for (const Ignored& ignored : kIgnored)
    if (ignored.kind == kind && same_word(ignored.name, option)) return &ignored;
  return nullptr;
}

/// -network A -netmask M: the mask is no parameter of its own.
bool is_netmask(std::string_view kind, std::string_view option) {
  const MaskOption* const mask = mask_option(kind);
  return mask != nullptr && same_word(option, mask->mask);
}

/// Collects the parameters of a default-constructed object.
class ParameterList {
 public:
  explicit ParameterList(std::vector<Parameter>& out) : out_(out) {}

  void name(const std::string&, std::size_t) {}
  template <class Syntax, class Member>
  void text(std::string_view setting, const Member& value, Presence) {
    if constexpr (requires { value.has_value(); })
      put(setting, std::string(Syntax::kAllowed), value ? Syntax::format(*value) : "");
    else
      put(setting, std::string(Syntax::kAllowed), Syntax::format(value));
  }
  template <class Enum>
  void word(std::string_view setting, Enum value, Presence) {
    put(setting, all_words<Enum>(), std::string(control::to_word(value)));
    for (const auto& [known, text] : Words<Enum>::kAll) out_.back().words.emplace_back(text);
  }
  template <class Number>
  void number(std::string_view setting, const Number& value, Limits limits) {
    put(setting, allowed_numbers(limits), fmt::format("{}", count_of(value)));
  }
  void flag(std::string_view setting, bool value) {
    put(setting, "true or false", value ? "true" : "false");
  }
  template <class Syntax>
  void texts(std::string_view setting, const std::vector<typename Syntax::Value>&) {
    put(setting, std::string(Syntax::kAllowed), "");
    out_.back().is_list = is_set_as_a_whole(setting);
    out_.back().is_binding = !out_.back().is_list;
  }

 private:
  void put(std::string_view setting, std::string allowed, std::string value) {
    Parameter p;
    p.name = setting;
    p.refers = kind_referred_to(setting);
    p.allowed =
        p.refers.empty() ? std::move(allowed) : fmt::format("the name of an existing {}", p.refers);
    p.value = std::move(value);
    out_.push_back(std::move(p));
  }

  std::vector<Parameter>& out_;
};

std::vector<ObjectKind> make_kinds() {
  std::vector<ObjectKind> kinds = {
      {kAcl,
       "lsn.acl",
       "source addresses that an lsn client takes by -aclname",
       "action",
       "",
       "",
       {}},
      {kClient, "lsn.client", "subscribers, by their networks", "", "", "", {}},
      {kPool, "lsn.pool", "NAT addresses", "", "", "lsnip", {}},
      {kAppsAttributes,
       "lsn.appsattributes",
       "an idle timeout for destination ports of an appsprofile",
       "transportprotocol",
       "port",
       "",
       {}},
      {kAppsProfile,
       "lsn.appsprofile",
       "pooling, mapping and filtering, by destination port",
       "transportprotocol",
       "",
       "lsnport",
       {}},
      {kTransportProfile,
       "lsn.transportprofile",
       "timeouts and quotas of a protocol",
       "transportprotocol",
       "",
       "",
       {}},
      {kLogProfile, "lsn.logprofile", "what records of a group have", "", "", "", {}},
      {kAlgProfile, "ipsecalg.profile", "how the IPsec ALG works", "", "", "", {}},
      {kGroup, "lsn.group", "which client uses which pools and profiles", "", "", "", {}},
      {kStatic,
       "lsn.static",
       "a subscriber's port, or address, that is a NAT port, or address, for good",
       "transportprotocol",
       "",
       "",
       {},
       {"subscrIP", "subscrPort", "natIP", "natPort"},
       2,
       true},
      {kBypass, "lsn.bypass", "what a client reaches without translation", "", "", "", {}},
  };
  const Model model;
  for (ObjectKind& kind : kinds)
    with_list(model, kind.words, [&]<class Object>(const std::vector<Object>&) {
      ParameterList list(kind.parameters);
      const Object object{};
      describe(list, object);
    });
  return kinds;
}

// ── one object ──────────────────────────────────────────────────────────────────────────────────

using Done = std::expected<void, std::string>;

std::unexpected<std::string> refuse(std::string_view what, std::string_view given,
                                    std::string_view allowed) {
  return std::unexpected(complaint(what, printable(given, 300), allowed));
}

/// "pool LSN-POOL-1", as the messages about a file call it.
std::string label_of(const ObjectKind& kind, std::string_view name) {
  const std::string_view bare = kind.words.starts_with("lsn ") ? kind.words.substr(4) : kind.words;
  return fmt::format("{} {}", bare, name);
}

std::string quoted_name(std::string_view name) {
  if (!name.empty() && name.find_first_of(" \t\"'") == std::string_view::npos)
    return std::string(name);
  std::string result = "\"";
  for (const char c : name) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

enum class Change : std::uint8_t { kAssign, kAppend, kErase };

/// Changes one setting of an object: a scalar is assigned, a binding is appended or erased.
class Editor {
 public:
  Editor(std::string label, std::string_view setting, std::string_view text, Change change)
      : label_(fmt::format("{}: {}", label, setting)),
        setting_(setting),
        text_(text),
        change_(change) {}

  Done result = {};

  void name(std::string&, std::size_t) {}
  template <class Syntax, class Member>
  void text(std::string_view setting, Member& member, Presence) {
    if (!is_it(setting)) return;
    if constexpr (requires { member.has_value(); })
      if (text_.empty()) return member.reset();
    if (auto parsed = Syntax::parse(text_))
      member = std::move(*parsed);
    else
      report<Syntax>(text_);
  }
  template <class Enum>
  void word(std::string_view setting, Enum& member, Presence) {
    if (!is_it(setting)) return;
    if (const auto parsed = parse_word<Enum>(text_))
      member = *parsed;
    else
      result = refuse(label_, fmt::format("\"{}\"", text_), all_words<Enum>());
  }
  template <class Number>
  void number(std::string_view setting, Number& member, Limits limits) {
    if (!is_it(setting)) return;
    std::int64_t value = 0;
    const char* const end = text_.data() + text_.size();
    const auto [last, error] = std::from_chars(text_.data(), end, value);
    if (error == std::errc{} && last == end && limits.admit(value))
      set_count(member, value);
    else
      result = refuse(label_, text_, allowed_numbers(limits));
  }
  void flag(std::string_view setting, bool& member) {
    if (!is_it(setting)) return;
    if (text_ == "true" || text_ == "false")
      member = text_ == "true";
    else
      result = refuse(label_, text_, "true or false");
  }
  template <class Syntax>
  void texts(std::string_view setting, std::vector<typename Syntax::Value>& list) {
    if (!is_it(setting)) return;
    if (change_ == Change::kAssign) return assign_all<Syntax>(list);
    const auto parsed = Syntax::parse(text_);
    if (!parsed) return report<Syntax>(text_);
    const auto there = std::find(list.begin(), list.end(), *parsed);
    if (change_ == Change::kErase && there == list.end() && take_out_of_range(list, *parsed)) {
      // the rest of the range stays
    } else if (change_ == Change::kErase && there == list.end()) {
      std::vector<std::string> bound;
      for (const auto& value : list) bound.push_back(Syntax::format(value));
      result = refuse(label_, text_,
                      bound.empty() ? "nothing, as nothing is bound"
                                    : fmt::format("what is bound: {}", fmt::join(bound, ", ")));
    } else if (change_ == Change::kErase) {
      list.erase(there);
    } else if (there != list.end()) {
      result = refuse(label_, text_, "what is not bound already");
    } else {
      list.push_back(*parsed);
    }
  }

 private:
  [[nodiscard]] bool is_it(std::string_view setting) const { return setting == setting_; }

  static std::uint32_t number_of(wire::Ipv4Address address) { return address.value; }
  static std::uint32_t number_of(std::uint16_t port) { return port; }
  template <class End>
  static End end_of(std::uint32_t number) {
    if constexpr (std::is_same_v<End, wire::Ipv4Address>)
      return wire::Ipv4Address{number};
    else
      return static_cast<End>(number);
  }

  /// A part of one of the ranges: that one becomes the two parts before and behind it.
  template <class Value>
  static bool take_out_of_range(std::vector<Value>& list, const Value& part) {
    if constexpr (requires {
                    part.first;
                    part.last;
                  }) {
      using End = std::remove_cvref_t<decltype(part.first)>;
      const std::uint32_t first = number_of(part.first), last = number_of(part.last);
      const auto whole = std::find_if(list.begin(), list.end(), [&](const Value& range) {
        return number_of(range.first) <= first && last <= number_of(range.last);
      });
      if (whole == list.end()) return false;
      std::vector<Value> left;
      if (number_of(whole->first) < first) left.push_back({whole->first, end_of<End>(first - 1)});
      if (last < number_of(whole->last)) left.push_back({end_of<End>(last + 1), whole->last});
      list.insert(list.erase(whole), left.begin(), left.end());
      return true;
    } else {
      return false;
    }
  }

  /// "53,500": the list is these from now on; "": empty.
  template <class Syntax>
  void assign_all(std::vector<typename Syntax::Value>& list) {
    list.clear();
    for (std::string_view rest = text_; !rest.empty();) {
      const std::string_view one = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), one.size() + 1));
      const auto parsed = Syntax::parse(one);
      if (!parsed) return report<Syntax>(one);
      if (std::find(list.begin(), list.end(), *parsed) != list.end()) {
        result = refuse(label_, fmt::format("{} twice", one), "each once");
        return;
      }
      list.push_back(*parsed);
    }
  }

  template <class Syntax>
  void report(std::string_view text) {
    std::string given(text);
    if constexpr (requires { Syntax::hint(text); })
      if (const auto hint = Syntax::hint(text)) given += fmt::format(" ({})", *hint);
    result = refuse(label_, given, Syntax::kAllowed);
  }

  std::string label_;
  std::string_view setting_;
  std::string_view text_;
  Change change_;
};

/// The settings of an object, in the order of the reference.
class Speaker {
 public:
  std::vector<std::vector<std::string>> values;

  void name(const std::string&, std::size_t) {}
  template <class Syntax, class Member>
  void text(std::string_view, const Member& value, Presence) {
    if constexpr (requires { value.has_value(); })
      values.push_back({value ? Syntax::format(*value) : ""});
    else
      values.push_back({Syntax::format(value)});
  }
  template <class Enum>
  void word(std::string_view, Enum value, Presence) {
    values.push_back({std::string(control::to_word(value))});
  }
  template <class Number>
  void number(std::string_view, const Number& value, Limits) {
    values.push_back({fmt::format("{}", count_of(value))});
  }
  void flag(std::string_view, bool value) { values.push_back({value ? "true" : "false"}); }
  template <class Syntax>
  void texts(std::string_view, const std::vector<typename Syntax::Value>& list) {
    std::vector<std::string> all;
    for (const auto& value : list) all.push_back(Syntax::format(value));
    values.push_back(std::move(all));
  }
};

/// Carries out an edit on one object.
class Operation {
 public:
  Operation(const Edit& edit, const ObjectKind& kind, Model& model,
            std::vector<std::string>& remarks)
      : edit_(edit),
        kind_(kind),
        model_(model),
        remarks_(remarks),
        label_(label_of(kind, edit.name)) {}

  Done run() {
    return with_list(model_, kind_.words, [this]<class Object>(std::vector<Object>& list) {
      return edit_.verb == Verb::kAdd ? add(list) : change(list);
    });
  }

 private:
  template <class Object>
  Done add(std::vector<Object>& list) {
    const std::size_t longest = kind_.words == kAlgProfile ? kMaxAlgProfileName : kMaxName;
    if (const auto allowed = check_name(edit_.name, longest))
      return refuse(fmt::format("{}: name", kind_.words), edit_.name, *allowed);
    // Of a great many the rules find a name that is there twice: for each of them to look through
    // all others would take hours.
    constexpr std::size_t kMostLookedThrough = 32768;
    if (list.size() <= kMostLookedThrough && find_by_name(list, edit_.name) != nullptr)
      return refuse(
          label_, "add",
          fmt::format("a new name; it exists already ({} {} {} ...)", kind_.is_fixed ? "rm" : "set",
                      kind_.words, quoted_name(edit_.name)));
    Object object{};
    object.name = edit_.name;
    std::size_t used = 0;
    const std::vector<std::string> operands = all_operands();
    if (!kind_.operand.empty()) {
      if (operands.empty())
        return refuse(fmt::format("{}: {}", label_, kind_.operand), "nothing",
                      kind_.find(kind_.operand)->allowed);
      if (auto set = assign(object, kind_.operand, operands[used++], Change::kAssign); !set)
        return set;
    }
    if (!kind_.optional_operand.empty() && used < operands.size())
      if (auto set = assign(object, kind_.optional_operand, operands[used++], Change::kAssign);
          !set)
        return set;
    for (std::size_t i = 0; i < kind_.more_operands.size(); ++i) {
      const std::string_view operand = kind_.more_operands[i];
      if (used == operands.size() && i < kind_.required_more)
        return refuse(fmt::format("{}: {}", label_, operand), "nothing",
                      kind_.find(operand)->allowed);
      if (used == operands.size()) break;
      if (auto set = assign(object, operand, operands[used++], Change::kAssign); !set) return set;
    }
    remark_surplus(operands, used);
    if (auto set = take_options(object, Change::kAppend); !set) return set;
    if constexpr (requires { object.clientname; })
      if (object.clientname.empty())
        return refuse(fmt::format("{}: clientname", label_), "nothing",
                      fmt::format("the name of an existing client (add {} {} -clientname NAME)",
                                  kind_.words, quoted_name(edit_.name)));
    list.push_back(std::move(object));
    return {};
  }

  template <class Object>
  Done change(std::vector<Object>& list) {
    const auto there = std::find_if(list.begin(), list.end(),
                                    [this](const Object& o) { return o.name == edit_.name; });
    if (there == list.end()) return missing(list);
    if (edit_.verb == Verb::kRemove) {
      const Users all(model_, kind_);
      if (const auto& users = all.of(edit_.name); !users.empty())
        return refuse(label_, "rm",
                      fmt::format("what nothing uses; it is used by {}", fmt::join(users, ", ")));
      remark_surplus(edit_.operands, 0);
      for (const Edit::Option& option : edit_.options)
        remarks_.push_back(fmt::format("-{} is ignored: rm takes a name alone", option.name));
      list.erase(there);
      return {};
    }
    Object object = *there;
    const bool binds = edit_.verb == Verb::kBind || edit_.verb == Verb::kUnbind;
    const Change how = edit_.verb == Verb::kUnbind ? Change::kErase
                       : binds                     ? Change::kAppend
                                                   : Change::kAssign;
    std::size_t used = 0;
    if (binds && !kind_.bound.empty())
      for (; used < edit_.operands.size(); ++used)
        if (auto done = assign(object, kind_.bound, edit_.operands[used], how); !done) return done;
    if (used == 0 && edit_.options.empty()) return nothing_given(binds);
    remark_surplus(edit_.operands, used);
    if (auto done = take_options(object, how); !done) return done;
    if constexpr (requires { object.drain; }) keep_within(object.drain, object.lsnip);
    *there = std::move(object);
    return {};
  }

  /// Addresses that are unbound do not drain any more: the pool can be let go of them at once.
  void keep_within(std::vector<wire::Ipv4Range>& drain,
                   const std::vector<wire::Ipv4Range>& lsnip) const {
    if (edit_.verb != Verb::kUnbind) return;
    std::vector<wire::Ipv4Range> left;
    for (const wire::Ipv4Range& range : drain)
      for (const wire::Ipv4Range& has : lsnip)
        if (range.first <= has.last && has.first <= range.last)
          left.push_back({std::max(range.first, has.first), std::min(range.last, has.last)});
    drain = std::move(left);
  }

  template <class Object>
  std::unexpected<std::string> missing(const std::vector<Object>& list) const {
    std::vector<std::string_view> names;
    for (const Object& object : list)
      if (names.size() < kMostCandidates) names.push_back(object.name);
    const auto meant = nearest_word(edit_.name, names);
    std::string how = fmt::format("add {} {}", kind_.words, quoted_name(edit_.name));
    if (kind_.words == kGroup) how += fmt::format(" -clientname {}", client_without_group());
    if (!kind_.operand.empty()) how += fmt::format(" {}", kind_.find(kind_.operand)->allowed);
    for (std::size_t i = 0; i < kind_.required_more; ++i)
      how += fmt::format(" {}", kind_.more_operands[i]);
    return refuse(fmt::format("{} does not exist", label_), "",
                  fmt::format("the name of an existing {}{} ({})", kind_.words,
                              meant ? fmt::format(", did you mean \"{}\"?", *meant) : "", how));
  }

  /// The only one that there is, for a suggestion.
  [[nodiscard]] std::string client_without_group() const {
    std::string found;
    std::set<std::string_view> in_group;
    for (const GroupConfig& group : model_.lsn.group) in_group.insert(group.clientname);
    for (const ClientConfig& client : model_.lsn.client) {
      if (in_group.contains(client.name)) continue;
      if (!found.empty()) return "NAME";
      found = quoted_name(client.name);
    }
    return found.empty() ? "NAME" : found;
  }

  [[nodiscard]] std::unexpected<std::string> nothing_given(bool binds) const {
    std::vector<std::string> allowed;
    if (binds && !kind_.bound.empty()) allowed.emplace_back(kind_.bound);
    for (const Parameter& p : kind_.parameters)
      if (p.is_binding == binds && p.name != kind_.bound) allowed.push_back("-" + p.name);
    return refuse(label_, fmt::format("nothing to {}", control::to_word(edit_.verb)),
                  allowed.empty() ? "rm and add, as there is nothing of the kind"
                                  : fmt::format("{}", fmt::join(allowed, ", ")));
  }

  template <class Object>
  Done take_options(Object& object, Change how) {
    for (const Edit::Option& option : edit_.options) {
      if (is_mask(option.name) || is_domain_of_network(kind_.words, option.name))
        continue;  // goes with -network
      const Parameter* const p = kind_.find(option.name);
      if (p == nullptr) {
        if (remark_ignored(option)) continue;
        return unknown(option);
      }
      if (auto done = take_option(object, option, *p, how); !done) return done;
    }
    if (auto good = check_domain(); !good) return good;
    return check_mask();
  }

  template <class Object>
  Done take_option(Object& object, const Edit::Option& option, const Parameter& p, Change how) {
    const bool binds = edit_.verb == Verb::kBind || edit_.verb == Verb::kUnbind;
    if (p.is_binding != binds && edit_.verb != Verb::kAdd)
      return refuse(fmt::format("{}: {}", label_, p.name),
                    std::string(control::to_word(edit_.verb)),
                    p.is_binding ? "bind and unbind" : "set and unset");
    if (edit_.verb == Verb::kUnset) {
      if (!option.values.empty())
        remarks_.push_back(
            fmt::format("{} is ignored: unset -{} takes no value", option.values[0], p.name));
      return assign(object, p.name, p.value, Change::kAssign);
    }
    if (option.values.empty())
      return refuse(fmt::format("{}: {}", label_, p.name), "no value", p.allowed);
    const std::string value = chosen_value(option, p);
    const MaskOption* const mask = mask_option(kind_.words);
    return assign(
        object, p.name,
        mask != nullptr && p.name == mask->network ? with_domain(with_mask(value)) : value,
        p.is_binding ? how : Change::kAssign);
  }

  /// Of several words the one that names an object, as in "-poolname pool1 LSN-POOL-1".
  std::string chosen_value(const Edit::Option& option, const Parameter& p) {
    if (p.is_list) return fmt::format("{}", fmt::join(option.values, ","));
    std::size_t chosen = 0;
    if (!p.refers.empty() && option.values.size() > 1) {
      const auto names = names_of(model_, *find_kind(p.refers));
      for (std::size_t i = 0; i < option.values.size(); ++i) {
        if (std::find(names.begin(), names.end(), option.values[i]) == names.end()) continue;
        chosen = i;
        break;
      }
    }
    for (std::size_t i = 0; i < option.values.size(); ++i)
      // Of add lsn static ... -td N NATIP NATPORT they are operands.
      if (i != chosen && kind_.more_operands.empty())
        remarks_.push_back(
            fmt::format("{} is ignored: -{} takes one value", option.values[i], p.name));
    return option.values[chosen];
  }

  template <class Object>
  Done assign(Object& object, std::string_view setting, std::string_view text, Change how) {
    Editor editor(label_, setting, text, how);
    describe(editor, object);
    return std::move(editor.result);
  }

  // bind lsn client NAME -network A [-netmask M]

  [[nodiscard]] bool is_mask(std::string_view option) const {
    return is_netmask(kind_.words, option);
  }

  [[nodiscard]] static std::optional<unsigned> mask_length(const Edit::Option& option) {
    const auto mask =
        option.values.empty() ? std::nullopt : wire::parse_ipv4(option.values.front());
    return mask ? wire::length_of_netmask(*mask) : std::nullopt;
  }

  [[nodiscard]] std::string with_mask(const std::string& network) {
    for (const Edit::Option& option : edit_.options) {
      if (!is_mask(option.name) || option.values.empty()) continue;
      const auto length = mask_length(option);
      return length ? fmt::format("{}/{}", network, *length) : network;
    }
    return network;
  }

  [[nodiscard]] std::string with_domain(std::string network) const {
    for (const Edit::Option& option : edit_.options)
      if (is_domain_of_network(kind_.words, option.name) && !option.values.empty() &&
          option.values.front() != "0")
        network += fmt::format(" td {}", option.values.front());
    return network;
  }

  /// -td of a client: a number, of a network or of the access list that is named.
  [[nodiscard]] Done check_domain() const {
    for (const Edit::Option& option : edit_.options) {
      if (!is_domain_of_network(kind_.words, option.name)) continue;
      const std::string label = fmt::format("{}: {}", label_, kDomain);
      std::uint32_t td = 0;
      if (option.values.empty()) return refuse(label, "no value", allowed_numbers(kDomainLimits));
      const std::string& given = option.values.front();
      const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), td);
      if (error != std::errc{} || end != given.data() + given.size() || !kDomainLimits.admit(td))
        return refuse(label, given, allowed_numbers(kDomainLimits));
      bool belongs = false;
      for (const Edit::Option& other : edit_.options) {
        const Parameter* const p = kind_.find(other.name);
        belongs = belongs || (p != nullptr && p->is_binding);
        if (p == nullptr || p->refers != kAcl || other.values.empty()) continue;
        const AclConfig* const acl = find_by_name(model_.lsn.acl, other.values.front());
        if (acl != nullptr && acl->td != td)
          return refuse(label, given,
                        fmt::format("{}, that of acl {} (set ns acl {} -td {})", acl->td, acl->name,
                                    quoted_name(acl->name), given));
      }
      if (!belongs) return refuse(label, "without -network", "together with it");
    }
    return {};
  }

  [[nodiscard]] Done check_mask() const {
    for (const Edit::Option& option : edit_.options) {
      if (!is_mask(option.name)) continue;
      const MaskOption& mask = *mask_option(kind_.words);
      const bool has_network =
          std::any_of(edit_.options.begin(), edit_.options.end(),
                      [&mask](const Edit::Option& o) { return same_word(o.name, mask.network); });
      if (!has_network)
        return refuse(fmt::format("{}: {}", label_, mask.mask),
                      fmt::format("without -{}", mask.network), "together with it");
      if (!mask_length(option))
        return refuse(fmt::format("{}: {}", label_, mask.mask),
                      option.values.empty() ? "no value" : option.values.front(),
                      "a netmask such as 255.255.255.0");
    }
    return {};
  }

  bool remark_ignored(const Edit::Option& option) {
    const Ignored* const ignored = find_ignored(kind_.words, option.name);
    if (ignored == nullptr) return false;
    // Domain 0 is where what is translated leaves: it asks for what there is.
    if (ignored->is_domain && option.values == std::vector<std::string>{"0"}) return true;
    remarks_.push_back(fmt::format("-{} is ignored: {}", ignored->name, ignored->means));
    return true;
  }

  [[nodiscard]] std::unexpected<std::string> unknown(const Edit::Option& option) const {
    const bool binds = edit_.verb == Verb::kBind || edit_.verb == Verb::kUnbind;
    std::vector<std::string> options;
    std::vector<std::string_view> names;
    for (const Parameter& p : kind_.parameters)
      if (edit_.verb == Verb::kAdd || p.is_binding == binds) names.push_back(p.name);
    for (const std::string_view name : names) options.push_back(fmt::format("-{}", name));
    const auto meant = nearest_word(option.name, names);
    return refuse(label_,
                  meant ? fmt::format("\"-{}\" (did you mean \"-{}\"?)", option.name, *meant)
                        : fmt::format("\"-{}\"", option.name),
                  options.empty() ? "no options" : fmt::format("{}", fmt::join(options, ", ")));
  }

  /// The published order has an option between operands, and an option takes the words behind it:
  /// add lsn static NAME PROTOCOL SUBSCRIP SUBSCRPORT -td N NATIP NATPORT.
  [[nodiscard]] std::vector<std::string> all_operands() const {
    std::vector<std::string> all = edit_.operands;
    if (!kind_.more_operands.empty())
      for (const Edit::Option& option : edit_.options)
        for (std::size_t i = 1; i < option.values.size(); ++i) all.push_back(option.values[i]);
    return all;
  }

  void remark_surplus(const std::vector<std::string>& operands, std::size_t used) {
    for (std::size_t i = used; i < operands.size(); ++i)
      remarks_.push_back(fmt::format("{} is ignored: a word too many", operands[i]));
  }

  const Edit& edit_;
  const ObjectKind& kind_;
  Model& model_;
  std::vector<std::string>& remarks_;
  std::string label_;
};

}  // namespace

std::string_view to_word(Verb verb) {
  switch (verb) {
    case Verb::kAdd:
      return "add";
    case Verb::kSet:
      return "set";
    case Verb::kUnset:
      return "unset";
    case Verb::kBind:
      return "bind";
    case Verb::kUnbind:
      return "unbind";
    case Verb::kRemove:
      break;
  }
  return "rm";
}

bool ObjectKind::has_bindings() const {
  return std::any_of(parameters.begin(), parameters.end(),
                     [](const Parameter& p) { return p.is_binding; });
}

bool ObjectKind::is_operand(std::string_view name) const {
  return name == operand || (!optional_operand.empty() && name == optional_operand) ||
         std::find(more_operands.begin(), more_operands.end(), name) != more_operands.end();
}

const Parameter* ObjectKind::find(std::string_view name) const {
  for (const Alias& alias : kAliases)
    if (alias.kind == words && same_word(alias.name, name)) name = alias.ours;
  for (const Parameter& p : parameters)
    if (same_word(p.name, name)) return &p;
  return nullptr;
}

std::vector<std::string> ObjectKind::options_meant(std::string_view typed, Verb verb) const {
  if (verb == Verb::kRemove || find(typed) != nullptr || find_ignored(words, typed) != nullptr ||
      is_netmask(words, typed) || is_domain_of_network(words, typed))
    return {std::string(typed)};
  const bool binds = verb == Verb::kBind || verb == Verb::kUnbind;
  std::vector<std::string> meant;
  const auto consider = [&](std::string_view name) {
    if (begins_with(name, typed)) meant.emplace_back(name);
  };
  for (const Parameter& p : parameters)
    if (verb == Verb::kAdd || p.is_binding == binds) consider(p.name);
  const MaskOption* const mask = mask_option(words);
  if (mask != nullptr && (verb == Verb::kAdd || binds == (words == kClient))) consider(mask->mask);
  return meant;
}

std::span<const ObjectKind> object_kinds() {
  static const std::vector<ObjectKind> kKinds = make_kinds();
  return kKinds;
}

const ObjectKind* find_kind(std::string_view words) {
  for (const ObjectKind& kind : object_kinds())
    if (same_word(kind.words, words)) return &kind;
  return nullptr;
}

std::expected<void, std::string> apply(const Edit& edit, Model& model,
                                       std::vector<std::string>& remarks) {
  const ObjectKind* const kind = find_kind(edit.kind);
  if (kind == nullptr) return refuse("command", edit.kind, "an object's kind");
  return Operation(edit, *kind, model, remarks).run();
}

std::vector<std::string> names_of(const Model& model, const ObjectKind& kind) {
  return with_list(model, kind.words, [](const auto& list) {
    std::vector<std::string> names;
    for (const auto& object : list) names.push_back(object.name);
    return names;
  });
}

std::vector<ParameterValue> values_of(const Model& model, const ObjectKind& kind,
                                      std::string_view name) {
  return with_list(model, kind.words, [&](const auto& list) {
    std::vector<ParameterValue> all;
    const auto* const object = find_by_name(list, name);
    if (object == nullptr) return all;
    Speaker speaker;
    describe(speaker, *object);
    for (std::size_t i = 0; i < speaker.values.size(); ++i)
      all.push_back({&kind.parameters[i], std::move(speaker.values[i])});
    return all;
  });
}

void for_objects(const Model& model, const ObjectKind& kind, const SeeObject& see) {
  with_list(model, kind.words, [&](const auto& list) {
    for (const auto& object : list) {
      Speaker speaker;
      describe(speaker, object);
      std::vector<ParameterValue> values;
      for (std::size_t i = 0; i < speaker.values.size(); ++i)
        values.push_back({&kind.parameters[i], std::move(speaker.values[i])});
      see(object.name, std::move(values));
    }
  });
}

Users::Users(const Model& model, const ObjectKind& kind) {
  for (const ObjectKind& other : object_kinds()) {
    if (std::none_of(other.parameters.begin(), other.parameters.end(),
                     [&](const Parameter& p) { return p.refers == kind.words; }))
      continue;
    for_objects(model, other, [&](const std::string& user, std::vector<ParameterValue> values) {
      for (const ParameterValue& value : values)
        if (value.parameter->refers == kind.words)
          for (const std::string& name : value.values)
            users_[name].push_back(label_of(other, user));
    });
  }
}

const std::vector<std::string>& Users::of(const std::string& name) const {
  static const std::vector<std::string> kNobody;
  const auto there = users_.find(name);
  return there == users_.end() ? kNobody : there->second;
}

namespace {

/// The commands for one object that both models have, or that `from` has as it is made.
class Difference {
 public:
  Difference(const ObjectKind& kind, std::string name, std::vector<ParameterValue> from,
             std::vector<ParameterValue> to)
      : kind_(kind), name_(std::move(name)), to_(std::move(to)), from_(std::move(from)) {
    is_new_ = from_.empty();
    if (is_new_)
      for (const ParameterValue& value : to_)
        from_.push_back({value.parameter, value.parameter->is_many()
                                              ? std::vector<std::string>{}
                                              : std::vector{value.parameter->value}});
  }

  /// Bindings that go; the last parameter first: an ALG profile needs the others.
  void unbind(std::vector<std::string>& out) const {
    for (std::size_t i = to_.size(); i-- > 0;) {
      if (!to_[i].parameter->is_binding) continue;
      for (const std::string& value : from_[i].values)
        if (std::find(to_[i].values.begin(), to_[i].values.end(), value) == to_[i].values.end())
          out.push_back(binding("unbind", *to_[i].parameter, value));
    }
  }

  /// Parameters and bindings that come.
  void add(std::vector<std::string>& out) const {
    std::string options;
    std::string unset;
    std::string operands;
    for (std::size_t i = 0; i < to_.size(); ++i) {
      const Parameter& p = *to_[i].parameter;
      if (p.is_binding) continue;
      if (is_new_ && kind_.is_operand(p.name))
        operands += (to_[i].values[0].empty() ? "" : " ") + to_[i].values[0];
      else if (to_[i].values == from_[i].values)
        continue;
      else if (!is_new_ && fmt::format("{}", fmt::join(to_[i].values, ",")) == p.value)
        unset += " -" + p.name;
      else
        options += fmt::format(" -{} {}", p.name,
                               quoted_name(fmt::format("{}", fmt::join(to_[i].values, ","))));
    }
    const std::string object = fmt::format("{} {}", kind_.words, quoted_name(name_));
    if (is_new_)
      out.push_back(fmt::format("add {}{}{}", object, operands, options));
    else if (!options.empty())
      out.push_back(fmt::format("set {}{}", object, options));
    if (!unset.empty()) out.push_back(fmt::format("unset {}{}", object, unset));
    for (std::size_t i = 0; i < to_.size(); ++i) {
      if (!to_[i].parameter->is_binding) continue;
      for (const std::string& value : to_[i].values)
        if (std::find(from_[i].values.begin(), from_[i].values.end(), value) ==
            from_[i].values.end())
          out.push_back(binding("bind", *to_[i].parameter, value));
    }
  }

 private:
  [[nodiscard]] std::string binding(std::string_view verb, const Parameter& p,
                                    const std::string& value) const {
    const std::string object = fmt::format("{} {} {}", verb, kind_.words, quoted_name(name_));
    if (p.name == kind_.bound) return fmt::format("{} {}", object, value);
    if (p.name != "network") return fmt::format("{} -{} {}", object, p.name, quoted_name(value));
    const auto network = ClientNetworkSyntax::parse(value);
    if (!network) return fmt::format("{} -network {}", object, value);
    return fmt::format("{} -network {} -netmask {}{}", object, wire::to_string(network->address),
                       wire::to_string(wire::Ipv4Address{network->mask()}),
                       network->td == 0 ? "" : fmt::format(" -td {}", network->td));
  }

  const ObjectKind& kind_;
  std::string name_;
  std::vector<ParameterValue> to_;
  std::vector<ParameterValue> from_;
  bool is_new_ = false;
};

/// The objects of a kind by name.
using Objects = std::map<std::string, std::vector<ParameterValue>>;
Objects objects_of(const Model& model, const ObjectKind& kind) {
  Objects objects;
  for_objects(model, kind, [&](const std::string& name, std::vector<ParameterValue> values) {
    objects.emplace(name, std::move(values));
  });
  return objects;
}

/// Whether both models have the same objects of a kind, in the same order.
bool are_alike(const Model& a, const Model& b, const ObjectKind& kind) {
  return with_list(a, kind.words, [&]<class Object>(const std::vector<Object>& of_a) {
    return with_list(b, kind.words, [&]<class Other>(const std::vector<Other>& of_b) {
      if constexpr (std::is_same_v<Object, Other>)
        return of_a == of_b;
      else
        return false;
    });
  });
}

bool have_same_values(const std::vector<ParameterValue>& a, const std::vector<ParameterValue>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x.values == y.values; });
}

/// Without any binding.
std::vector<ParameterValue> unbound(std::vector<ParameterValue> values) {
  for (ParameterValue& value : values)
    if (value.parameter->is_binding) value.values.clear();
  return values;
}

}  // namespace

std::vector<std::string> commands_between(const Model& from, const Model& to) {
  std::vector<std::string> commands;
  std::vector<std::string> removals;
  const std::span<const ObjectKind> kinds = object_kinds();
  for (std::size_t k = kinds.size(); k-- > 0;) {
    if (are_alike(from, to, kinds[k])) continue;
    const Objects before = objects_of(from, kinds[k]);
    const Objects after = objects_of(to, kinds[k]);
    for (const std::string& name : names_of(from, kinds[k])) {
      auto there = after.find(name);
      const auto& values = before.at(name);
      // What cannot be set is removed and added again.
      if (kinds[k].is_fixed && there != after.end() && !have_same_values(values, there->second))
        there = after.end();
      Difference(kinds[k], name, values, there == after.end() ? unbound(values) : there->second)
          .unbind(commands);
      // No object refers to a group, and its client may be another group's by now.
      if (there == after.end())
        (kinds[k].words == kGroup || kinds[k].is_fixed ? commands : removals)
            .push_back(fmt::format("rm {} {}", kinds[k].words, quoted_name(name)));
    }
  }
  for (const ObjectKind& kind : kinds) {
    if (are_alike(from, to, kind)) continue;
    const Objects before = objects_of(from, kind);
    for_objects(to, kind, [&](const std::string& name, std::vector<ParameterValue> values) {
      auto there = before.find(name);
      if (kind.is_fixed && there != before.end() && !have_same_values(there->second, values))
        there = before.end();
      Difference(kind, name, there == before.end() ? std::vector<ParameterValue>{} : there->second,
                 std::move(values))
          .add(commands);
    });
  }
  commands.insert(commands.end(), removals.begin(), removals.end());
  return commands;
}

}  // namespace lsn::control
