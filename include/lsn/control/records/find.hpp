// `lsnctl find`: who had a NAT address and port, or SPI, at a moment - from segments alone,
// offline.
//
//   all segments ─ index ─► blocks that may have the endpoint, or notes ─ several threads ─► their
//   lines ─ in the order of time ─► holders: from when until when ─► those of the interval
//
// A *holder* is a MAPPING, SESSION, ALG SESSION, BLOCK or (if no port and no SPI is asked for)
// BINDING from its beginning to its end. Where only the end is there, its duration says when it
// began. Of deterministic NAT it is a subscriber to whom a configuration gave the endpoint, as long
// as that was in force (computed_holders.hpp), and so is that of a static mapping
// (static_holders.hpp). An answer is no better than the records: a *doubt*
// says what is missing and what that means - records that were lost, segments that are not there, a
// restart, an end that is not recorded.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/command/grammar.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/records/record_line.hpp"
#include "lsn/shared/deterministic.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

struct FindQuestion {
  wire::Ipv4Address nat{};
  std::optional<std::uint16_t> port;
  std::optional<std::uint32_t> spi;
  std::string protocol;                            ///< empty: any
  std::optional<wire::Ipv4Address> destination{};  ///< nullopt: any
  std::int64_t from_ms = 0;
  std::int64_t until_ms = 0;

  /// It is about one endpoint, which one subscriber has at a time.
  [[nodiscard]] bool is_of_endpoint() const { return port || spi; }
  /// Only ALGSESSION records, and one-to-one mappings, say whose it was.
  [[nodiscard]] bool is_of_esp() const { return spi || same_word(protocol, "ESP"); }
  /// A time in whole seconds stands for all of its second.
  [[nodiscard]] bool is_one_second() const {
    return from_ms % 1000 == 0 && until_ms == from_ms + 999;
  }
};

struct Holder {
  std::string line;  ///< the record that it began with, or else its end
  std::string end_line;
  std::string subscriber;  ///< with its port, if it has one
  shared::DomainId td = 0;
  std::string group;                     ///< empty: of a static mapping
  std::string mapping;                   ///< the static mapping's name
  std::optional<std::int64_t> from_ms;   ///< nullopt: not known, before the records
  std::optional<std::int64_t> until_ms;  ///< nullopt: not known, or it lives
  std::string end;                       ///< why it ended, in a word
  /// The subscriber's ports, by the configuration; nullopt: a record says that it had the endpoint.
  std::optional<shared::PortBlock> computed{};
};

struct FindAnswer {
  std::vector<Holder> holders;
  std::vector<std::string> doubts;
  std::vector<std::string> remarks;  ///< that are certain
  std::uint64_t segments = 0;
  std::uint64_t records = 0;      ///< in all segments
  std::uint64_t blocks = 0;       ///< in all segments
  std::uint64_t blocks_read = 0;  ///< of these
};

/// The segments of `files`: each a segment, or a sink's path (records.file.path) that stands for
/// all of its segments. Error: one line: none is there, or one cannot be read.
[[nodiscard]] std::expected<FindAnswer, std::string> find_holders(
    const FindQuestion& question, const std::vector<std::string>& files);

/// The answer for people, or as one JSON document.
[[nodiscard]] std::string to_text(const FindQuestion& question, const FindAnswer& answer,
                                  Format format);

}  // namespace lsn::control
