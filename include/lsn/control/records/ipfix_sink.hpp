// The IPFIX sink: records as NAT events to a collector, over UDP or TCP.
//
// IpfixWriter makes messages of a batch, this sends them. Over UDP the templates go first, then
// every templateRefresh seconds (RFC 7011 section 8.4), and at once where the collector has refused
// a datagram: it may be a new one. Over TCP they are the beginning of each connection; messages
// that the former one has not brought over follow on the next one, with numbers of this one
// (StreamOutlet; RFC 7011 section 3.1).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/records/datagram_outlet.hpp"
#include "lsn/control/records/ipfix_writer.hpp"
#include "lsn/control/records/sink.hpp"
#include "lsn/control/records/stream_outlet.hpp"

namespace lsn::control {

class IpfixSink final : public RecordSink {
 public:
  /// Bytes of a message: over UDP it fits into an Ethernet frame (RFC 7011 section 10.3.3).
  static constexpr std::uint16_t kDatagram = 1400;
  static constexpr std::uint16_t kStreamMessage = 16'000;
  /// That a call waits for the collector at most, and the last one.
  static constexpr std::chrono::milliseconds kPatience{500};
  static constexpr std::chrono::milliseconds kLastPatience{900};

  explicit IpfixSink(const RecordIpfixConfig& config);

  /// "ipfix UDP 192.0.2.9:4739"
  [[nodiscard]] static std::string name_of(const RecordIpfixConfig& config);

  [[nodiscard]] std::size_t write(const RecordBatch& batch, std::size_t from) override;
  /// CONFIG, and records of groups without logIpfix.
  [[nodiscard]] std::uint64_t passed_over() const override { return passed_over_; }
  void tick(std::int64_t now_ms) override;
  void finish() override;

 private:
  using Moment = std::chrono::steady_clock::time_point;

  [[nodiscard]] std::size_t write_stream(const RecordBatch& batch, std::size_t from);
  [[nodiscard]] std::size_t write_datagrams(const RecordBatch& batch, std::size_t from);
  /// Over UDP: whether the collector has them.
  [[nodiscard]] bool send_templates_if_due(Moment deadline);

  IpfixWriter writer_;
  std::chrono::seconds refresh_;
  std::uint32_t sequence_ = 0;  ///< records so far (of the connection)
  std::uint64_t passed_over_ = 0;
  std::optional<StreamOutlet> stream_;  ///< one of the two
  std::optional<DatagramOutlet> datagrams_;
  Moment templates_due_{};
  std::uint64_t refusals_seen_ = 0;
};

}  // namespace lsn::control
