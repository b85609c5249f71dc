#include "lsn/datapath/lsn44/logging.hpp"

#include <optional>
#include <vector>

#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/tcp.hpp"

namespace lsn::datapath::lsn44 {
namespace {

void fill_endpoints(LogRecord& record, const Session& session) {
  record.protocol = session.protocol;
  record.nat_ip = session.nat_ip;
  record.remote_ip = session.remote_ip;
  record.subscriber_port = session.inside_port;
  record.nat_port = shown_nat_port(session);
  record.remote_port = session.remote_port;
  record.mapping = Dependence::kAddressPort;
}

/// A static mapping depends on no destination, or on the address of the one that it is for.
void leave_out_destination(LogRecord& record, const SessionCold& cold) {
  record.remote_port = wire::Be16{};
  record.mapping =
      cold.by_static_of_one_destination() ? Dependence::kAddress : Dependence::kEndpointIndependent;
  if (!cold.by_static_of_one_destination()) record.remote_ip = wire::Be32{};
}

}  // namespace

std::uint8_t logging_of(const Lsn44& shard, const Subscriber& subscriber) {
  const std::vector<Group>& groups = shard.generation->groups;
  return subscriber.group < groups.size() ? groups[subscriber.group].logging : std::uint8_t{0};
}

LogRecord* begin_record(Lsn44& shard, LogKind kind, LogEvent event, const Subscriber& subscriber) {
  LogRecord* const record = shard.log.begin(kind, event);
  if (record == nullptr) return nullptr;
  record->at = shard.now;
  record->group = subscriber.group;
  record->td = subscriber.td;
  record->subscriber = subscriber.ip;
  return record;
}

LogReason log_reason(const Session& session, SessionEnd why) {
  switch (why) {
    case SessionEnd::kExpired:
      if (session.protocol != Protocol::kTcp) return LogReason::kIdle;
      if (is_reset(session)) return LogReason::kRst;
      // Both sides have closed it; of one that only one side has closed the other fell silent.
      return state_of(session) == SessionState::kClosing ? LogReason::kFin : LogReason::kIdle;
    case SessionEnd::kFlushed:
      return LogReason::kFlush;
    case SessionEnd::kReload:
      return LogReason::kReload;
    case SessionEnd::kWithdrawn:
      return LogReason::kWithdrawn;
  }
  return LogReason::kNone;
}

void fill_totals(const Lsn44& shard, const Session& session, const SessionCold& cold,
                 shared::LogTotals& totals) {
  for (const Direction d : {Direction::kOutbound, Direction::kInbound}) {
    totals.packets[d] = session.packets[d];
    totals.bytes[d] = session.bytes[d];
  }
  totals.duration = elapsed(shard.now, cold.created);
}

void log_session(Lsn44& shard, std::uint8_t logging, SessionId id, LogEvent event,
                 LogReason reason) {
  const Session& session = shard.lsn44.sessions[id];
  SessionCold& cold = shard.lsn44.cold[id];
  const Subscriber& subscriber = shard.lsn44.subscribers[cold.subscriber];
  const auto write = [&](LogKind kind) {
    LogRecord* const record = begin_record(shard, kind, event, subscriber);
    if (record == nullptr) return;
    fill_endpoints(*record, session);
    if (kind == LogKind::kMapping && cold.by_static()) leave_out_destination(*record, cold);
    record->reason = reason;
    if (event == LogEvent::kDeleted) fill_totals(shard, session, cold, record->totals);
    shard.log.commit();
  };
  // What is deleted ends in the opposite order.
  const std::uint8_t flag = cold.by_static() ? LogFlags::kStatics : LogFlags::kMappings;
  const bool mapping =
      cold.mapping() == state::kNone && is_logged(logging, flag, event, cold.has_own_record());
  const bool begins = event == LogEvent::kCreated;
  if (mapping && begins) {
    write(LogKind::kMapping);
    if (!cold.by_static()) cold.set_own_record();
  }
  if (is_logged(logging, LogFlags::kSessions, event, false)) write(LogKind::kSession);
  if (mapping && !begins) write(LogKind::kMapping);
}

void log_mapping(Lsn44& shard, std::uint8_t logging, Mapping& mapping, LogEvent event) {
  if (!is_logged(logging, LogFlags::kMappings, event, mapping.is_recorded)) return;
  mapping.is_recorded = true;
  LogRecord* const record =
      begin_record(shard, LogKind::kMapping, event, shard.lsn44.subscribers[mapping.subscriber]);
  if (record == nullptr) return;
  record->protocol = mapping.protocol;
  record->nat_ip = mapping.nat_ip;
  record->nat_port = mapping.nat_port;
  record->subscriber_port = mapping.inside_port;
  // As much of the destination as the mapping had when it was created (RFC 6888 REQ-12).
  record->remote_ip = mapping.remote_ip;
  record->remote_port = mapping.remote_port;
  record->mapping = mapping.remote_ip.raw() == 0     ? Dependence::kEndpointIndependent
                    : mapping.remote_port.raw() == 0 ? Dependence::kAddress
                                                     : Dependence::kAddressPort;
  shard.log.commit();
}

void log_binding(Lsn44& shard, Subscriber& subscriber, LogEvent event) {
  const bool begun = subscriber.has_binding_record;
  const bool is_wanted =
      is_logged(logging_of(shard, subscriber), LogFlags::kBindings, event, begun);
  subscriber.has_binding_record = is_wanted && event == LogEvent::kCreated;
  if (!is_wanted) return;
  LogRecord* const record = begin_record(shard, LogKind::kBinding, event, subscriber);
  if (record == nullptr) return;
  record->nat_ip = subscriber.paired_ip;
  shard.log.commit();
}

void log_block(Lsn44& shard, Block& block, LogEvent event) {
  const Subscriber& subscriber = shard.lsn44.subscribers[block.subscriber];
  if (!is_logged(logging_of(shard, subscriber), LogFlags::kBlocks, event, block.is_recorded))
    return;
  block.is_recorded = true;
  LogRecord* const record = begin_record(shard, LogKind::kBlock, event, subscriber);
  if (record == nullptr) return;
  record->nat_ip = block.nat_ip;
  record->nat_port = wire::Be16::of(block.ports.first);
  record->last_port = wire::Be16::of(block.ports.last);
  shard.log.commit();
}

namespace {

std::optional<LogAlert> alert_of(DropReason reason) {
  switch (reason) {
    case DropReason::kPortsExhausted:
    case DropReason::kPoolExhausted:
    case DropReason::kPortBlockFull:
    case DropReason::kNoFreeBlock:
      return LogAlert::kPortAllocation;
    case DropReason::kPortQuota:
      return LogAlert::kPortQuota;
    case DropReason::kSessionQuota:
      return LogAlert::kSessionQuota;
    case DropReason::kGroupSessionLimit:
      return LogAlert::kGroupLimit;
    default:
      return std::nullopt;
  }
}

}  // namespace

void log_refusal(Lsn44& shard, std::uint16_t group, Protocol protocol,
                 const InsideAddress& subscriber, DropReason reason) {
  const std::optional<LogAlert> alert = alert_of(reason);
  if (!alert) return;
  const std::uint64_t count = shard.alerts.note(group, *alert, shard.now);
  if (count == 0) return;
  LogRecord* const record = shard.log.begin(LogKind::kAlert, LogEvent::kCreated);
  if (record == nullptr) return;
  record->at = shard.now;
  record->group = group;
  record->protocol = protocol;
  record->td = subscriber.td;
  record->subscriber = subscriber.address.be();
  record->alert = *alert;
  record->totals.count = count;
  shard.log.commit();
}

}  // namespace lsn::datapath::lsn44
