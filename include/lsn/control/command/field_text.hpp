// How fields of lists are written, and how wide they get.
#pragma once

#include <fmt/format.h>

#include <cctype>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

/// "255.255.255.255"
inline constexpr std::size_t kAddressWidth = 15;
/// "255.255.255.255:0xffffffff"
inline constexpr std::size_t kEndpointWidth = 26;

[[nodiscard]] inline std::string endpoint(wire::Ipv4Address address, std::uint16_t port) {
  return fmt::format("{}:{}", wire::to_string(address), port);
}

/// "10.0.0.5", "10.0.0.5 td 7"
[[nodiscard]] inline std::string to_text(const shared::InsideAddress& inside) {
  return wire::to_string(inside.address) + td_text(inside.td);
}
/// A subscriber's traffic domain as a field of JSON, if it is not 0: `,"td":7`.
[[nodiscard]] inline std::string json_td(shared::DomainId td) {
  return td == 0 ? std::string() : fmt::format(",\"td\":{}", td);
}
inline void put_td(nlohmann::ordered_json& json, shared::DomainId td) {
  if (td != 0) json["td"] = td;
}

/// In one line; bytes that are no UTF-8 are replaced.
[[nodiscard]] inline std::string line_of(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}
/// One JSON document.
[[nodiscard]] inline std::string document(const nlohmann::ordered_json& json) {
  return line_of(json) + '\n';
}

/// The subscriber's group and client: null if the group is not known.
inline void put_group(nlohmann::ordered_json& json, const shared::Group* group) {
  using Json = nlohmann::ordered_json;
  json["client"] = group == nullptr ? Json() : Json(group->client);
  json["group"] = group == nullptr ? Json() : Json(group->name);
}

/// As a key of JSON.
[[nodiscard]] inline std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

/// "203.0.113.3:1024-1279"
[[nodiscard]] inline std::string range_text(const shared::PortBlock& block) {
  return fmt::format("{}:{}-{}", wire::to_string(block.nat_ip), block.first, block.last);
}

}  // namespace lsn::control
