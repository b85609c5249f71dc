#include "lsn/control/config/raw.hpp"

#include <fmt/format.h>

#include <libconfig.h++>

#include "lsn/control/config/source_text.hpp"

namespace lsn::control {
namespace {

RawValue::Kind kind_of(const libconfig::Setting& setting) {
  switch (setting.getType()) {
    case libconfig::Setting::TypeInt:
    case libconfig::Setting::TypeInt64:
      return RawValue::Kind::kNumber;
    case libconfig::Setting::TypeFloat:
      return RawValue::Kind::kReal;
    case libconfig::Setting::TypeString:
      return RawValue::Kind::kText;
    case libconfig::Setting::TypeBoolean:
      return RawValue::Kind::kFlag;
    case libconfig::Setting::TypeArray:
      return RawValue::Kind::kArray;
    case libconfig::Setting::TypeList:
      return RawValue::Kind::kList;
    default:
      return RawValue::Kind::kGroup;
  }
}

RawValue copy(const libconfig::Setting& setting, const SourceText& source) {
  RawValue value;
  value.kind = kind_of(setting);
  value.place = source.place_of_line(setting.getSourceLine());
  if (setting.getName() != nullptr) value.name = setting.getName();
  switch (value.kind) {
    case RawValue::Kind::kNumber:
      value.number = static_cast<long long>(setting);
      break;
    case RawValue::Kind::kReal:
      value.real = static_cast<double>(setting);
      break;
    case RawValue::Kind::kFlag:
      value.number = static_cast<bool>(setting) ? 1 : 0;
      break;
    case RawValue::Kind::kText:
      value.text = static_cast<const char*>(setting);
      break;
    default:
      value.children.reserve(static_cast<std::size_t>(setting.getLength()));
      for (int i = 0; i < setting.getLength(); ++i)
        value.children.push_back(copy(setting[i], source));
  }
  return value;
}

std::expected<RawConfig, Problem> parse(std::expected<SourceText, Problem> source) {
  if (!source) return std::unexpected(source.error());
  try {
    libconfig::Config config;
    config.readString(source->text);
    RawConfig raw{std::move(source->files), copy(config.getRoot(), *source)};
    raw.root.place = {0, 1};
    return raw;
  } catch (const libconfig::ParseException& error) {
    const Place place =
        source->place_of_line(error.getLine() < 1 ? 1 : static_cast<unsigned>(error.getLine()));
    return std::unexpected(Problem{source->files[place.file], place.line, error.getError()});
  } catch (const libconfig::ConfigException& error) {
    return std::unexpected(Problem{source->files[0], 1, error.what()});
  }
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
