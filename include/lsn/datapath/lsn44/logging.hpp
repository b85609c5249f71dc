// The records that LSN44 writes: each function puts one into the shard's ring (shared/log_record).
//
// A group without logging pays one test (is_logged()). With it a creation writes one cache line, an
// end two; a session that is its own mapping is in a MAPPING and, if sessions are logged, in a
// SESSION record. Every created thing is deleted once, in the records as in the tables: also a
// session that is withdrawn because its first packet could not be sent on (reason withdrawn).
//
// A thing that a reload finds is in the records of the group that its subscriber belongs to when
// the record is written. What has a beginning has an end there, also if the group's records are of
// another kind since (from MAPPING to BLOCK, or to the computed addresses of deterministic NAT). A
// group that was removed logs the ends of what it had.
#pragma once

#include <cstdint>

#include "lsn/datapath/lsn44/blocks.hpp"
#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/shared/log_record.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// LogFlags of the group that a subscriber belongs to.
[[nodiscard]] std::uint8_t logging_of(const Lsn44& shard, const Subscriber& subscriber);

/// Whether such an event is to be recorded; `begun`: the beginning of what ends was.
[[nodiscard]] constexpr bool is_logged(std::uint8_t logging, std::uint8_t kind, LogEvent event,
                                       bool begun) {
  if (event != LogEvent::kDeleted) return (logging & kind) != 0;
  return (logging & LogFlags::kDeletions) != 0 && ((logging & kind) != 0 || begun);
}

/// MAPPING, if the session is its own mapping, and SESSION. Not of ESP, which is the ALG's.
void log_session(Lsn44& shard, std::uint8_t logging, SessionId id, LogEvent event,
                 LogReason reason = LogReason::kNone);
/// MAPPING.
void log_mapping(Lsn44& shard, std::uint8_t logging, Mapping& mapping, LogEvent event);
/// BINDING, if the subscriber's group logs: it has `paired_ip` since now, or until now.
void log_binding(Lsn44& shard, Subscriber& subscriber, LogEvent event);
/// BLOCK, if its subscriber's group logs: kCreated: it was allocated, kDeleted: it was freed.
void log_block(Lsn44& shard, Block& block, LogEvent event);

/// ALERT, at a pace, if an operator should hear of it: a group's session was refused for that.
void log_refusal(Lsn44& shard, std::uint16_t group, Protocol protocol,
                 const InsideAddress& subscriber, DropReason reason);

/// What ended a session: by its protocol's state, if it expired.
[[nodiscard]] LogReason log_reason(const Session& session, SessionEnd why);
/// Traffic and duration of a session that ends.
void fill_totals(const Lsn44& shard, const Session& session, const SessionCold& cold,
                 shared::LogTotals& totals);
/// A record of the subscriber's group and address, to be completed and committed; nullptr: no room.
[[nodiscard]] LogRecord* begin_record(Lsn44& shard, LogKind kind, LogEvent event,
                                      const Subscriber& subscriber);

}  // namespace lsn::datapath::lsn44
