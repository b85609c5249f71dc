#include "lsn/datapath/lsn44/session_rate.hpp"

#include <algorithm>
#include <limits>
#include <ratio>
#include <type_traits>

#include "lsn/datapath/lsn44/lsn44.hpp"

namespace lsn::datapath::lsn44 {
namespace {

constexpr std::uint32_t kToken = 100;
static_assert(std::is_same_v<state::TickDuration::period, std::ratio<1, kToken>>);

bool is_of(const SessionBuckets& buckets, const Subscriber& subscriber) {
  return buckets.subscriber == subscriber.ip && buckets.td == subscriber.td;
}

/// The hundredths of a token that a subscriber has now.
std::uint32_t tokens(const Lsn44& shard, SubscriberId id, Protocol protocol,
                     const TransportPolicy& policy) {
  const std::uint64_t most = std::uint64_t{policy.session_burst} * kToken;
  const SessionBuckets& buckets = shard.lsn44.session_buckets[id];
  if (!is_of(buckets, shard.lsn44.subscribers[id])) return static_cast<std::uint32_t>(most);
  const SessionBuckets::Bucket& bucket = buckets.of[protocol];
  const std::uint64_t gained =
      std::uint64_t{state::elapsed(shard.now, bucket.counted).count()} * policy.session_rate;
  return static_cast<std::uint32_t>(std::min(bucket.tokens + gained, most));
}

}  // namespace

bool may_begin(const Lsn44& shard, SubscriberId id, Protocol protocol,
               const TransportPolicy& policy) {
  return tokens(shard, id, protocol, policy) >= kToken;
}

void count_begun(Lsn44& shard, SubscriberId id, Protocol protocol, const TransportPolicy& policy) {
  const std::uint32_t left = tokens(shard, id, protocol, policy) - kToken;
  SessionBuckets& buckets = shard.lsn44.session_buckets[id];
  if (!is_of(buckets, shard.lsn44.subscribers[id])) {
    // The buckets of a newcomer are full, however much they hold.
    buckets.subscriber = shard.lsn44.subscribers[id].ip;
    buckets.td = shard.lsn44.subscribers[id].td;
    buckets.of.fill({std::numeric_limits<std::uint32_t>::max(), shard.now});
  }
  buckets.of[protocol] = {left, shard.now};
}

}  // namespace lsn::datapath::lsn44
