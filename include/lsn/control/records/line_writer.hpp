// A record as a line of a file: text, compact text (logCompact), or JSON.
//
//   2026-12-01T00:31:29.120Z n1 w0 SESSION created seq=17 group="G" protocol=TCP
//       subscrIP=192.0.2.7 subscrPort=1234 natIP=203.0.113.3 natPort=40001 destIP=...
//   1764549089120 n1 0 S+ 17 "G" TCP 192.0.2.7:1234 203.0.113.3:40001 198.51.100.10:80
//   {"time":"2026-12-01T00:31:29.120Z","node":"n1","worker":0,"record":"SESSION",...}
//
// (each in one line). docs/records.md has every field. Written by hand, digit by digit: this is
// where a million records per second are made into lines. record_line.hpp reads them again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lsn/control/records/record.hpp"

namespace lsn::control {

class LineWriter {
 public:
  explicit LineWriter(RecordFormat format) : format_(format) {}

  /// Appends the line of a record, with its newline.
  void write(const RecordBatch& batch, const Record& record, std::string& out);
  /// The same of a line of text without its beginning: "ALERT raised seq=0 ...".
  void write_words(const RecordBatch& batch, const Record& record, std::string& out);
  /// The same fields as parameters of a structured element (RFC 5424): ` event="created" seq="17"`.
  void write_parameters(const RecordBatch& batch, const Record& record, std::string& out);
  /// "2026-12-01T00:31:29.120Z"
  void put_time(std::int64_t ms, std::string& out);

 private:
  void write_text(const RecordBatch& batch, const Record& record, std::string& out);
  void write_compact(const RecordBatch& batch, const Record& record, std::string& out);
  void write_json(const RecordBatch& batch, const Record& record, std::string& out);

  RecordFormat format_;
  std::int64_t second_ = -1;  ///< of which `date_` is the text
  std::string date_;
};

}  // namespace lsn::control
