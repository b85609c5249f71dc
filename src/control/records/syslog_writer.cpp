#include "lsn/control/records/syslog_writer.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <string_view>

#include "lsn/control/records/record_parts.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::Dependence;
using shared::LogEvent;
using shared::LogKind;
using shared::LogRecord;

/// RFC 5424 section 6.2.1.
enum class Severity : std::uint8_t { kWarning = 4, kNotice = 5, kInformational = 6 };

Severity severity_of(const LogRecord& r) {
  if (r.kind == LogKind::kLost) return Severity::kWarning;
  if (r.kind == LogKind::kAlert)
    return r.event == LogEvent::kDeleted ? Severity::kNotice : Severity::kWarning;
  return r.kind == LogKind::kConfig ? Severity::kNotice : Severity::kInformational;
}

/// How NetScaler calls a record: the message's name, the words it begins with, and these in the
/// compact form.
struct NetscalerName {
  std::string_view message;
  std::string_view words;
  std::string_view letters;
};

NetscalerName netscaler_name(const LogRecord& r) {
  switch (r.kind) {
    case LogKind::kMapping:
      switch (r.mapping) {
        case Dependence::kEndpointIndependent:
          return {"LSN_EIM_MAPPING", "EIM", "EIM"};
        case Dependence::kAddress:
          return {"LSN_ADDR_MAPPING", "ADM", "ADM"};
        case Dependence::kAddressPort:
          break;
      }
      return {"LSN_ADDRPORT_MAPPING", "A&PDM", "A&PDM"};
    case LogKind::kSession:
      return {"LSN_SESSION", "SESSION", "S"};
    case LogKind::kAlgSession:
      return {"LSN_ALG_SESSION", "ALG SESSION", "AS"};
    case LogKind::kBlock:
      return {"LSN_PORT_BLOCK", "PORT BLOCK", "PB"};
    case LogKind::kBinding:
      return {"LSN_ADDR_BINDING", "ADDRESS BINDING", "AB"};
    default:
      return {"Message", "", ""};
  }
}

std::string_view netscaler_event(const LogRecord& r) {
  if (r.kind == LogKind::kBlock) return r.event == LogEvent::kDeleted ? "FREED" : "ALLOCATED";
  return r.event == LogEvent::kDeleted     ? "DELETED"
         : r.event == LogEvent::kCompleted ? "COMPLETED"
                                           : "CREATED";
}
/// The letter behind those of the name: published is C.
char netscaler_event_letter(const LogRecord& r) {
  return r.event == LogEvent::kDeleted ? 'D' : r.event == LogEvent::kCompleted ? 'U' : 'C';
}

void put_td(std::string& out, std::uint64_t td) {
  out += ':';
  put(out, td);
}

/// "192.0.2.7:1234:0", without the port where the record has none.
void put_client(std::string& out, const LogRecord& r) {
  is_flow(r) ? put(out, r.subscriber, r.subscriber_port) : put(out, r.subscriber);
  put_td(out, r.td);
}
void put_nat(std::string& out, const LogRecord& r) {
  is_flow(r) || r.kind == LogKind::kBlock ? put(out, r.nat_ip, r.nat_port) : put(out, r.nat_ip);
  if (r.kind != LogKind::kBlock) return;
  out += '-';
  put(out, std::uint64_t{r.last_port.host()});
}
/// Destinations are outside, which is in traffic domain 0.
void put_netscaler_destination(std::string& out, const LogRecord& r) {
  has_destination_port(r) ? put(out, r.remote_ip, r.remote_port) : put(out, r.remote_ip);
  put_td(out, 0);
}

void put_netscaler_text(std::string& out, const LogRecord& r) {
  put(out, is_flow(r) ? " Client IP:Port:TD " : " Client IP:TD ");
  put_client(out, r);
  put(out, r.kind == LogKind::kBlock ? ", NatIP:NatPort-NatPort "
           : is_flow(r)              ? ", NatIP:NatPort "
                                     : ", NatIP ");
  put_nat(out, r);
  if (has_destination(r)) {
    put(out, has_destination_port(r) ? ", Destination IP:Port:TD " : ", Destination IP:TD ");
    put_netscaler_destination(out, r);
  }
  if (r.kind == LogKind::kAlgSession) {
    put(out, ", SPI out:in ");
    put_hex(out, r.spi_out.host(), 8);
    out += ':';
    put_hex(out, r.spi_in.host(), 8);
  }
  if (!is_flow(r) && r.kind != LogKind::kAlgSession) return;
  put(out, ", Protocol: ");
  put(out, shared::name_of(r.protocol));
}

