// Records as IPFIX messages (RFC 7011), by libfixbuf: the NAT events of RFC 8158.
//
//   record                         natEvent   template
//   SESSION, ALGSESSION            4, 5       256-261 by how much of the destination it has and
//                                             whether it has traffic; ESP: 262, 263
//   MAPPING                        8, 9       256-261
//   BINDING                        14, 15     264
//   BLOCK                          16, 17     265
//   ALERT port_allocation_failed   12         266
//   ALERT of a quota or limit      13         267
//   ALERT pool_usage, table_usage  18         268
//   LOST                           -          269, options: RFC 7011 section 4.3
//
// Records of subscribers are taken if their group says so (logIpfix); CONFIG and the other alerts
// are no events of a NAT and left out. libfixbuf writes messages into memory, where they get their
// sequence numbers (number()): counted by whoever sends them, as they begin again with every
// connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lsn/control/records/record.hpp"

namespace lsn::control {

class IpfixWriter {
 public:
  /// `longest`: bytes of a message, 512-65535. Throws std::runtime_error if libfixbuf knows an
  /// element by another name.
  IpfixWriter(std::uint32_t domain, std::uint16_t longest);
  ~IpfixWriter();

  /// The message with the templates. It has no records.
  [[nodiscard]] const std::string& templates() const { return templates_; }

  struct Message {
    std::string bytes;          ///< empty: none of the records is exported
    std::uint32_t records = 0;  ///< in it
    std::size_t next = 0;       ///< the first record of the batch that is not in it
    std::uint64_t lost = 0;     ///< by its LOST records
  };
  /// A message of records of the batch, from that one on, as many as fit.
  [[nodiscard]] Message write(const RecordBatch& batch, std::size_t from);
  /// It was not sent, and is written again: what it says was lost is not to count twice.
  void take_back(const Message& message) { lost_ -= message.lost; }

  /// Sets the sequence number of a message: the records before it (RFC 7011 section 3.1).
  static void number(std::string& message, std::uint32_t sequence);

 private:
  struct Library;

  enum class Added { kYes, kFull };
  [[nodiscard]] Added append(const RecordBatch& batch, const Record& record,
                             std::uint16_t template_id);
  /// The message that libfixbuf has begun.
  [[nodiscard]] std::string take();

  std::unique_ptr<Library> library_;
  std::string templates_;
  std::uint64_t lost_ = 0;  ///< records in all
};

}  // namespace lsn::control
