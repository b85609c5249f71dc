// How the control thread looks at the ALG's sessions and gates, and flushes them
// (shared/alg_queries.hpp): each call a step through a table, slot by slot, within a budget.
#pragma once

#include <cstddef>

#include "lsn/datapath/ipsec_alg/tables.hpp"
#include "lsn/shared/alg_queries.hpp"

namespace lsn::datapath {

struct IpsecAlg;

void list_esp_sessions(IpsecAlg& shard, EspPage& page, std::size_t budget);
void list_ike_sessions(IpsecAlg& shard, IkePage& page, std::size_t budget);
void list_gates(IpsecAlg& shard, GatePage& page, std::size_t budget);
/// Pairs that speak raw ESP though one of them could do NAT-Traversal, or whose turns keep ending
/// by their deadline.
void list_advice(IpsecAlg& shard, AdvicePage& page, std::size_t budget);
void flush_alg(IpsecAlg& shard, AlgFlush& flush, std::size_t budget);

namespace ipsec_alg {

/// The ALG's state of a client (zero: only of the NAT address), a NAT address (zero: the client's)
/// and a server; `spi` inbound.
[[nodiscard]] AlgLookup look_up(const IpsecAlg& shard, const InsideAddress& client,
                                wire::Be32 nat_ip, wire::Be32 server, Spi spi);

}  // namespace ipsec_alg

}  // namespace lsn::datapath