void put_netscaler_compact(std::string& out, const LogRecord& r) {
  put(out, netscaler_name(r).letters);
  out += netscaler_event_letter(r);
  put(out, "|C-");
  put_client(out, r);
  put(out, "|N-");
  put_nat(out, r);
  if (has_destination(r)) {
    put(out, "|D-");
    put_netscaler_destination(out, r);
  }
  if (r.kind == LogKind::kAlgSession) {
    put(out, "|S-");
    put_hex(out, r.spi_out.host(), 8);
    out += ':';
    put_hex(out, r.spi_in.host(), 8);
  }
  if (!is_flow(r) && r.kind != LogKind::kAlgSession) return;
  out += '|';
  out += shared::name_of(r.protocol).front();
}

std::uint64_t worker_of(const Record& record) {
  return record.worker == kNoWorker ? 0 : record.worker;
}

}  // namespace

void SyslogWriter::write(const RecordBatch& batch, const Record& record, std::string& out) {
  if (format_ == SyslogFormat::kNetscaler)
    write_netscaler(batch, record, out);
  else
    write_rfc5424(batch, record, out);
}

void SyslogWriter::put_priority(const LogRecord& raw, std::string& out) const {
  out += '<';
  put(out, std::uint64_t{static_cast<std::uint8_t>(facility_)} * 8 +
               static_cast<std::uint8_t>(severity_of(raw)));
  out += '>';
}

void SyslogWriter::write_rfc5424(const RecordBatch& batch, const Record& record, std::string& out) {
  put_priority(record.raw, out);
  put(out, "1 ");
  lines_.put_time(record.at_ms, out);
  out += ' ';
  put(out, batch.names->node);
  put(out, record.worker == kNoWorker ? " lsnd -" : " lsnd w");
  if (record.worker != kNoWorker) put(out, std::uint64_t{record.worker});
  out += ' ';
  put(out, to_word(record.raw.kind));
  if (is_compact(batch, record)) {
    put(out, " - ");
    lines_.write(batch, record, out);
    out.pop_back();
    return;
  }
  // 32473 is the enterprise number of documents (RFC 5612): lsnd has none of its own.
  put(out, " [lsn@32473");
  lines_.write_parameters(batch, record, out);
  out += ']';
}

void SyslogWriter::put_gmt(std::int64_t ms, std::string& out) {
  const std::int64_t second = ms / 1000;
  if (second != second_) {
    second_ = second;
    gmt_ =
        fmt::format("{:%m/%d/%Y:%T} GMT", std::chrono::sys_seconds{std::chrono::seconds{second}});
  }
  out += gmt_;
}

void SyslogWriter::write_netscaler(const RecordBatch& batch, const Record& record,
                                   std::string& out) {
  const LogRecord& r = record.raw;
  const bool compact = is_compact(batch, record);
  put_priority(r, out);
  out += ' ';
  put_gmt(record.at_ms, out);
  out += ' ';
  put(out, batch.names->node);
  put(out, compact ? " 0-PE" : " 0-PPE-");
  put(out, worker_of(record));
  put(out, compact ? ":default LSN " : " : default LSN ");
  if (!compact) {
    put(out, netscaler_name(r).message);
    out += ' ';
  }
  put(out, record.sequence);
  put(out, compact ? " 0:" : " 0 :  ");
  if (compact) return put_netscaler_compact(out, r);
  if (!is_of_subscriber(r)) return lines_.write_words(batch, record, out);
  put(out, netscaler_name(r).words);
  out += ' ';
  put(out, netscaler_event(r));
  put_netscaler_text(out, r);
  if (const RecordNames::Group* const group = group_of(batch, record);
      group != nullptr && group->subscriber_info) {
    put(out, ", LSN Client: ");
    put(out, group->client);
  }
}

}  // namespace lsn::control
