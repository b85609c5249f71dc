// A record as a message of syslog, without the frame of a transport.
//
// RFC5424: the fields of LineWriter as one structured element; with logCompact the compact line
// instead, as text:
//   <134>1 2026-12-01T00:31:29.120Z n1 lsnd w0 SESSION [lsn@32473 event="created" seq="17" ...]
//   <134>1 2026-12-01T00:31:29.120Z n1 lsnd w0 SESSION - 1796085089120 n1 0 S+ 17 "G" TCP ...
// NETSCALER: what parsers of NetScaler's LSN messages read, and its own compact form:
//   <134> 12/01/2026:00:31:29 GMT n1 0-PPE-0 : default LSN LSN_SESSION 17 0 :  SESSION CREATED
//       Client IP:Port:TD 192.0.2.7:1234:0, NatIP:NatPort 203.0.113.3:40001, Destination ...
//   <134> 12/01/2026:00:31:29 GMT n1 0-PE0:default LSN 17 0:SC|C-192.0.2.7:1234:0|N-...|D-...|T
// docs/records.md says which of these messages are published and which are lsnd's own.
#pragma once

#include <cstdint>
#include <string>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/records/line_writer.hpp"
#include "lsn/control/records/record.hpp"

namespace lsn::control {

class SyslogWriter {
 public:
  SyslogWriter(SyslogFormat format, SyslogFacility facility)
      : format_(format), facility_(facility) {}

  /// Appends the message of a record.
  void write(const RecordBatch& batch, const Record& record, std::string& out);

 private:
  void write_rfc5424(const RecordBatch& batch, const Record& record, std::string& out);
  void write_netscaler(const RecordBatch& batch, const Record& record, std::string& out);
  void put_priority(const shared::LogRecord& raw, std::string& out) const;
  /// "12/01/2026:00:31:29 GMT"
  void put_gmt(std::int64_t ms, std::string& out);

  SyslogFormat format_;
  SyslogFacility facility_;
  LineWriter lines_{RecordFormat::kText};
  std::int64_t second_ = -1;  ///< of which `gmt_` is the text
  std::string gmt_;
};

}  // namespace lsn::control
