// The records of a worker: who got which NAT address and port, when, and until when.
//
// A LogRecord is plain data of two cache lines: the first one is all that a creation has, the
// second one (LogTotals) belongs to ends and alerts. The worker writes it in place into a ring of
// its own (LogRing), a log thread takes it out; no lock, no call, no waiting. A record that finds
// the ring full is lost: its sequence number is used up, and it is counted by kind. So a reader of
// the records sees a gap in the numbers of that worker and kind, as large as the loss.
//
// Time: the worker's tick, 10 ms. The log thread makes UTC of it.
//
// The ring holds 131,072 records (16 MB of a worker's memory, touched as they are used): at a
// million records per second from one worker the log thread may stand still for 130 ms. It sleeps
// 5 ms at most, waits for no sink, and shares its CPUs with the control thread only, so that its
// pauses are those of the scheduler: some ten milliseconds on a busy machine.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lsn/shared/counters.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/enum_array.hpp"
#include "lsn/state/memory.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/wire/big_endian.hpp"
#include "lsn/wire/ike.hpp"

namespace lsn::shared {

enum class LogKind : std::uint8_t {
  kMapping,     ///< a NAT endpoint of a subscriber's endpoint
  kSession,     ///< a flow pair
  kAlgSession,  ///< of ESP
  kBlock,       ///< a range of ports of a NAT address
  kBinding,     ///< PAIRED pooling: a NAT address
  kAlert,
  kConfig,  ///< of the control thread, as kLost; no worker writes it
  kLost,
};
inline constexpr std::size_t kLogKinds = 8;

template <class T>
using ByLogKind = state::EnumArray<LogKind, T, kLogKinds>;

enum class LogEvent : std::uint8_t {
  kCreated,    ///< of a block: allocated; of an alert: raised
  kDeleted,    ///< of a block: freed; of an alert: cleared
  kCompleted,  ///< of an ALG session: the SPI that it lacked is known
};

/// Why a session ended.
enum class LogReason : std::uint8_t {
  kNone,
  kIdle,
  kFin,
  kRst,
  kFlush,
  kReload,
  kReuse,
  kWithdrawn
};

/// What an alert is about.
enum class LogAlert : std::uint8_t {
  kPortAllocation,  ///< no NAT port was left
  kPortQuota,
  kSessionQuota,
  kGroupLimit,
  kPoolUsage,
  kTableUsage,
  kGatesBlocked,
  kStandbyLost,
  kLinkDown,
  kRecordsLost,
  kNeighbourUnreachable,
};
inline constexpr std::size_t kLogAlerts = 11;

/// The part of ends and alerts.
struct LogTotals {
  ByDirection<std::uint64_t> packets;
  ByDirection<std::uint64_t> bytes;
  std::uint64_t count;  ///< of an alert: the refusals since the last one
  state::TickDuration duration;
  std::uint32_t padding[5];
};

struct alignas(64) LogRecord {
  std::uint32_t sequence;  ///< of this worker and kind
  state::Ticks at;
  LogKind kind;
  LogEvent event;
  Protocol protocol;  ///< of a block or a binding: none
  LogReason reason;
  std::uint16_t group;  ///< stable id
  std::uint16_t td;     ///< traffic domain of the subscriber
  wire::Be32 subscriber;
  wire::Be32 nat_ip;  ///< zero: none
  wire::Be32 remote_ip;
  wire::Be16 subscriber_port;
  wire::Be16 nat_port;  ///< of a block: its first one
  wire::Be16 remote_port;
  wire::Be16 last_port;  ///< of a block
  Dependence mapping;    ///< how much of the remote side belongs to a mapping
  LogAlert alert;
  std::uint16_t padding;
  wire::Be32 spi_out;  ///< of ESP; zero: not known
  wire::Be32 spi_in;
  wire::IkeSpi initiator;  ///< of the exchange that an ESP session came from; zero: not known
  wire::IkeSpi responder;

  LogTotals totals;

  /// Whether LogTotals belong to it.
  [[nodiscard]] static constexpr bool has_totals(LogKind kind, LogEvent event) {
    return event == LogEvent::kDeleted || kind == LogKind::kAlert;
  }
};
static_assert(sizeof(LogRecord) == 128 && offsetof(LogRecord, totals) == 64);

class LogRing {
 public:
  static constexpr std::uint32_t kCapacity = 131072;

