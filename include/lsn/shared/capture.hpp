// What a worker writes down for `start capture`, and the ring that takes it to the capture's
// thread.
//
// A CaptureRecord is a frame as it came in or as it left, with what became of it and whom it
// concerns. The worker writes it in place into a ring of its own (CaptureRing), the capture's
// thread takes it out and makes a file of it. Nobody waits: a frame that finds the ring full is
// lost and counted. Records that are added are not seen until publish(): what a device has not
// taken of a burst is known only after it was given to it, and its records are made void then.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <vector>

#include "lsn/shared/counters.hpp"
#include "lsn/shared/drop_reason.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/wire/endpoint.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

/// Bytes of a frame that are kept: those of the largest jumbo frame.
inline constexpr std::uint32_t kCapturedBytes = 9728;

enum class CaptureVerdict : std::uint8_t {
  kForwarded,
  kCut,      ///< forwarded in fragments, which follow as packets of their own
  kHairpin,  ///< goes on at another worker, which has the other subscriber
  kLater,    ///< forwarded after it had waited
  kTaken,    ///< it waits, or was for the NAT itself
  kOwn,      ///< sent by the NAT itself
  kDropped,
  kVoid,  ///< no record any more
};

/// Whom a packet concerns, as far as it is known: an address of zero is not known. Of an ICMP
/// error: whom the packet that it quotes concerns.
struct CapturedFlow {
  wire::Endpoint subscriber{};
  wire::Endpoint nat{};
  wire::Endpoint remote{};
  wire::Endpoint peer{};  ///< of a hairpinned packet: the subscriber that it goes to
  wire::Be32 spi{};       ///< of ESP
  std::uint8_t protocol = 0;
  bool has_ports = false;  ///< TCP, UDP; ICMP: its identifier stands in the ports of this side
  bool is_error = false;   ///< an ICMP error; `protocol` is that of the quoted packet
  bool is_fragment = false;
};

/// Which packets are captured: all that fit all of what is given.
struct CaptureFilter {
  std::optional<wire::Ipv4Address> subscriber{};
  std::optional<wire::Ipv4Address> nat{};
  std::optional<wire::Ipv4Address> remote{};
  std::optional<Protocol> protocol{};
  std::optional<std::uint32_t> spi{};
  bool dropped = false;                ///< only packets that are dropped
  std::optional<DropReason> reason{};  ///< ... for this reason

  friend bool operator==(const CaptureFilter&, const CaptureFilter&) = default;

  [[nodiscard]] bool fits(CaptureVerdict verdict, DropReason why) const {
    return !dropped || (verdict == CaptureVerdict::kDropped && why == reason.value_or(why));
  }
  [[nodiscard]] bool fits(const CapturedFlow& flow) const {
    const auto is_one_of = [](const std::optional<wire::Ipv4Address>& wanted, wire::Be32 a,
                              wire::Be32 b) {
      return !wanted || wanted->be() == a || wanted->be() == b;
    };
    // The NAT endpoint of the other subscriber is the remote side of a hairpinned packet.
    const wire::Be32 other_nat =
        flow.peer.address == wire::Be32{} ? flow.nat.address : flow.remote.address;
    if (!is_one_of(subscriber, flow.subscriber.address, flow.peer.address)) return false;
    if (!is_one_of(nat, flow.nat.address, other_nat)) return false;
    if (remote && remote->be() != flow.remote.address) return false;
    if (protocol && number_of(*protocol) != flow.protocol) return false;
    return !spi || (flow.protocol == kEsp && flow.spi.host() == *spi);
  }

 private:
  static constexpr std::uint8_t kEsp = 50;
  [[nodiscard]] static constexpr std::uint8_t number_of(Protocol protocol) {
    switch (protocol) {
      case Protocol::kTcp:
        return 6;
      case Protocol::kUdp:
        return 17;
      case Protocol::kIcmp:
        return 1;
      case Protocol::kEsp:
        break;
    }
    return kEsp;
  }
};

/// The bytes of the frame follow it.
struct CaptureRecord {
  std::uint32_t room;      ///< of the record in its ring
  std::uint32_t captured;  ///< bytes of the frame that are kept
  std::uint32_t length;    ///< of the frame
  InterfaceId interface;   ///< kNoInterface: none of the configuration
  bool received;           ///< else it is sent
  CaptureVerdict verdict;
  DropReason reason;   ///< of kDropped
  std::int64_t time;   ///< nanoseconds since 1970
  std::uint64_t lost;  ///< records of its ring that were lost before it
  CapturedFlow flow;

