// The ALG's events for the session log: creation and expiry of its sessions, SPIs in place of
// ports, and incidents for the operator.
//
// The worker writes, the control thread reads; a ring of fixed size, no lock. An event that finds
// the ring full is counted in `lost` and dropped: the log never holds up a packet.
#pragma once

#include <cstdint>

#include "lsn/shared/counters.hpp"
#include "lsn/shared/domain.hpp"
#include "lsn/shared/lossy_ring.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/wire/big_endian.hpp"
#include "lsn/wire/ike.hpp"

namespace lsn::shared {

enum class EventKind : std::uint8_t {
  kIkeSessionCreated,
  kIkeSessionEnded,
  kEspSessionCreated,
  kEspSpiLearned,  ///< the session has both SPIs now
  kEspSessionEnded,
  kTurnEnded,     ///< `detail`: CloseReason
  kSpiCollision,  ///< `spi_in` of `client`; `other` waited for its own
  kAhRefused,     ///< once per client
  kStateRemoved,  ///< a client's state went with its profile; `detail`: its ESP sessions
};

struct Event {
  EventKind kind;
  std::uint8_t why;  ///< of an ended session: AlgEnd (IKE) or SessionEnd (ESP)
  std::uint16_t profile;
  state::Ticks at;
  wire::Be32 client;
  wire::Be32 nat_ip;
  wire::Be32 server;
  wire::Be32 spi_out;  ///< zero: not known
  wire::Be32 spi_in;
  wire::Be32 other;
  wire::IkeSpi initiator;
  std::uint32_t detail;
  DomainId td;  ///< of the client
  DomainId other_td;
  ByDirection<std::uint64_t> packets;
  ByDirection<std::uint64_t> bytes;
};

using EventRing = LossyRing<Event, 4096>;

}  // namespace lsn::shared
