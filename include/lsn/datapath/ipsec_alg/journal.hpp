// The ALG's state that a restart must not lose (design 6.4, warm restart): written as it changes,
// listed in steps, and restored before the first packet. Profiles with connfailover DISABLED are in
// no record.
#pragma once

#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"

namespace lsn::datapath::ipsec_alg {

/// Something about it has changed, or it has gone.
void note_esp_session(IpsecAlg& shard, EspId id, bool gone);
/// `udp`: the session of the message that is the reason, which saves looking for it.
void note_ike_session(IpsecAlg& shard, IkeId id, bool gone, const lsn44::Session* udp = nullptr);
/// An exchange that may still bring an inbound SPI: it is neither settled nor forgotten.
void note_exchange(IpsecAlg& shard, ExchangeId id, bool gone);
/// The UDP mapping of one of a peer's inside ports is kept from now on.
void note_mapping(IpsecAlg& shard, PeerId peer, wire::Be16 inside_port);
/// ... or no longer.
void note_mapping_gone(IpsecAlg& shard, PeerId peer, wire::Be16 inside_port);

}  // namespace lsn::datapath::ipsec_alg

namespace lsn::datapath {

/// All that a restart must not lose, in pages.
void list_state(IpsecAlg& shard, StatePage& page, std::size_t budget);

/// Before the first packet, after the first generation: restores a record of the process before
/// this one (warm restart). False: it does not hold any more, or there is no room. After the last
/// record: finish_restoring().
[[nodiscard]] bool restore_state(IpsecAlg& shard, const StateRecord& record);
void finish_restoring(IpsecAlg& shard);

}  // namespace lsn::datapath
