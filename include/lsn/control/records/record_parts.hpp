// What the writers of records have in common: what a record has, and numbers as digits.
//
// LineWriter (files), SyslogWriter and IpfixWriter ask here which of the fields of a LogRecord mean
// anything. Digits are made by hand: a million records per second go through here.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lsn/control/records/record.hpp"

namespace lsn::control {

[[nodiscard]] inline bool is_flow(const shared::LogRecord& r) {
  return r.kind == shared::LogKind::kMapping || r.kind == shared::LogKind::kSession;
}
[[nodiscard]] inline bool is_of_subscriber(const shared::LogRecord& r) {
  return is_flow(r) || r.kind == shared::LogKind::kAlgSession ||
         r.kind == shared::LogKind::kBlock || r.kind == shared::LogKind::kBinding;
}
[[nodiscard]] inline bool has_destination(const shared::LogRecord& r) {
  return r.kind == shared::LogKind::kAlgSession ||
         (is_flow(r) && r.mapping != shared::Dependence::kEndpointIndependent);
}
[[nodiscard]] inline bool has_destination_port(const shared::LogRecord& r) {
  return is_flow(r) && r.mapping == shared::Dependence::kAddressPort;
}
/// A mapping by itself (mapping.hpp) counts no traffic.
[[nodiscard]] inline bool has_traffic(const shared::LogRecord& r) {
  return r.event == shared::LogEvent::kDeleted && r.reason != shared::LogReason::kNone &&
         (is_flow(r) || r.kind == shared::LogKind::kAlgSession);
}
[[nodiscard]] inline std::uint64_t duration_ms(const shared::LogRecord& r) {
  return std::uint64_t{r.totals.duration.count()} * 10;
}

/// The group that a record names; nullptr: none.
[[nodiscard]] inline const RecordNames::Group* group_of(const RecordBatch& batch,
                                                        const Record& record) {
  const bool names_one = is_of_subscriber(record.raw) || record.is(shared::LogKind::kAlert);
  return names_one && record.raw.group != shared::kNoId ? batch.names->group(record) : nullptr;
}
/// Whether its text is the short form (logCompact).
[[nodiscard]] inline bool is_compact(const RecordBatch& batch, const Record& record) {
  const RecordNames::Group* const group = group_of(batch, record);
  return group != nullptr && group->compact && is_of_subscriber(record.raw);
}

inline void put(std::string& out, std::string_view text) {
  out.append(text);
}
inline void put(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.begin(), digits.end(), number).ptr;
  out.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}
inline void put(std::string& out, wire::Be32 address) {
  const std::uint32_t value = address.host();
  put(out, std::uint64_t{value >> 24});
  for (const unsigned shift : {16u, 8u, 0u}) {
    out += '.';
    put(out, std::uint64_t{(value >> shift) & 0xFF});
  }
}
inline void put(std::string& out, wire::Be32 address, wire::Be16 port) {
  put(out, address);
  out += ':';
  put(out, std::uint64_t{port.host()});
}
inline void put_hex(std::string& out, std::uint64_t number, unsigned digits) {
  put(out, "0x");
  while (digits-- != 0) out += "0123456789abcdef"[(number >> (4 * digits)) & 0xF];
}

}  // namespace lsn::control
