#include "lsn/datapath/lsn44/tables.hpp"

#include <algorithm>

namespace lsn::datapath::lsn44 {
namespace {

// What a table of sessions brings along. Subscribers and mappings cannot outnumber sessions by
// much: each is made together with one. Mappings outlive theirs (stuntimeout), so there is room for
// as many again; untouched room costs nothing.
std::uint32_t mapping_capacity(std::uint32_t max_sessions) { return max_sessions; }
std::uint32_t subscriber_capacity(std::uint32_t max_sessions) {
  return std::max<std::uint32_t>(max_sessions / 2, 1024);
}
// A mapping has two keys, and each session may add a permission.
std::uint32_t mapping_key_capacity(std::uint32_t max_sessions) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(3ull * max_sessions, state::FlowTable::kMaxEntries));
}

}  // namespace

Tables::Tables(std::uint32_t max_sessions, state::Ticks now, const state::HashSecret& secret,
               state::ZeroedMemory* memory, state::ZeroedMemory* session_memory)
    : outbound(max_sessions, secret, session_memory),
      inbound(max_sessions, secret, session_memory),
      sessions(max_sessions, session_memory),
      cold(max_sessions, session_memory),
      session_wheel(max_sessions, now, session_memory),
      mapping_index(mapping_key_capacity(max_sessions), secret, memory),
      mappings(mapping_capacity(max_sessions), memory),
      permissions(max_sessions, memory),
      mapping_wheel(mapping_capacity(max_sessions), now, memory),
      subscriber_index(subscriber_capacity(max_sessions), secret, memory),
      subscribers(subscriber_capacity(max_sessions), memory) {}

}  // namespace lsn::datapath::lsn44
