// As long as CONFIG records say that something was in force: what the holders that follow from a
// configuration are made of (computed_holders.hpp, static_holders.hpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lsn/control/records/config_note.hpp"
#include "lsn/control/records/find.hpp"
#include "lsn/control/records/record_line.hpp"

namespace lsn::control {

struct ConfigPeriod {
  std::string node;
  std::string text;                     ///< of the note that says it
  std::string line;                     ///< the first record that does
  std::optional<std::int64_t> from_ms;  ///< nullopt: before known_ms, not known when
  std::int64_t known_ms = 0;            ///< the first record that says it
  std::int64_t confirmed_ms = 0;        ///< the last one that does, until the question's time
  std::optional<std::int64_t> until_ms{};
  std::string end{};
  std::string end_line{};

  ConfigPeriod(const RecordLine& record, const ConfigNote& note)
      : node(record.node),
        text(note.text),
        line(record.line),
        from_ms(record.at_ms),
        known_ms(record.at_ms),
        confirmed_ms(record.at_ms) {}

  /// A later record says the same.
  void confirm(const FindQuestion& q, std::int64_t at_ms) {
    if (at_ms <= q.from_ms) confirmed_ms = std::max(confirmed_ms, at_ms);
  }
  void close(const RecordLine& record, std::string_view why) {
    until_ms = record.at_ms;
    end = why;
    end_line = record.line;
  }
  /// It is known to have been in force all the time that is asked for.
  [[nodiscard]] bool spans(const FindQuestion& q) const {
    return known_ms <= q.from_ms && (!until_ms || *until_ms > q.until_ms);
  }
  /// Some of that time is in it, if it began then.
  [[nodiscard]] bool meets(const FindQuestion& q, std::int64_t begin_ms) const {
    return begin_ms <= q.until_ms && (!until_ms || *until_ms > q.from_ms);
  }
  /// Without who it is.
  [[nodiscard]] Holder holder() const {
    Holder holder;
    holder.line = line;
    holder.from_ms = from_ms;
    holder.until_ms = until_ms;
    holder.end = end;
    holder.end_line = end_line;
    return holder;
  }
};

/// Closes those of a node that are open: lsnd began or ended. `open`: indices by name.
template <class Period>
void close_all(std::vector<Period>& periods, std::unordered_map<std::string, std::size_t>& open,
               const RecordLine& record, std::string_view why) {
  std::erase_if(open, [&](const auto& entry) {
    if (periods[entry.second].node != record.node) return false;
    periods[entry.second].close(record, why);
    return true;
  });
}

}  // namespace lsn::control
