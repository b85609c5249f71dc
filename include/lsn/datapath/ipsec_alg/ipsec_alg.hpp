// The IPsec ALG's floor of a shard: its tables (context.hpp, ipsec_alg/tables.hpp).
#pragma once

#include "lsn/datapath/ipsec_alg/tables.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"

namespace lsn::datapath {

struct IpsecAlgConfig : Lsn44Config {
  ipsec_alg::Capacity alg;  ///< this shard's share
};

struct IpsecAlg : Lsn44 {
  explicit IpsecAlg(const IpsecAlgConfig& config);

  ipsec_alg::Tables alg;

 protected:
  ~IpsecAlg() = default;
};

}  // namespace lsn::datapath
