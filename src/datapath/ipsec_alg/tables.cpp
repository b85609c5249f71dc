#include "lsn/datapath/ipsec_alg/tables.hpp"

#include <algorithm>

namespace lsn::datapath::ipsec_alg {
namespace {

/// Every peer has an IKE session or an ESP session; those that only linger or dangle come on top.
std::uint32_t peer_capacity(const Capacity& capacity) {
  return capacity.ike_sessions + capacity.esp_sessions + capacity.gates;
}

std::uint32_t entries(std::uint64_t n) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(n, state::FlowTable::kMaxEntries));
}

/// Long-lived IKE sessions remember the rekeys of their children.
std::uint32_t exchange_capacity(const Capacity& capacity) {
  return entries(std::uint64_t{kAnsweredExchanges} * capacity.ike_sessions);
}

/// A held packet takes at least one piece; those that are on their way already take some more.
std::uint32_t held_capacity(const Capacity& capacity) {
  return capacity.held_bytes / HeldPiece::kSize + 256;
}

}  // namespace

Tables::Tables(const Capacity& capacity, std::uint32_t max_subscribers, state::Ticks now,
               const state::HashSecret& secret, state::ZeroedMemory* memory)
    : index(
          entries(std::uint64_t{capacity.gates} + peer_capacity(capacity) + capacity.ike_sessions),
          secret, memory),
      quoted(entries(2ull * capacity.esp_sessions), secret, memory),
      gates(capacity.gates, memory),
      histories(capacity.gates, memory),
      peers(peer_capacity(capacity), memory),
      ike_sessions(capacity.ike_sessions, memory),
      exchanges(exchange_capacity(capacity), memory),
      esp_sessions(capacity.esp_sessions, memory),
      waiters(held_capacity(capacity), memory),
      flights(held_capacity(capacity), memory),
      held(held_capacity(capacity), memory),
      held_pieces(held_capacity(capacity), memory),
      clients(max_subscribers, memory),
      gate_wheel(capacity.gates, now, memory),
      ike_wheel(capacity.ike_sessions, now, memory),
      waiter_wheel(held_capacity(capacity), now, memory),
      max_held_bytes(capacity.held_bytes) {}

}  // namespace lsn::datapath::ipsec_alg
