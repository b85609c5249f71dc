#include "lsn/control/config/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "lsn/control/config/describe.hpp"
#include "lsn/control/config/rules.hpp"
#include "lsn/control/config/static_rules.hpp"

namespace lsn::control {
namespace {

/// Reads one group of the file into one object.
class Reader {
 public:
  Reader(const RawValue& group, std::string path, std::string label, Findings& findings)
      : group_(group), path_(std::move(path)), label_(std::move(label)), findings_(findings) {}

  /// The whole object, and the group's unknown settings.
  template <class Object>
  void read(Object& object) {
    describe(*this, object);
    report_unknown_and_missing();
  }

  void name(std::string& member, std::size_t longest) {
    const RawValue* value = expect("name", RawValue::Kind::kText, "a string", Presence::kRequired);
    if (value == nullptr) return;
    if (const auto allowed = check_name(value->text, longest))
      report("name", to_string(*value), *allowed);
    member = value->text;
  }

  template <class Syntax, class Member>
  void text(std::string_view setting, Member& member, Presence presence) {
    const RawValue* value = expect(setting, RawValue::Kind::kText, "a string", presence);
    if (value == nullptr) return;
    if (auto parsed = Syntax::parse(value->text))
      member = std::move(*parsed);
    else
      report(setting, given_for<Syntax>(*value), Syntax::kAllowed);
  }

  template <class Enum>
  void word(std::string_view setting, Enum& member, Presence presence) {
    const RawValue* value = find(setting, presence);
    if (value == nullptr) return;
    const auto parsed =
        value->kind == RawValue::Kind::kText ? parse_word<Enum>(value->text) : std::nullopt;
    if (parsed)
      member = *parsed;
    else
      report(setting, to_string(*value), all_words<Enum>());
  }

  template <class Number>
  void number(std::string_view setting, Number& member, Limits limits) {
    const RawValue* value = find(setting, Presence::kOptional);
    if (value != nullptr && number_is_good(*value, at(setting), setting, limits))
      set_count(member, value->number);
  }

  void flag(std::string_view setting, bool& member) {
    if (const RawValue* value =
            expect(setting, RawValue::Kind::kFlag, "true or false", Presence::kOptional))
      member = value->number != 0;
  }

  template <class Syntax>
  void texts(std::string_view setting, std::vector<typename Syntax::Value>& list) {
    const RawValue* value = find(setting, Presence::kOptional);
    if (value == nullptr) return;
    list.clear();
    for_elements(*value, setting, [&](const RawValue& element, const std::string& path) {
      if (element.kind != RawValue::Kind::kText) {
        report_at(path, setting, to_string(element), fmt::format("strings: {}", Syntax::kAllowed));
      } else if (auto parsed = Syntax::parse(element.text)) {
        list.push_back(std::move(*parsed));
        return true;
      } else {
        report_at(path, setting, given_for<Syntax>(element), Syntax::kAllowed);
      }
      return false;
    });
  }

  template <class Number>
  void numbers(std::string_view setting, std::vector<Number>& list, Limits limits) {
    const RawValue* value = find(setting, Presence::kOptional);
    if (value == nullptr) return;
    list.clear();
    for_elements(*value, setting, [&](const RawValue& element, const std::string& path) {
      if (!number_is_good(element, path, setting, limits)) return false;
      list.emplace_back();
      set_count(list.back(), element.number);
      return true;
    });
  }

  template <class Object>
  void section(std::string_view setting, Object& object) {
    if (const RawValue* value =
            expect(setting, RawValue::Kind::kGroup, "a group { }", Presence::kOptional))
      Reader(*value, at(setting), label_of(setting), findings_).read(object);
  }

  template <class Object>
  void objects(std::string_view setting, std::vector<Object>& list) {
    const RawValue* value = find(setting, Presence::kOptional);
    if (value == nullptr) return;
    for_elements(*value, setting, [&](const RawValue& element, const std::string& path) {
      if (!is_group(element, path, setting)) return false;
      list.emplace_back();
      Reader reader(element, path, object_label(setting, element, list.size()), findings_);
      reader.places_ = std::is_same_v<Object, StaticConfig> ? Places::kOfFaults : Places::kOfAll;
      reader.read(list.back());
      return true;
    });
  }

 private:
  /// Which settings' places the findings are told. Of a million objects they would take gigabytes:
  /// then the object's own place does for what a rule has to say.
  enum class Places : std::uint8_t { kOfAll, kOfFaults };

  [[nodiscard]] std::string at(std::string_view setting) const {
    return path_.empty() ? std::string(setting) : fmt::format("{}.{}", path_, setting);
  }

  [[nodiscard]] std::string label_of(std::string_view setting) const {
    return label_.empty() ? std::string(setting) : fmt::format("{}: {}", label_, setting);
  }

