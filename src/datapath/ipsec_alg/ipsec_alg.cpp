#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"

namespace lsn::datapath {

IpsecAlg::IpsecAlg(const IpsecAlgConfig& config)
    : Lsn44(config),
      alg(config.alg, lsn44.subscribers.capacity(), config.now, secret, config.memory) {}

}  // namespace lsn::datapath
