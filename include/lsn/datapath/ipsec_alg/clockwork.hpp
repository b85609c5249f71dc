// The ALG's work at the end of a burst, between bursts, and for a new generation.
#pragma once

#include <cstddef>

#include "lsn/datapath/ipsec_alg/tables.hpp"

namespace lsn::datapath {
struct IpsecAlg;
}

namespace lsn::datapath::ipsec_alg {

/// Sends released packets, removes unused peers.
void after_burst(IpsecAlg& shard);
/// Does what is due by time, at most about `budget` objects of each kind.
void housekeep(IpsecAlg& shard, std::size_t budget);

/// Applies a new generation's profiles, as far as that is done at once.
void adopt_generation(IpsecAlg& shard);
/// Ends a subscriber's ALG state if its group has no profile any more or its NAT address is gone,
/// but for its ESP sessions, which the sweep ends like all sessions. Otherwise arms its timers for
/// the new timeouts.
void refresh_client(IpsecAlg& shard, SubscriberId subscriber);

}  // namespace lsn::datapath::ipsec_alg
