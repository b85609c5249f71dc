// A record as sinks get it: what a worker wrote, with its time in UTC, its whole number and names.
//
// The log thread (log_thread.hpp) makes batches of them; a batch is never changed again and shared
// by all sinks. Records of the control side - CONFIG, ALERT, LOST - have no worker; those with
// words have them in the batch's `texts`. Names of groups and of the box are the batch's: a record
// has a group's number.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/shared/log_record.hpp"

namespace lsn::control {

/// Of a record: none of the workers wrote it.
inline constexpr std::uint8_t kNoWorker = 0xFF;
inline constexpr std::uint32_t kNoText = 0xFFFFFFFF;

struct Record {
  shared::LogRecord raw{};  ///< its `sequence` and `at` are here as:
  std::uint64_t sequence = 0;
  std::int64_t at_ms = 0;    ///< since 1970
  std::int64_t from_ms = 0;  ///< of LOST: the earliest moment of what is lost; the latest is at_ms
  std::uint8_t worker = kNoWorker;
  shared::LogKind lost_kind = shared::LogKind::kLost;  ///< of LOST: kLost: of all kinds
  std::uint32_t text = kNoText;                        ///< index in RecordBatch::texts

  [[nodiscard]] bool is(shared::LogKind kind) const { return raw.kind == kind; }
};

/// The names and switches that records refer to.
struct RecordNames {
  struct Group {
    std::string name;
    std::string client;
    bool subscriber_info = false;  ///< logSubscrInfo
    bool compact = false;          ///< logCompact
    bool ipfix = false;            ///< logIpfix
    std::uint32_t alerts = 100;    ///< snmptraplimit: of each kind per minute
  };

  std::string node;
  std::vector<Group> groups;  ///< by stable id; one that is gone as it was

  /// `before`: the names until now, or nullptr.
  [[nodiscard]] static std::shared_ptr<const RecordNames> of(const Model& model,
                                                             const shared::Generation& generation,
                                                             const RecordNames* before);
  /// nullptr: the record is of no group that there is.
  [[nodiscard]] const Group* group(const Record& record) const {
    return record.raw.group < groups.size() ? &groups[record.raw.group] : nullptr;
  }
};

struct RecordBatch {
  std::vector<Record> records;
  std::vector<std::string> texts;
  std::shared_ptr<const RecordNames> names;

  [[nodiscard]] std::string_view text(const Record& record) const {
    return record.text < texts.size() ? std::string_view(texts[record.text]) : std::string_view();
  }
  /// Adds one with words.
  void add(const Record& record, std::string words);
};

/// The end of the year 2261: no record is later. In nanoseconds, as std::chrono's system clock
/// counts, 64 bits reach a year more.
inline constexpr std::int64_t kLatestMs = 9'214'646'399'999;

/// "2026-12-01T00:31:29.120Z" of milliseconds since 1970.
[[nodiscard]] std::string utc_text(std::int64_t ms);

/// Whether workers write such records.
[[nodiscard]] constexpr bool is_of_workers(shared::LogKind kind) {
  return kind != shared::LogKind::kConfig && kind != shared::LogKind::kLost;
}

/// The words of records, in every sink.
[[nodiscard]] std::string_view to_word(shared::LogKind kind);
/// "created", "deleted", "completed"; of blocks "allocated", "freed"; of alerts "raised",
/// "cleared"; of CONFIG "started", "stopped", "changed".
[[nodiscard]] std::string_view event_word(shared::LogKind kind, shared::LogEvent event);
[[nodiscard]] std::string_view to_word(shared::LogReason reason);
[[nodiscard]] std::string_view to_word(shared::LogAlert alert);

/// LOST: so many records of a kind (kLost: of all kinds) and a worker (kNoWorker: of all), from a
/// moment until another.
struct Loss {
  std::uint64_t records = 0;
  std::int64_t from_ms = 0;
  std::int64_t until_ms = 0;

  void add(std::uint64_t more, std::int64_t from, std::int64_t until);
};
[[nodiscard]] Record lost_record(const Loss& loss, std::uint8_t worker, shared::LogKind kind,
                                 std::uint64_t sequence);

}  // namespace lsn::control