  [[nodiscard]] std::uint8_t* bytes() { return reinterpret_cast<std::uint8_t*>(this + 1); }
  [[nodiscard]] std::span<const std::uint8_t> frame() const {
    return {reinterpret_cast<const std::uint8_t*>(this + 1), captured};
  }
};

class CaptureRing {
 public:
  static constexpr std::size_t kCapacity = std::size_t{4} << 20;

  /// `capacity`: bytes, a power of two. All pages are touched here.
  explicit CaptureRing(std::size_t capacity = kCapacity) : units_(capacity / sizeof(Unit)) {}

  // ── the worker ────────────────────────────────────────────────────────────────────────────────

  /// The place of a record with so many bytes of its frame; `room`, `captured` and `lost` are set.
  /// nullptr: there is no room, and the record is lost.
  [[nodiscard]] CaptureRecord* add(std::uint32_t captured) {
    const std::uint64_t need = units_of(sizeof(CaptureRecord) + captured);
    const std::uint64_t at = next_ % units_.size();
    // A record does not go over the end: what is left there is skipped.
    const std::uint64_t skipped = at + need > units_.size() ? units_.size() - at : 0;
    if (next_ + skipped + need - begin_.load(std::memory_order_acquire) > units_.size()) {
      lost_.add();
      return nullptr;
    }
    if (skipped != 0) {
      mark(next_, skipped);
      next_ += skipped;
    }
    auto* const record = new (&units_[next_ % units_.size()]) CaptureRecord;
    record->room = static_cast<std::uint32_t>(need * sizeof(Unit));
    record->captured = captured;
    record->lost = lost_.get();
    next_ += need;
    return record;
  }
  /// Shows all that was added.
  void publish() { end_.store(next_, std::memory_order_release); }
  /// Frames that have come in.
  void saw(std::uint64_t frames) { seen_.add(frames); }
  /// The reader wants no more.
  [[nodiscard]] bool closed() const { return closed_.load(std::memory_order_relaxed); }

  // ── the reader ────────────────────────────────────────────────────────────────────────────────

  /// Gives the records to see(record), the oldest first, void ones left out; then their places are
  /// free.
  template <class See>
  void take(See&& see) {
    std::uint64_t at = begin_.load(std::memory_order_relaxed);
    const std::uint64_t end = end_.load(std::memory_order_acquire);
    while (at != end) {
      const Unit* const first = &units_[at % units_.size()];
      const std::uint32_t room = std::bit_cast<Head>(*first).room;
      if (std::bit_cast<Head>(*first).captured != kSkip) {
        const auto& record = *reinterpret_cast<const CaptureRecord*>(first);
        if (record.verdict != CaptureVerdict::kVoid) see(record);
      }
      at += room / sizeof(Unit);
    }
    begin_.store(at, std::memory_order_release);
  }
  void close() { closed_.store(true, std::memory_order_relaxed); }

  // ── any thread ────────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] std::uint64_t lost() const { return lost_.get(); }
  [[nodiscard]] std::uint64_t seen() const { return seen_.get(); }

 private:
  struct alignas(8) Unit {
    std::uint8_t bytes[8];
  };
  /// How a record begins, and a piece that is skipped.
  struct Head {
    std::uint32_t room;
    std::uint32_t captured;
  };
  static constexpr std::uint32_t kSkip = UINT32_MAX;
  static_assert(sizeof(CaptureRecord) % sizeof(Unit) == 0 && sizeof(Head) == sizeof(Unit));
  static_assert(offsetof(CaptureRecord, captured) == offsetof(Head, captured));

  static constexpr std::uint64_t units_of(std::uint64_t bytes) {
    return (bytes + sizeof(Unit) - 1) / sizeof(Unit);
  }
  void mark(std::uint64_t at, std::uint64_t units) {
    units_[at % units_.size()] =
        std::bit_cast<Unit>(Head{static_cast<std::uint32_t>(units * sizeof(Unit)), kSkip});
  }

  std::vector<Unit> units_;
  // The worker's.
  alignas(64) std::atomic<std::uint64_t> end_{0};
  std::uint64_t next_ = 0;  ///< behind what was added
  Counter lost_;
  Counter seen_;
  // The reader's.
  alignas(64) std::atomic<std::uint64_t> begin_{0};
  std::atomic<bool> closed_{false};
};

}  // namespace lsn::shared