  /// "pool LSN-POOL-1", or "pool 3" if it has no name.
  static std::string object_label(std::string_view setting, const RawValue& group,
                                  std::size_t number) {
    const RawValue* name = group.find("name");
    const std::string_view kind = kind_of_objects(setting);
    if (name != nullptr && name->kind == RawValue::Kind::kText && !name->text.empty())
      return fmt::format("{} {}", kind, name->text);
    return fmt::format("{} {}", kind, number);
  }

  /// A value that its syntax does not take, with the reason if the syntax knows one.
  template <class Syntax>
  static std::string given_for(const RawValue& value) {
    std::string given = to_string(value);
    if constexpr (requires { Syntax::hint(value.text); })
      if (const auto hint = Syntax::hint(value.text)) given += fmt::format(" ({})", *hint);
    return given;
  }

  const RawValue* find(std::string_view setting, Presence presence) {
    known_.push_back(setting);
    const RawValue* value = group_.find(setting);
    if (value == nullptr && presence == Presence::kRequired) missing_.push_back(setting);
    if (value != nullptr && places_ == Places::kOfAll) findings_.locate(at(setting), value->place);
    return value;
  }

  const RawValue* expect(std::string_view setting, RawValue::Kind kind, std::string_view allowed,
                         Presence presence) {
    const RawValue* value = find(setting, presence);
    if (value == nullptr || value->kind == kind) return value;
    report(setting, to_string(*value), allowed);
    return nullptr;
  }

  bool number_is_good(const RawValue& value, const std::string& path, std::string_view setting,
                      Limits limits) {
    if (value.kind == RawValue::Kind::kNumber && limits.admit(value.number)) return true;
    report_at(path, setting, to_string(value), allowed_numbers(limits));
    return false;
  }

  bool is_group(const RawValue& value, const std::string& path, std::string_view setting) {
    if (value.kind == RawValue::Kind::kGroup) return true;
    report_at(path, setting, to_string(value), "groups { } in a list ( )");
    return false;
  }

  /// `take(element, path)` says whether it made an element of the model of it; the path counts
  /// those. A single value stands for an array of one.
  template <class Take>
  void for_elements(const RawValue& value, std::string_view setting, Take take) {
    std::size_t taken = 0;
    const auto one = [&](const RawValue& element) {
      const std::string path = fmt::format("{}[{}]", at(setting), taken);
      findings_.locate(path, element.place);
      if (take(element, path)) ++taken;
    };
    if (value.kind == RawValue::Kind::kArray || value.kind == RawValue::Kind::kList)
      for (const RawValue& element : value.children) one(element);
    else
      one(value);
  }

  void report(std::string_view setting, std::string_view given, std::string_view allowed) {
    report_at(at(setting), setting, given, allowed);
  }

  void report_at(const std::string& path, std::string_view setting, std::string_view given,
                 std::string_view allowed) {
    if (const RawValue* value = group_.find(setting); value != nullptr && path == at(setting))
      findings_.locate(path, value->place);
    findings_.report(path, label_of(setting), given, allowed);
  }

  void report_unknown_and_missing() {
    for (const RawValue& child : group_.children) {
      if (std::find(known_.begin(), known_.end(), child.name) != known_.end()) continue;
      const std::string path = at(child.name);
      findings_.locate(path, child.place);
      const auto meant = nearest_word(child.name, known_);
      findings_.report(path, fmt::format("{}{}unknown setting", label_, label_.empty() ? "" : ": "),
                       meant ? fmt::format("\"{}\" (did you mean \"{}\"?)", child.name, *meant)
                             : fmt::format("\"{}\"", child.name),
                       fmt::format("{}", fmt::join(known_, ", ")));
      // One mistake, one problem: the setting that was probably meant is not reported as missing.
      if (meant) {
        std::erase(missing_, *meant);
        findings_.distrust(at(*meant));
      }
    }
    for (const std::string_view setting : missing_)
      findings_.report(at(setting), fmt::format("{} is missing", label_of(setting)), "", "");
  }

  const RawValue& group_;
  std::string path_;
  std::string label_;
  Findings& findings_;
  Places places_ = Places::kOfAll;
  std::vector<std::string_view> known_;
  std::vector<std::string_view> missing_;
};

}  // namespace

std::expected<Model, std::vector<Problem>> validate(const RawConfig& raw, const Check& more) {
  Findings findings(raw.files);
  Model model;
  findings.locate("", raw.root.place);
  Reader(raw.root, "", "", findings).read(model);
  complete(model);
  check_rules(model, findings);
  if (more && findings.empty()) more(model, findings);
  if (!findings.empty()) return std::unexpected(findings.take());
  return model;
}

std::vector<Problem> check_model(const Model& model) {
  Findings findings;
  check_rules(model, findings);
  return findings.take();
}

}  // namespace lsn::control
