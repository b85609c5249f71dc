// How fast a subscriber may begin sessions (transportprofile sessionRate, sessionBurst): one that a
// worm has taken does not fill the tables of all.
//
// Each subscriber has a bucket of tokens for each protocol. It holds sessionBurst of them and gains
// sessionRate a second; a session that the subscriber begins takes one, and without one it is
// refused before anything is allocated for it. Sessions that an outside host begins take none.
//
// Buckets stand in an array of their own beside the subscribers: a group without a rate never
// touches it. An entry says whose it is, so that nobody begins with what another has left.
#pragma once

#include <cstdint>

#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/wire/big_endian.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// The buckets of one subscriber.
struct alignas(32) SessionBuckets {
  struct Bucket {
    std::uint32_t tokens;  ///< in hundredths: a tick of 10 ms brings `rate` of them
    state::Ticks counted;  ///< when there were so many
  };

  wire::Be32 subscriber;  ///< zero: nobody's
  DomainId td;
  ByPortProtocol<Bucket> of;
};
static_assert(sizeof(SessionBuckets) == 32);

/// Whether the policy's rate lets a subscriber begin another session now.
[[nodiscard]] bool may_begin(const Lsn44& shard, SubscriberId id, Protocol protocol,
                             const TransportPolicy& policy);
/// It has begun one.
void count_begun(Lsn44& shard, SubscriberId id, Protocol protocol, const TransportPolicy& policy);

}  // namespace lsn::datapath::lsn44
