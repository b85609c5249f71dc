// A line of a file sink, read again: the opposite of line_writer.hpp.
//
// It takes the three forms (text, compact text, JSON) and nothing else: a line that is none of
// them, or has a value that cannot be, is no record. What it does not know of a record of a later
// version it passes over. The bytes may come from anywhere.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "lsn/control/records/segment_index.hpp"
#include "lsn/shared/log_record.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

/// Its words are parts of the line, and live as long.
struct RecordLine {
  std::string_view line;  ///< whole, without the newline
  std::int64_t at_ms = 0;
  std::string_view node;
  std::optional<unsigned> worker;
  shared::LogKind kind = shared::LogKind::kLost;
  shared::LogEvent event = shared::LogEvent::kCreated;
  std::uint64_t sequence = 0;
  std::string_view group;
  std::string_view client;
  std::string_view protocol;
  std::uint32_t td = 0;
  wire::Ipv4Address subscriber{};
  std::optional<std::uint16_t> subscriber_port;
  wire::Ipv4Address nat{};
  std::optional<std::uint16_t> nat_port;
  std::uint16_t first_port = 0;  ///< of a block
  std::uint16_t last_port = 0;
  std::optional<wire::Ipv4Address> destination;
  std::optional<std::uint16_t> destination_port;
  std::uint32_t spi_out = 0;  ///< 0: not known
  std::uint32_t spi_in = 0;
  std::optional<std::uint64_t> duration_ms;  ///< of an end
  std::string_view reason;
  std::string_view text;  ///< CONFIG, ALERT
  // LOST
  std::uint64_t lost = 0;
  std::string_view lost_kind;
  std::int64_t lost_from_ms = 0;

  [[nodiscard]] static std::optional<RecordLine> parse(std::string_view line);

  [[nodiscard]] bool is_note() const {
    return kind == shared::LogKind::kConfig || kind == shared::LogKind::kLost;
  }
};

/// "2026-12-01T00:31:29.120Z", with or without the decimals; "+01:00" for Z is taken as well.
[[nodiscard]] std::optional<std::int64_t> parse_utc(std::string_view text);

/// The keys by which an index finds a record (segment_index.hpp): up to four.
struct KeysOfRecord {
  std::array<SegmentKey, 4> keys{};
  std::size_t count = 0;

  void add(SegmentKey key) { keys[count++] = key; }
  [[nodiscard]] std::span<const SegmentKey> all() const { return {keys.data(), count}; }
};
/// Of a CONFIG record's words.
[[nodiscard]] IndexedLine::Says said_by(std::string_view text);
[[nodiscard]] IndexedLine indexed(const RecordLine& line);
[[nodiscard]] KeysOfRecord keys_of(const RecordLine& line);
[[nodiscard]] KeysOfRecord keys_of(const shared::LogRecord& record);

}  // namespace lsn::control
