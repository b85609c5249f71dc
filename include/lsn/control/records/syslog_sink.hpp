// The syslog sink: records as messages to a server, over UDP, TCP or TLS.
//
// Over UDP a message is a datagram (RFC 5426), and words that do not fit into one are cut. Over TCP
// and TLS each has its length in front of it (octet counting: RFC 6587 section 3.4.1, RFC 5425
// section 4.3), some kilobytes go together, and StreamOutlet keeps them until they have arrived.
// While the server does not take them the records wait in the queue of the sink (sink.hpp), which
// is the spool.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/records/datagram_outlet.hpp"
#include "lsn/control/records/sink.hpp"
#include "lsn/control/records/stream_outlet.hpp"
#include "lsn/control/records/syslog_writer.hpp"

namespace lsn::control {

class SyslogSink final : public RecordSink {
 public:
  /// Bytes that go together; with TLS one record of it.
  static constexpr std::size_t kPiece = 16'000;
  /// That a call waits for the server at most, and the last one.
  static constexpr std::chrono::milliseconds kPatience{500};
  static constexpr std::chrono::milliseconds kLastPatience{900};

  explicit SyslogSink(const RecordSyslogConfig& config);

  /// "syslog UDP 192.0.2.9:514"
  [[nodiscard]] static std::string name_of(const RecordSyslogConfig& config);

  [[nodiscard]] std::size_t write(const RecordBatch& batch, std::size_t from) override;
  void tick(std::int64_t now_ms) override;
  void finish() override;

 private:
  [[nodiscard]] std::size_t write_stream(const RecordBatch& batch, std::size_t from);
  [[nodiscard]] std::size_t write_datagrams(const RecordBatch& batch, std::size_t from);

  /// A message that fits into a datagram: the words of the record are cut if they have to be.
  void write_datagram(const RecordBatch& batch, const Record& record, std::string& out);

  std::string name_;
  SyslogWriter writer_;
  std::optional<StreamOutlet> stream_;  ///< one of the two
  std::optional<DatagramOutlet> datagrams_;
  std::string message_;
  std::vector<std::string> messages_;
  std::optional<std::uint64_t> cut_sequence_;  ///< of the last record that was cut
};

}  // namespace lsn::control
