// Prefetches the lines that ESP of unknown SPIs is going to touch, for a burst at a time (as
// lsn44/prefetch.hpp does for new sessions): the gate, and the peer of asked_about().
#pragma once

#include <span>

#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::datapath::ipsec_alg {

/// At most kBurst packets; only those of ESP from outside matter.
void prefetch(IpsecAlg& shard, std::span<const Packet* const> packets);

}  // namespace lsn::datapath::ipsec_alg
