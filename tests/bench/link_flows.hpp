// Flows through a box at a link: opened in a closed loop, run at the rate that the box takes, their
// packets judged when they come back.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "link.hpp"

namespace lsn::bench {

/// The packets that came back.
struct Tally {
  std::uint64_t received = 0;
  std::uint64_t checked = 0;
  std::uint64_t faults = 0;
  std::uint64_t strange = 0;  ///< of no flow
  std::string first_fault;
};

/// Unsolicited packets, mixed one to one with those of flows.
struct Flood {
  Side side;
  virtual void write(std::uint8_t* frame) = 0;
  explicit Flood(Side from) : side(from) {}
  virtual ~Flood() = default;
};

/// The flows of one kind (UDP, ESP) through one box.
class Flows {
 public:
  Flows(Link& link, Kind kind) : link_(link), kind_(kind) { make_frames(); }
  /// After the box's MAC addresses were learned.
  void make_frames();

  /// The first packets of flows [first, last): a window of them is unanswered at a time, each is
  /// sent again after some milliseconds, and all are answered from outside in the end. With
  /// `per_new`, so many bursts of random flows below `established` go with each burst of new ones.
  nlohmann::json open(std::uint32_t first, std::uint32_t last, std::uint32_t established = 0,
                      double per_new = 0, double rate = 0);

  /// Random flows below `flows`, as many packets as the box takes. `direction`: outbound, inbound,
  /// both. With a flood every other packet of its side is the flood's.
  nlohmann::json run(const std::string& direction, std::uint32_t flows, double seconds,
                     Flood* flood = nullptr);
  /// The same with frames of kImix' sizes.
  nlohmann::json run_imix(const std::string& direction, std::uint32_t flows, double seconds) {
    imix_ = true;
    nlohmann::json answer = run(direction, flows, seconds);
    imix_ = false;
    return answer;
  }

  /// Single outbound packets with random gaps of `gap` seconds on average: how long each was under
  /// way. If it `sleeps`, then while none is under way: others may have its CPU. Then it has each
  /// time, too.
  nlohmann::json latency(std::uint32_t flows, double gap, double seconds, bool sleeps = false);

  /// The NAT endpoint of a flow is known (ESP: from its tunnel).
  void learn(std::uint32_t number, const Endpoint& endpoint);
  [[nodiscard]] const Endpoint& nat_of(std::uint32_t number) const { return nat_.at(number); }
  [[nodiscard]] std::uint32_t known() const { return static_cast<std::uint32_t>(nat_.size()); }

 private:
  void need(std::uint32_t flows) const;
  void write_outbound(std::uint8_t* frame, std::uint32_t n) const;
  void write_inbound(std::uint8_t* frame, std::uint32_t n) const;
  void prepare(Pending& pending, Side side, std::uint32_t flows, Flood* flood);
  void answer(std::uint32_t first, std::uint32_t last);
  [[nodiscard]] bool is_ours(const std::uint8_t* frame) const {
    return get16(frame + 12) == 0x0800 && frame[kIpProtocol] == protocol_of(kind_);
  }
  void take(Side side, const std::uint8_t* frame, std::uint32_t size, Tally& tally);
  void check(Side side, const std::uint8_t* frame, std::uint32_t size, Tally& tally) const;

  Link& link_;
  Kind kind_;
  [[nodiscard]] std::uint16_t size_of(std::uint32_t n) const {
    return imix_ ? kImix[n % kImix.size()] : std::uint16_t{kFrameSize};
  }
  [[nodiscard]] const FrameMaker& maker_of(Side side, std::uint32_t n) const {
    const std::uint16_t size = size_of(n);
    return makers_[side][size == kFrameSize ? 0 : size == kImix.back() ? 2 : 1];
  }

  std::vector<FrameMaker> makers_[2];  ///< by size: 64 bytes, 594, 1,518
  bool imix_ = false;
  std::vector<Endpoint> nat_;
  Sequence sequence_;
  unsigned until_check_ = 0;
};

}  // namespace lsn::bench
