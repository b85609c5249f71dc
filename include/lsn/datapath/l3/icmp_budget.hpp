// Limits on the ICMP that the NAT itself sends (RFC 1812 section 4.3.2.8): by kind, and within a
// kind by receiver.
//
// Each kind of message has a bucket that holds a second's worth, so that a flood of one kind does
// not silence another: path MTU discovery (RFC 1191) goes on while a subscriber runs into its
// quota. Of a kind's messages one address gets a tenth per second at most, so that a flood in one
// subscriber's name does not silence the others. Addresses share kSlots such counts by their hash:
// an unlucky one shares a tenth with a flooder, which is all that a fixed memory can promise.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "lsn/shared/domain.hpp"
#include "lsn/state/flow_table.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/wire/big_endian.hpp"

namespace lsn::datapath {

/// The subject of a message that the NAT itself sends.
enum class IcmpKind : std::uint8_t {
  kUnreachable,  ///< no session could be created (dataplane.unreachable.rate)
  kTimeExceeded,
  kFragmentationNeeded,
  kOwnAddress,  ///< a closed port or an unknown protocol of the NAT's; TCP resets with them
};
inline constexpr std::size_t kIcmpKinds = 4;

class IcmpBudget {
 public:
  static constexpr std::size_t kSlots = 1024;
  static constexpr std::uint32_t kShares = 10;  ///< so many addresses use up a kind's rate
  /// Per second and worker, of those kinds whose rate is not configured.
  static constexpr std::uint32_t kTimeExceededRate = 1000;
  static constexpr std::uint32_t kFragmentationNeededRate = 1000;
  static constexpr std::uint32_t kOwnAddressRate = 100;

  IcmpBudget(state::Ticks now, const state::HashSecret& secret) : secret_(secret.words[3]) {
    for (Bucket& bucket : buckets_) bucket = {UINT64_MAX, now};
  }

  [[nodiscard]] static constexpr std::uint32_t rate_of(IcmpKind kind,
                                                       std::uint32_t unreachable_rate) {
    switch (kind) {
      case IcmpKind::kUnreachable:
        return unreachable_rate;
      case IcmpKind::kTimeExceeded:
        return kTimeExceededRate;
      case IcmpKind::kFragmentationNeeded:
        return kFragmentationNeededRate;
      case IcmpKind::kOwnAddress:
        return kOwnAddressRate;
    }
    return 0;
  }

  /// Whether one more of `rate` per second may go to that address; takes it if so.
  [[nodiscard]] bool take(IcmpKind kind, const shared::InsideAddress& to, std::uint32_t rate,
                          state::Ticks now) {
    constexpr std::uint64_t kToken = kSecond.count();
    const auto k = static_cast<std::size_t>(kind);
    Bucket& bucket = buckets_[k];
    const std::uint64_t full = rate * kToken;
    const std::uint64_t passed = elapsed(now, bucket.refilled).count();
    bucket.refilled = now;
    bucket.tokens = std::min(std::min(bucket.tokens, full) + passed * rate, full);
    if (bucket.tokens < kToken) return false;
    Slot& slot = slots_[k][(to.number() * secret_) >> (64 - kSlotBits)];
    const std::int32_t age = now - slot.since;
    if (slot.used == 0 || age < 0 || age >= static_cast<std::int32_t>(kSecond.count()))
      slot = {now, 0};
    if (slot.used >= (rate + kShares - 1) / kShares) return false;
    ++slot.used;
    bucket.tokens -= kToken;
    return true;
  }

 private:
  static constexpr unsigned kSlotBits = 10;
  static_assert(kSlots == 1u << kSlotBits);
  static constexpr state::TickDuration kSecond = std::chrono::seconds{1};

  struct Bucket {
    std::uint64_t tokens;  ///< in ticks of a second
    state::Ticks refilled;
  };
  /// The messages to the addresses of a slot in the second that began at `since`.
  struct Slot {
    state::Ticks since;
    std::uint32_t used = 0;
  };

  std::uint64_t secret_;  ///< odd
  std::array<Bucket, kIcmpKinds> buckets_;
  std::array<std::array<Slot, kSlots>, kIcmpKinds> slots_{};
};

}  // namespace lsn::datapath
