#include "lsn/datapath/lsn44/tables.hpp"

#include <algorithm>

namespace lsn::datapath::lsn44 {
namespace {

// Tables that go with a table of sessions. Subscribers and mappings cannot outnumber sessions by
// much: each is created together with one. Mappings outlive theirs (stuntimeout), so there is room
// for as many again; untouched room costs nothing.
std::uint32_t mapping_capacity(std::uint32_t max_sessions) {
  return max_sessions;
}
std::uint32_t subscriber_capacity(std::uint32_t max_sessions) {
  return std::max<std::uint32_t>(max_sessions / 2, 1024);
}
// A block serves several sessions, nearly always.
std::uint32_t block_capacity(std::uint32_t max_sessions) {
  return std::max<std::uint32_t>(max_sessions / 4, 1024);
}
// A mapping has two keys.
std::uint32_t mapping_key_capacity(std::uint32_t max_sessions) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(2ull * max_sessions, state::FlowTable::kMaxEntries));
}

}  // namespace

Tables::Tables(std::uint32_t max_sessions, state::Ticks now, const state::HashSecret& secret,
               const TableMemories& memories)
    : outbound(max_sessions, secret, memories.sessions),
      inbound(max_sessions, secret, memories.sessions),
      sessions(max_sessions, memories.sessions),
      cold(max_sessions, memories.sessions),
      session_wheel(max_sessions, now, memories.sessions),
      mapping_index(mapping_key_capacity(max_sessions), secret, memories.mappings),
      mappings(mapping_capacity(max_sessions), memories.mappings),
      mapping_wheel(mapping_capacity(max_sessions), now, memories.mappings),
      permission_index(max_sessions, secret, memories.rest),
      permissions(max_sessions, memories.rest),
      subscriber_index(subscriber_capacity(max_sessions), secret, memories.rest),
      subscribers(subscriber_capacity(max_sessions), memories.rest),
      session_buckets(subscriber_capacity(max_sessions), memories.rest),
      blocks(block_capacity(max_sessions), memories.rest),
      block_wheel(block_capacity(max_sessions), now, memories.rest) {}

}  // namespace lsn::datapath::lsn44
