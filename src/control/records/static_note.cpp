#include "lsn/control/records/static_note.hpp"

#include <fmt/format.h>

#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

constexpr std::string_view kProtocol = "transportprotocol", kSubscrIp = "subscrIP",
                           kSubscrPort = "subscrPort", kNatIp = "natIP", kNatPort = "natPort",
                           kDestIp = "destIP", kTd = "td";
constexpr std::string_view kEach = "a record each", kTooMany = ", too many for a record each";

/// Collects a mapping, setting by setting.
class StaticReader {
 public:
  void take(std::string_view setting, std::string_view value) {
    if (setting == kProtocol)
      set(mapping_.transportprotocol, parse_word<shared::StaticScope>(value), kHasProtocol);
    else if (setting == kSubscrIp)
      set(mapping_.subscr_ip, wire::parse_ipv4(value), kHasSubscrIp);
    else if (setting == kSubscrPort)
      set(mapping_.subscr_port, StaticPortSyntax::parse(value), kHasSubscrPort);
    else if (setting == kNatIp)
      set(mapping_.nat_ip, wire::parse_ipv4(value), kHasNatIp);
    else if (setting == kNatPort)
      set(mapping_.nat_port, StaticPortSyntax::parse(value), kHasNatPort);
    else if (setting == kDestIp)
      set(mapping_.dest_ip, wire::parse_ipv4(value), 0);
    else if (setting == kTd)
      set(mapping_.td, parse_number(value, shared::kLastDomain), 0);
  }

  [[nodiscard]] std::optional<StaticConfig> mapping() && {
    if (!is_sound_ || has_ != kHasAll) return std::nullopt;
    return std::move(mapping_);
  }

 private:
  static constexpr unsigned kHasProtocol = 1, kHasSubscrIp = 2, kHasSubscrPort = 4, kHasNatIp = 8,
                            kHasNatPort = 16, kHasAll = 31;

  template <class To, class From>
  void set(To& to, const std::optional<From>& from, unsigned has) {
    is_sound_ = is_sound_ && from.has_value();
    if (from) to = static_cast<To>(*from);
    has_ |= has;
  }

  StaticConfig mapping_;
  unsigned has_ = 0;
  bool is_sound_ = true;
};

}  // namespace

std::string static_subject(std::string_view name) {
  return fmt::format("{}{}", kStaticSubject, name);
}

std::string static_settings(const StaticConfig& mapping) {
  std::string settings;
  add_setting(settings, kProtocol, to_word(mapping.transportprotocol));
  add_setting(settings, kSubscrIp, wire::to_string(mapping.subscr_ip));
  add_setting(settings, kSubscrPort, StaticPortSyntax::format(mapping.subscr_port));
  if (mapping.nat_ip) add_setting(settings, kNatIp, wire::to_string(*mapping.nat_ip));
  if (mapping.nat_port)
    add_setting(settings, kNatPort, StaticPortSyntax::format(*mapping.nat_port));
  if (mapping.dest_ip) add_setting(settings, kDestIp, wire::to_string(*mapping.dest_ip));
  if (mapping.td != 0) add_setting(settings, kTd, fmt::format("{}", mapping.td));
  return settings;
}

std::string all_statics_settings(std::size_t count) {
  if (count <= kMostStaticNotes) return std::string(kEach);
  return fmt::format("{}{}", count, kTooMany);
}

std::string_view too_many_statics(const ConfigNote& note) {
  if (note.subject != kAllStatics || !note.settings.ends_with(kTooMany)) return {};
  return note.settings.substr(0, note.settings.size() - kTooMany.size());
}

std::optional<StaticConfig> static_of(const ConfigNote& note) {
  const auto name = note.name_of(kStaticSubject);
  if (!name || !note.has_settings) return std::nullopt;
  StaticReader reader;
  note.each_setting(
      [&reader](std::string_view setting, std::string_view value) { reader.take(setting, value); });
  auto mapping = std::move(reader).mapping();
  if (mapping) mapping->name = *name;
  return mapping;
}

}  // namespace lsn::control
