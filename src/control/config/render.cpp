#include "lsn/control/config/render.hpp"

#include <fmt/format.h>

#include <initializer_list>
#include <limits>
#include <string_view>
#include <vector>

#include "lsn/control/config/describe.hpp"

namespace lsn::control {
namespace {

/// As the file has it: in quotes, with escapes.
std::string string_literal(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

std::string number_text(std::int64_t value) {
  // A number that does not fit into 32 bits needs an L in libconfig.
  return fmt::format("{}{}", value, value > std::numeric_limits<std::int32_t>::max() ? "L" : "");
}

/// Writes the settings of one object that differ from those of a default-constructed one. It walks
/// through both at once: describe() of the defaults fills `defaults_`, in the same order.
class Writer {
 public:
  explicit Writer(unsigned depth) : indent_(2 * std::size_t{depth}, ' '), depth_(depth) {}

  template <class Object>
  static std::string write(const Object& object, unsigned depth) {
    Writer defaults(depth);
    const Object untouched{};
    describe(defaults, untouched);
    Writer writer(depth);
    writer.defaults_ = &defaults.settings_;
    describe(writer, object);
    return writer.result();
  }

  void name(const std::string& value, std::size_t) { put("name", string_literal(value), kAlways); }

  template <class Syntax, class Member>
  void text(std::string_view setting, const Member& value, Presence presence) {
    if constexpr (requires { value.has_value(); })
      put(setting, value ? string_literal(Syntax::format(*value)) : "",
          presence == Presence::kRequired);
    else
      put(setting, string_literal(Syntax::format(value)), presence == Presence::kRequired);
  }
  template <class Enum>
  void word(std::string_view setting, Enum value, Presence presence) {
    put(setting, string_literal(to_word(value)), presence == Presence::kRequired);
  }
  template <class Number>
  void number(std::string_view setting, const Number& value, Limits) {
    put(setting, number_text(count_of(value)), false);
  }
  void flag(std::string_view setting, bool value) { put(setting, value ? "true" : "false", false); }

  template <class Syntax>
  void texts(std::string_view setting, const std::vector<typename Syntax::Value>& list) {
    array(setting, list, [](const auto& value) { return string_literal(Syntax::format(value)); });
  }
  template <class Number>
  void numbers(std::string_view setting, const std::vector<Number>& list, Limits) {
    array(setting, list, [](const Number& value) { return number_text(count_of(value)); });
  }

  template <class Object>
  void section(std::string_view setting, const Object& object) {
    const std::string inner = write(object, depth_ + 1);
    put(setting, inner.empty() ? "" : fmt::format("{{\n{}{}}}", inner, indent_), false);
  }
  template <class Object>
  void objects(std::string_view setting, const std::vector<Object>& list) {
    std::string all;
    for (const Object& object : list)
      all += fmt::format("{}{}  {{\n{}{}  }}", all.empty() ? "" : ",\n", indent_,
                         write(object, depth_ + 2), indent_);
    put(setting, all.empty() ? "" : fmt::format("(\n{}\n{})", all, indent_), false);
  }

 private:
  static constexpr bool kAlways = true;

  struct Setting {
    std::string_view name;
    std::string value;  ///< empty: there is nothing to write
    bool always;
  };

  template <class Value, class Format>
  void array(std::string_view setting, const std::vector<Value>& list, Format format) {
    std::string all;
    for (const Value& value : list) all += (all.empty() ? " " : ", ") + format(value);
    // An empty array that is not the default has to be written.
    put(setting, fmt::format("[{} ]", all), false);
  }

  void put(std::string_view name, std::string value, bool always) {
    settings_.push_back({name, std::move(value), always});
  }

  [[nodiscard]] std::string result() const {
    std::string text;
    for (std::size_t i = 0; i < settings_.size(); ++i) {
      const Setting& s = settings_[i];
      if (s.value.empty() || (!s.always && s.value == (*defaults_)[i].value)) continue;
      text += fmt::format("{}{}{} {};\n", indent_, s.name, s.value[0] == '{' ? ":" : " =", s.value);
    }
    return text;
  }

  std::string indent_;
  unsigned depth_;
  std::vector<Setting> settings_;
  const std::vector<Setting>* defaults_ = nullptr;
};

}  // namespace

std::string render_config(const Model& model) {
  return Writer::write(model, 0);
}

}  // namespace lsn::control
