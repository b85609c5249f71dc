// What became of the records, for `stat records`, `show alert` and metrics.
#pragma once

#include <cstdint>
#include <vector>

#include "lsn/control/records/alert_book.hpp"
#include "lsn/control/records/sink.hpp"
#include "lsn/shared/log_record.hpp"

namespace lsn::control {

struct RecordsStatus {
  shared::ByLogKind<std::uint64_t> taken{};  ///< records of the workers, by kind
  shared::ByLogKind<std::uint64_t> lost{};   ///< for which the rings had no room
  std::vector<SinkStatus> sinks;
  std::vector<AlertBook::Status> alerts;
};

}  // namespace lsn::control
