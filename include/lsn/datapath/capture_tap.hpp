// `start capture` on a worker: what it writes down of the packets that pass (shared/capture.hpp).
//
// One packet's way while a tap is on: received() keeps the beginning of each frame of a burst as it
// came in, under the name of its buffer; the packet path changes the frame in place. sending()
// finds it again by its buffer, so both sides of the translation are there: the ends of the one are
// the subscriber's, those of the other the NAT's. drop() in context.hpp calls dropped(). What is
// left over at end_burst() waits, or was for the NAT itself.
//
// A packet that is sent or dropped in a later burst than it came in (it waited for a next hop, for
// its fragments or for its turn) is on its own then: its session is looked up, for whom it
// concerns.
//
// Off it costs a test per burst and per drop. On it costs a copy of each frame's headers, of most
// frames' whole content; bytes that are not copied yet are read from the buffer, where nobody moves
// them.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lsn/datapath/context.hpp"
#include "lsn/shared/capture.hpp"

namespace lsn::datapath {

/// Where a frame was seen, and in which direction.
struct CapturePoint {
  Side side;        ///< whose addresses it has
  bool received;    ///< else it is sent
  DomainId td = 0;  ///< of an inside one
};

/// The ends of an IPv4 packet; of an ICMP error those of the packet that it quotes.
struct PacketEnds {
  wire::Endpoint source{};
  wire::Endpoint destination{};
  wire::Be32 spi{};
  std::uint8_t protocol = 0;
  bool has_ports = false;
  bool is_error = false;
  bool is_fragment = false;
};

/// This side's end of a packet, which is the subscriber's or the NAT's, and the remote one.
struct CapturedEnds {
  wire::Endpoint local;
  wire::Endpoint remote;
};
[[nodiscard]] CapturedEnds ends_at(const CapturePoint& point, const PacketEnds& ends);

class CaptureTap {
 public:
  /// Adds the subscriber's and the NAT's end to a flow of which one side has been seen, if there is
  /// a session or a mapping; whether there is a session.
  using FindSession = bool (*)(Context& shard, const CapturePoint& point, const PacketEnds& ends,
                               CapturedFlow& flow);
  /// Nanoseconds since 1970.
  using WallClock = std::int64_t (*)();

  CaptureTap(std::shared_ptr<CaptureRing> ring, const CaptureFilter& filter,
             FindSession find_session, WallClock clock = wall_clock);

  /// Frames that a device has received, of which nothing has been read.
  void received(const Context& shard, std::uint16_t device, std::span<rte_mbuf* const> frames);
  /// Frames that another worker has handed off.
  void taken_over(std::span<rte_mbuf* const> frames);
  /// A frame is dropped: its data begin at its link header, or at its IP header.
  void dropped(Context& shard, const rte_mbuf* frame, DropReason reason);
  /// A frame of the burst goes where it may be gone before the burst's end.
  void leaves(const rte_mbuf* frame);
  /// A packet goes on in fragments, which are sent as packets of their own.
  void cut(const Context& shard, const rte_mbuf* frame);
  /// Frames that another worker is given ...
  void handing_off(const Context& shard, std::span<rte_mbuf* const> frames);
  /// ... of which it has taken the first ones; the others are dropped.
  void handed_off(Context& shard, std::span<rte_mbuf* const> frames, std::size_t taken);
  /// Frames that a device is given, without the first `known` ones, that have waited for it ...
  void sending(Context& shard, std::uint16_t device, std::span<rte_mbuf* const> frames,
               std::size_t known = 0);
  /// ... and that cannot be given to it now, or ...
  void not_yet() { ring_->publish(); }
  /// ... of which it has taken the first ones; the others are dropped for a reason.
  void sent(Context& shard, std::span<rte_mbuf* const> frames, std::size_t taken,
            DropReason reason);
  /// All of a burst was sent, handed off, dropped, or stays.
  void end_burst(Context& shard);

  [[nodiscard]] static std::int64_t wall_clock();

 private:
  /// Bytes of a frame that are kept when it comes: all that a translation may change, or nearly
  /// any whole frame that may be gone at the burst's end.
  static constexpr std::uint32_t kHead = 192, kWhole = 2048;

  struct Received {
    const rte_mbuf* buffer = nullptr;  ///< nullptr: written, or handed off
    InterfaceId interface = kNoInterface;
    std::uint16_t data_off = 0;  ///< of the buffer then
    std::uint32_t length = 0;    ///< of the frame, without padding
    std::uint32_t kept = 0;      ///< bytes in heads_
    std::uint32_t ip_at = 0;     ///< 0: no IPv4
    bool is_inner = false;       ///< between two subscribers: the other worker has written it
  };
  /// A frame's bytes: the first ones were kept, the others are in its buffer.
  struct Bytes {
    std::span<const std::uint8_t> head;
    const rte_mbuf* rest = nullptr;  ///< from its `rest_at` on
    std::uint32_t rest_at = 0;
    std::uint32_t length = 0;
  };
  struct Seen {
    std::int64_t time;
    InterfaceId interface;
    bool received;
    CaptureVerdict verdict;
    DropReason reason = DropReason::kFrameMalformed;
  };
  /// What sending() has written of a frame.
  struct Written {
    CaptureRecord* came = nullptr;
    CaptureRecord* left = nullptr;
    std::uint32_t entry = 0;  ///< of burst_, if `paired`
    bool paired = false;
  };

  void keep(rte_mbuf* frame, InterfaceId interface, bool is_inner);
  [[nodiscard]] Received* find(const rte_mbuf* buffer);
  [[nodiscard]] std::span<const std::uint8_t> head_of(const Received& entry) const;
  [[nodiscard]] Bytes bytes_of(const Received& entry, const rte_mbuf* buffer) const;
  /// Whether it is an IPv4 packet of one of the interfaces.
  [[nodiscard]] static bool has_flow(const Received& entry) {
    return entry.ip_at != 0 && entry.interface != kNoInterface;
  }
  [[nodiscard]] PacketEnds ends_of(const Received& entry) const;
  [[nodiscard]] CapturePoint point_of(const Context& shard, const Received& entry) const;
  /// The flow of a frame as it came, by itself, or by its session as well.
  [[nodiscard]] CapturedFlow flow_of(const Context& shard, const Received& entry) const;
  [[nodiscard]] CapturedFlow look_up(Context& shard, const Received& entry) const;
  /// ... of one that is not in the burst.
  [[nodiscard]] CapturedFlow look_up(Context& shard, const PacketEnds& ends) const;
  /// Whether a packet that is sent is the one that had come: another may have got its buffer.
  [[nodiscard]] bool is_same(const Received& entry, const rte_mbuf& frame,
                             std::uint32_t ip_begin) const;
  void write_sent(Context& shard, InterfaceId interface, const rte_mbuf* frame, Written& written);
  CaptureRecord* write(const Bytes& bytes, const CapturedFlow& flow, const Seen& seen);

  std::shared_ptr<CaptureRing> ring_;
  CaptureFilter filter_;
  FindSession find_session_;
  WallClock clock_;
  std::int64_t came_ = 0;    ///< when the burst came
  std::int64_t leaves_ = 0;  ///< when sending() began
  std::vector<Received> burst_;
  std::size_t next_ = 0;  ///< where find() begins: frames leave in the order in which they came
  std::vector<std::uint8_t> heads_;
  std::vector<Written> written_;
};

}  // namespace lsn::datapath
