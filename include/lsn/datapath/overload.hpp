// An overloaded worker serves the packets of its sessions first.
//
// A worker that finds no end of its queues, poll after poll, takes fewer packets than come; its NIC
// drops the rest, of any flow. Drivers give less than was asked for where a ring wraps around, so
// now and then such a poll is no end; one that finds nothing is. A new session costs as much as
// several packets of an old one, so a flood of new flows (or of unsolicited packets) would take
// most of the core away from the sessions. While that lasts, packets of unknown flows get a third
// of the worker's time, by the time that creating a session takes; the others are dropped before
// anything is created for them, and counted (kOverload). A sender that retransmits comes again. An
// admitted packet is charged the time that it has taken, also if no session came of it: a refused
// flow, or a search for a port, is never cheaper here than on the core. It is time that is shared
// out and not packets, so that new flows have their third also where sessions have little traffic;
// if those have none no flow is held back. With a third, more than half of the established rate is
// left under a flood of one packet for each of theirs, refusing included (scripts/bench --only
// flood).
#pragma once

#include <algorithm>
#include <cstdint>

namespace lsn::datapath {

class Overload {
 public:
  /// Polls in a row that left packets behind before it counts as overload: a burst that fills the
  /// longest ring (4096 descriptors) is emptied by then.
  static constexpr unsigned kFullPolls = 128;
  /// Full polls that a partial one is worth: a ring of 512 descriptors wraps around every 16 polls.
  static constexpr unsigned kPartialPoll = 8;
  /// Clocks that a packet of an unknown flow is reckoned with, at least and beforehand
  /// (docs/performance.md: 700 to 1,300).
  static constexpr std::uint64_t kClocksPerNew = 1000;
  /// Of so many clocks one goes to unknown flows.
  static constexpr std::uint64_t kShare = 3;
  /// Bursts without a packet of any session before no flow is held back.
  static constexpr unsigned kRemembered = 64;

  /// The result of a poll of all queues: nothing, something, or from one of them as much as was
  /// asked for.
  enum class Poll : std::uint8_t { kEmpty, kPartial, kFull };

  /// Once per poll; `clocks` have gone by since the one before.
  void polled(Poll poll, std::uint64_t clocks) {
    if (poll == Poll::kFull) {
      full_polls_ = std::min(full_polls_ + 1, kFullPolls);
      is_full_ |= full_polls_ == kFullPolls;
    } else {
      full_polls_ -= poll == Poll::kEmpty ? full_polls_ : std::min(full_polls_, kPartialPoll);
      is_full_ &= full_polls_ >= kFullPolls / 2;
    }
    credit_ = std::min(credit_ + static_cast<std::int64_t>(clocks / kShare), kMaxCredit);
  }
  /// Once per burst: its packets of sessions.
  void forwarded(unsigned packets) {
    bursts_left_ = packets != 0 ? kRemembered : bursts_left_ - (bursts_left_ != 0 ? 1 : 0);
  }

  [[nodiscard]] bool is_on() const { return is_full_ && bursts_left_ != 0; }
  /// How many of unknown flows would be admitted now, of so many.
  [[nodiscard]] unsigned admissible(unsigned packets) const {
    if (!is_on()) return packets;
    return static_cast<unsigned>(
        std::clamp<std::int64_t>(credit_ / static_cast<std::int64_t>(kClocksPerNew), 0, packets));
  }
  /// Whether a packet of an unknown flow is.
  [[nodiscard]] bool admit() {
    if (!is_on()) return true;
    if (credit_ < static_cast<std::int64_t>(kClocksPerNew)) return false;
    credit_ -= static_cast<std::int64_t>(kClocksPerNew);
    ++admitted_;
    return true;
  }
  /// Packets that admit() has let in while it was on.
  [[nodiscard]] std::uint32_t admitted() const { return admitted_; }
  /// `packets` of them have taken `clocks`.
  void took(std::uint32_t packets, std::uint64_t clocks) {
    const std::uint64_t reckoned = packets * kClocksPerNew;
    if (clocks <= reckoned) return;
    // Time for which the core was taken away meanwhile is not theirs.
    credit_ -= static_cast<std::int64_t>(std::min(clocks - reckoned, kMaxExcess));
  }

 private:
  /// A burst of them.
  static constexpr std::int64_t kMaxCredit = 32 * kClocksPerNew;
  static constexpr std::uint64_t kMaxExcess = 1'000'000;

  unsigned full_polls_ = 0;
  bool is_full_ = false;
  unsigned bursts_left_ = 0;
  std::uint32_t admitted_ = 0;
  std::int64_t credit_ = 0;  ///< clocks; below zero where they took more than there was
};

}  // namespace lsn::datapath
