#include "lsn/datapath/lsn44/lsn44.hpp"

namespace lsn::datapath {

Lsn44::Lsn44(const Lsn44Config& config)
    : L3(config),
      lsn44(config.max_sessions, config.now, secret,
            {config.session_memory != nullptr ? config.session_memory : config.memory,
             config.mapping_memory != nullptr ? config.mapping_memory : config.memory,
             config.memory}),
      log(config.log_records, config.memory) {}

}  // namespace lsn::datapath
