#include "lsn/control/config/raw.hpp"

#include <fmt/format.h>
#include <libconfig.h>

#include <algorithm>
#include <utility>

#include "lsn/control/config/source_text.hpp"

namespace lsn::control {
namespace {

// The C interface: that of C++ makes an object of its own of every setting that it is asked for,
// which is a third of the time that a million static mappings take.

RawValue::Kind kind_of(const config_setting_t& setting) {
  switch (config_setting_type(&setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
      return RawValue::Kind::kNumber;
    case CONFIG_TYPE_FLOAT:
      return RawValue::Kind::kReal;
    case CONFIG_TYPE_STRING:
      return RawValue::Kind::kText;
    case CONFIG_TYPE_BOOL:
      return RawValue::Kind::kFlag;
    case CONFIG_TYPE_ARRAY:
      return RawValue::Kind::kArray;
    case CONFIG_TYPE_LIST:
      return RawValue::Kind::kList;
    default:
      return RawValue::Kind::kGroup;
  }
}

void copy(const config_setting_t& setting, const SourceText& source, RawValue& value) {
  value.kind = kind_of(setting);
  value.place = source.place_of_line(config_setting_source_line(&setting));
  if (const char* const name = config_setting_name(&setting)) value.name = name;
  switch (value.kind) {
    case RawValue::Kind::kNumber:
      value.number = config_setting_get_int64(&setting);
      break;
    case RawValue::Kind::kReal:
      value.real = config_setting_get_float(&setting);
      break;
    case RawValue::Kind::kFlag:
      value.number = config_setting_get_bool(&setting);
      break;
    case RawValue::Kind::kText:
      value.text = config_setting_get_string(&setting);
      break;
    default:
      value.children.resize(static_cast<std::size_t>(config_setting_length(&setting)));
      for (std::size_t i = 0; i < value.children.size(); ++i)
        copy(*config_setting_get_elem(&setting, static_cast<unsigned>(i)), source,
             value.children[i]);
  }
}

class Parsed {
 public:
  explicit Parsed(const std::string& text) {
    config_init(&config_);
    is_good_ = config_read_string(&config_, text.c_str()) == CONFIG_TRUE;
  }
  ~Parsed() { config_destroy(&config_); }
  Parsed(const Parsed&) = delete;
  Parsed& operator=(const Parsed&) = delete;

  [[nodiscard]] bool is_good() const { return is_good_; }
  [[nodiscard]] const config_setting_t& root() const { return *config_root_setting(&config_); }
  [[nodiscard]] std::string error() const { return config_error_text(&config_); }
  [[nodiscard]] unsigned error_line() const {
    return static_cast<unsigned>(std::max(config_error_line(&config_), 1));
  }

 private:
  config_t config_;
  bool is_good_ = false;
};

std::expected<RawConfig, Problem> parse(std::expected<SourceText, Problem> source) {
  if (!source) return std::unexpected(source.error());
  const Parsed parsed(source->text);
  if (!parsed.is_good()) {
    const Place place = source->place_of_line(parsed.error_line());
    return std::unexpected(Problem{source->files[place.file], place.line, parsed.error()});
  }
  RawConfig raw;
  copy(parsed.root(), *source, raw.root);
  raw.files = std::move(source->files);
  raw.root.place = {0, 1};
  return raw;
}

}  // namespace

const RawValue* RawValue::find(std::string_view setting) const {
  for (const RawValue& child : children)
    if (child.name == setting) return &child;
  return nullptr;
}

std::string to_string(const RawValue& value) {
  switch (value.kind) {
    case RawValue::Kind::kNumber:
      return fmt::format("{}", value.number);
    case RawValue::Kind::kReal:
      return fmt::format("{}", value.real);
    case RawValue::Kind::kText:
      return fmt::format("\"{}\"", value.text);
    case RawValue::Kind::kFlag:
      return value.number != 0 ? "true" : "false";
    case RawValue::Kind::kArray:
      return "an array [ ]";
    case RawValue::Kind::kList:
      return "a list ( )";
    case RawValue::Kind::kGroup:
      return "a group { }";
  }
  return "?";
}

std::expected<RawConfig, Problem> read_raw(const std::string& path) {
  return parse(read_source(path));
}

std::expected<RawConfig, Problem> read_raw_text(std::string_view text, const std::string& name) {
  return parse(read_source_text(text, name));
}

}  // namespace lsn::control
