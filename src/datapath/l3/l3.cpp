#include "lsn/datapath/l3/l3.hpp"

namespace lsn::datapath {

L3::L3(const L3Config& config)
    : Context(config),
      neighbours(config.now, secret, config.memory),
      icmp_budget(config.now, secret),
      identifications(secret, config.memory),
      reassembly(config.max_fragments, config.now, secret, config.memory) {}

}  // namespace lsn::datapath
