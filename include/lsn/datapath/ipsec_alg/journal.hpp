// What the ALG has of state that a restart must not lose (design 6.4, warm restart):
// written as it changes, listed in steps, and restored before the first packet. Profiles with
// connfailover DISABLED are in no record.
#pragma once

#include "lsn/datapath/shard.hpp"

namespace lsn::datapath::ipsec_alg {

/// Something about it has changed, or it has gone.
void note_esp_session(Shard& shard, EspId id, bool gone);
/// `udp`: the session of the message that is the reason, which saves looking for it.
void note_ike_session(Shard& shard, IkeId id, bool gone, const lsn44::Session* udp = nullptr);
/// An exchange that may still bring an inbound SPI: it is neither settled nor forgotten.
void note_exchange(Shard& shard, ExchangeId id, bool gone);
/// The UDP mapping of one of a peer's inside ports is kept from now on.
void note_mapping(Shard& shard, PeerId peer, wire::Be16 inside_port);
/// ... or no longer.
void note_mapping_gone(Shard& shard, PeerId peer, wire::Be16 inside_port);

}  // namespace lsn::datapath::ipsec_alg
