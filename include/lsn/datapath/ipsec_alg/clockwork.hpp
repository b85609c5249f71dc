// What the ALG does at the end of a burst, between bursts, and when a generation comes.
#pragma once

#include <cstddef>

#include "lsn/datapath/ipsec_alg/tables.hpp"

namespace lsn::datapath {
struct IpsecAlg;
}

namespace lsn::datapath::ipsec_alg {

/// Sends what was released, removes what is unused.
void after_burst(IpsecAlg& shard);
/// What is due by time, at most about `budget` objects of each kind.
void housekeep(IpsecAlg& shard, std::size_t budget);

/// A new generation: what follows from its profiles at once.
void adopt_generation(IpsecAlg& shard);
/// Ends what a subscriber has if its group has no profile any more or its NAT address is gone, but
/// for its ESP sessions, which the sweep ends like all sessions. Otherwise arms its timers for the
/// new timeouts.
void refresh_client(IpsecAlg& shard, SubscriberId subscriber);

}  // namespace lsn::datapath::ipsec_alg
