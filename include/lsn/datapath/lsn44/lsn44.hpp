// LSN44's floor of a shard: its tables (context.hpp, lsn44/tables.hpp), and its records.
#pragma once

#include <cstdint>

#include "lsn/datapath/l3/l3.hpp"
#include "lsn/datapath/lsn44/alert_pacer.hpp"
#include "lsn/datapath/lsn44/tables.hpp"
#include "lsn/shared/log_record.hpp"

namespace lsn::datapath {

struct Lsn44Config : L3Config {
  std::uint32_t max_sessions = 65536;             ///< this shard's share
  state::ZeroedMemory* session_memory = nullptr;  ///< of every session's objects; null: `memory`
  state::ZeroedMemory* mapping_memory = nullptr;  ///< of every mapping's objects; null: `memory`
  std::uint32_t log_records = shared::LogRing::kCapacity;
};

struct Lsn44 : L3 {
  explicit Lsn44(const Lsn44Config& config);

  lsn44::Tables lsn44;
  shared::LogRing log;  ///< records for the log thread (lsn44/logging.hpp)
  lsn44::AlertPacer alerts;

 protected:
  ~Lsn44() = default;
};

}  // namespace lsn::datapath
