#include "lsn/control/config/flatten.hpp"

#include <fmt/format.h>

#include <initializer_list>
#include <type_traits>
#include <utility>

#include "lsn/control/config/describe.hpp"

namespace lsn::control {
namespace {

class Flattener {
 public:
  Flattener(std::string path, std::string label, ObjectsBy by, std::vector<FlatSetting>& out)
      : path_(std::move(path)), label_(std::move(label)), by_(by), out_(out) {}

  void name(const std::string& value, std::size_t) { put("name", value); }

  template <class Syntax, class Member>
  void text(std::string_view setting, const Member& value, Presence) {
    if constexpr (requires { value.has_value(); })
      put(setting, value ? Syntax::format(*value) : "");
    else
      put(setting, Syntax::format(value));
  }
  template <class Enum>
  void word(std::string_view setting, Enum value, Presence) {
    put(setting, std::string(to_word(value)));
  }
  template <class Number>
  void number(std::string_view setting, const Number& value, Limits) {
    put(setting, fmt::format("{}", count_of(value)));
  }
  void flag(std::string_view setting, bool value) { put(setting, value ? "true" : "false"); }

  template <class Syntax>
  void texts(std::string_view setting, const std::vector<typename Syntax::Value>& list) {
    for (std::size_t i = 0; i < list.size(); ++i)
      out_.push_back({element(setting, i), label_of(setting), Syntax::format(list[i])});
  }
  template <class Number>
  void numbers(std::string_view setting, const std::vector<Number>& list, Limits) {
    for (std::size_t i = 0; i < list.size(); ++i)
      out_.push_back({element(setting, i), label_of(setting), fmt::format("{}", list[i])});
  }

  template <class Object>
  void section(std::string_view setting, const Object& object) {
    Flattener inner(at(setting), label_of(setting), by_, out_);
    describe(inner, object);
  }
  template <class Object>
  void objects(std::string_view setting, const std::vector<Object>& list) {
    if constexpr (std::is_same_v<Object, StaticConfig>) return;
    for (std::size_t i = 0; i < list.size(); ++i) {
      std::string called = fmt::format("{}", i + 1);
      if constexpr (requires { list[i].name; }) called = list[i].name;
      Flattener inner(by_ == ObjectsBy::kName ? fmt::format("{}[{}]", at(setting), called)
                                              : element(setting, i),
                      fmt::format("{} {}", kind_of_objects(setting), called), by_, out_);
      describe(inner, list[i]);
    }
  }

 private:
  [[nodiscard]] std::string at(std::string_view setting) const {
    return path_.empty() ? std::string(setting) : fmt::format("{}.{}", path_, setting);
  }
  [[nodiscard]] std::string element(std::string_view setting, std::size_t i) const {
    return fmt::format("{}[{}]", at(setting), i);
  }
  [[nodiscard]] std::string label_of(std::string_view setting) const {
    return label_.empty() ? std::string(setting) : fmt::format("{}: {}", label_, setting);
  }
  void put(std::string_view setting, std::string value) {
    out_.push_back({at(setting), label_of(setting), std::move(value)});
  }

  std::string path_;
  std::string label_;
  ObjectsBy by_;
  std::vector<FlatSetting>& out_;
};

}  // namespace

std::vector<FlatSetting> flatten(const Model& model, ObjectsBy by) {
  std::vector<FlatSetting> settings;
  Flattener flattener("", "", by, settings);
  describe(flattener, model);
  return settings;
}

std::string without_indexes(std::string_view path) {
  std::string result;
  unsigned depth = 0;
  for (const char c : path) {
    if (c == ']') --depth;
    if (depth == 0 && c != '[' && c != ']') result += c;
    if (c == '[') ++depth;
  }
  return result;
}

}  // namespace lsn::control