  /// `capacity`: a power of two.
  LogRing(std::uint32_t capacity, state::ZeroedMemory* memory) : slots_(capacity, memory) {}

  // ── the worker ────────────────────────────────────────────────────────────────────────────────

  /// The place of the next record of that kind, with nothing in it but its number, kind and event;
  /// nullptr: the ring is full, and the record is lost.
  [[nodiscard]] LogRecord* begin(LogKind kind, LogEvent event) {
    const std::uint32_t number = sequences_[kind]++;
    const std::uint32_t end = end_.load(std::memory_order_relaxed);
    if (end - known_begin_ == capacity()) [[unlikely]] {
      known_begin_ = begin_.load(std::memory_order_acquire);
      if (end - known_begin_ == capacity()) {
        lost_[kind].add();
        return nullptr;
      }
    }
    LogRecord& record = slot(end);
    LogTotals* const totals = LogRecord::has_totals(kind, event) ? &record.totals : nullptr;
    clear_head(record);
    if (totals != nullptr) *totals = LogTotals{};
    record.sequence = number;
    record.kind = kind;
    record.event = event;
    return &record;
  }
  /// The record that was begun is complete.
  void commit() {
    const std::uint32_t next = end_.load(std::memory_order_relaxed) + 1;
    end_.store(next, std::memory_order_release);
    __builtin_prefetch(&slot(next), 1);
  }

  // ── the log thread ────────────────────────────────────────────────────────────────────────────

  /// Gives up to `most` records to `see(record)`, oldest first; then their places are free. How
  /// many they were.
  template <class See>
  std::size_t take(std::size_t most, See&& see) {
    const std::uint32_t begin = begin_.load(std::memory_order_relaxed);
    const std::uint32_t there = end_.load(std::memory_order_acquire) - begin;
    const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(there, most));
    for (std::uint32_t i = 0; i < n; ++i) {
      __builtin_prefetch(&slot(begin + i + 4));
      see(static_cast<const LogRecord&>(slot(begin + i)));
    }
    begin_.store(begin + n, std::memory_order_release);
    return n;
  }

  // ── any thread ────────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] std::uint64_t lost(LogKind kind) const { return lost_[kind].get(); }
  [[nodiscard]] std::uint64_t lost() const {
    std::uint64_t sum = 0;
    for (const Counter& of_kind : lost_) sum += of_kind.get();
    return sum;
  }
  [[nodiscard]] std::uint32_t capacity() const {
    return static_cast<std::uint32_t>(slots_.capacity());
  }

 private:
  [[nodiscard]] LogRecord& slot(std::uint32_t position) {
    return slots_[position & (capacity() - 1)];
  }
  /// The first line only: the second one costs a line more.
  static void clear_head(LogRecord& record) {
    __builtin_memset(static_cast<void*>(&record), 0, offsetof(LogRecord, totals));
  }

  state::ParallelArray<LogRecord> slots_;
  // The worker's.
  alignas(64) std::atomic<std::uint32_t> end_{0};
  std::uint32_t known_begin_ = 0;  ///< as it was when the ring was full last
  ByLogKind<std::uint32_t> sequences_{};
  ByLogKind<Counter> lost_{};
  // The log thread's.
  alignas(64) std::atomic<std::uint32_t> begin_{0};
};

/// Bits of Group::logging; without any the packet path writes no record for the group.
struct LogFlags {
  static constexpr std::uint8_t kMappings = 0x01;
  static constexpr std::uint8_t kBlocks = 0x02;    ///< where pools give out blocks of ports
  static constexpr std::uint8_t kBindings = 0x04;  ///< of PAIRED pooling
  static constexpr std::uint8_t kSessions = 0x08;
  static constexpr std::uint8_t kDeletions = 0x10;  ///< ends are recorded, too
  /// MAPPING records of static mappings' sessions: no block and no computation tells whose they
  /// are.
  static constexpr std::uint8_t kStatics = 0x20;
};

}  // namespace lsn::shared
