#include "lsn/datapath/lsn44/tcp.hpp"

#include <algorithm>

#include "lsn/wire/tcp.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using Trail = TcpTrail;
using wire::TcpHeader;

constexpr std::uint8_t kAnySyn = TcpFlags::kSynOutbound | TcpFlags::kSynInbound;
constexpr std::uint8_t kAnyFin = TcpFlags::kFinOutbound | TcpFlags::kFinInbound;

constexpr std::uint8_t kMaxScale = 14;  // RFC 7323 section 2.3

/// The window scale of a SYN's sender, as TcpTrail has it. The header has been checked.
std::uint8_t scale_of(const TcpHeader& tcp) {
  std::uint8_t scale = 0;
  wire::for_each_tcp_option(tcp, [&](std::uint8_t kind, std::span<const std::uint8_t> data) {
    if (kind == wire::kTcpOptionScale && data.size() == 1 && scale == 0)
      scale = static_cast<std::uint8_t>(std::min(data[0], kMaxScale) + 1);
  });
  return scale;
}

/// One side of a session's connection.
class TcpSide {
 public:
  TcpSide(Session& session, Direction direction)
      : session_(session),
        d_(static_cast<std::size_t>(direction)),
        syn(direction == Direction::kOutbound ? TcpFlags::kSynOutbound : TcpFlags::kSynInbound),
        fin(direction == Direction::kOutbound ? TcpFlags::kFinOutbound : TcpFlags::kFinInbound) {}

  [[nodiscard]] bool has(std::uint8_t trail) const {
    return (session_.bytes[d_].trail() & trail) != 0;
  }
  void add(std::uint8_t trail) {
    session_.bytes[d_].set_trail(static_cast<std::uint8_t>(session_.bytes[d_].trail() | trail));
  }
  void remove(std::uint8_t trail) {
    session_.bytes[d_].set_trail(static_cast<std::uint8_t>(session_.bytes[d_].trail() & ~trail));
  }
  [[nodiscard]] std::uint8_t scale() const { return session_.bytes[d_].trail() & Trail::kScale; }

  /// It acknowledges the data before that number, or is known to expect it next.
  void expect(std::uint32_t number) {
    session_.packets[d_].acknowledge(wire::Be32::of(number));
    add(Trail::kKnown);
  }
  /// Whether a number is a later one than it expects, or may be, as far as that is known.
  [[nodiscard]] bool may_be_later(std::uint32_t number) const {
    return !has(Trail::kKnown) || ahead(number) < 0x8000;
  }
  /// How far in front of the number that it expects another one lies, in steps of 64 KB modulo
  /// 2^32.
  [[nodiscard]] std::uint32_t ahead(std::uint32_t number) const {
    return static_cast<std::uint16_t>((number >> 16) - session_.packets[d_].acknowledged());
  }

 private:
  Session& session_;
  const std::size_t d_;

 public:
  const std::uint8_t syn;
  const std::uint8_t fin;
};

/// How far the largest window of `receiver` reaches, in steps of 64 KB: RFC 7323 section 2.2,
/// scaled if both sides have said so.
std::uint32_t reach(const TcpSide& receiver, const TcpSide& sender) {
  const bool scaled = receiver.scale() != 0 && sender.scale() != 0;
  return 1u << (scaled ? receiver.scale() - 1u : 0u);
}

/// Whether a number of `sender` is one that `receiver` would take: also if nothing is known of it.
bool in_window(const TcpSide& receiver, const TcpSide& sender, std::uint32_t number) {
  return !receiver.has(Trail::kKnown) || receiver.ahead(number) <= reach(receiver, sender);
}

/// The next SYN begins another connection.
void forget_connection(Session& session) {
  session.flags = static_cast<std::uint8_t>(session.flags & ~(kAnySyn | kAnyFin));
  for (ByteCount& bytes : session.bytes) bytes.set_trail(0);
}

}  // namespace

void take_over_tcp(Session& session) {
  for (const Direction direction : {Direction::kOutbound, Direction::kInbound})
    TcpSide(session, direction).add(Trail::kAcked);
  session.flags |= kAnySyn;
}

bool is_open(const Session& session) {
  return (session.flags & kAnySyn) == kAnySyn &&
         (session.bytes[0].trail() & session.bytes[1].trail() & Trail::kAcked) != 0;
}

bool is_reset(const Session& session) {
  return ((session.bytes[0].trail() | session.bytes[1].trail()) & Trail::kReset) != 0;
}

bool follow_tcp(Session& session, const Packet& packet, Direction direction) {
  const auto& tcp = *reinterpret_cast<const TcpHeader*>(packet.l4);
  const bool out = direction == Direction::kOutbound;
  TcpSide self(session, direction);
  TcpSide other(session, out ? Direction::kInbound : Direction::kOutbound);
  const SessionState before = state_of(session);
  const bool acks = (tcp.flags & TcpHeader::kAck) != 0;
  const std::uint32_t sequence = tcp.sequence.host(), acknowledgment = tcp.acknowledgment.host();

  // RFC 9293 section 3.10.7: an acknowledgment of data that was never sent is none. Before a
  // connection is open an outside host may have forged segments; the subscriber knows which it has
  // got.
  const bool is_acceptable =
      acks && (out || is_open(session) || in_window(self, other, acknowledgment));
  const auto acknowledge = [&] {
    if (!is_acceptable) return;
    self.expect(acknowledgment);
    if ((session.flags & other.syn) != 0) self.add(Trail::kAcked);
  };

  if ((tcp.flags & TcpHeader::kRst) != 0) {
    // RFC 9293 section 3.10.7.3: a side that has sent no SYN resets by acknowledging one.
    const bool refuses = !other.has(Trail::kKnown) && self.has(Trail::kKnown);
    if (refuses ? acks && self.ahead(acknowledgment) <= 1 : in_window(other, self, sequence))
      self.add(Trail::kReset);
  } else {
    const bool was_closing = before == SessionState::kClosing;
    const bool is_syn = (tcp.flags & TcpHeader::kSyn) != 0;
    // RFC 6191 section 2: its side would not take it either; an old duplicate, or forged.
    if (is_syn && !acks && !out && was_closing && !other.may_be_later(sequence)) return false;
    for (TcpSide* side : {&self, &other}) side->remove(Trail::kReset);
    if (is_syn) {
      const bool was_closed = was_closing || (session.flags & kAnyFin) != 0;
      if (acks ? was_closed && out : was_closing || (was_closed && out)) {
        forget_connection(session);
        if (acks) session.flags |= other.syn;  // which it answers
      }
      // RFC 5961 section 4: on an open connection a SYN changes nothing.
      if (!is_open(session) && (!acks || is_acceptable)) {
        other.expect(sequence + 1);
        self.remove(Trail::kScale);
        self.add(scale_of(tcp));
        session.flags |= self.syn;
        acknowledge();
      }
    } else {
      acknowledge();
      const auto payload = static_cast<std::uint32_t>(packet.l4_size) -
                           static_cast<std::uint32_t>(tcp.header_size());
      if ((tcp.flags & TcpHeader::kFin) != 0 && (session.flags & self.syn) != 0 &&
          in_window(other, self, sequence + payload))
        session.flags |= self.fin;
    }
  }
  const bool watched = !is_open(session) || is_reset(session);
  session.flags = static_cast<std::uint8_t>(watched ? session.flags | SessionFlags::kOffFastPath
                                                    : session.flags & ~SessionFlags::kOffFastPath);
  return state_of(session) != before;
}

}  // namespace lsn::datapath::lsn44
