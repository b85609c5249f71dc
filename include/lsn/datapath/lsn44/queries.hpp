// How the control thread looks at sessions, subscribers, mappings and usage, and flushes sessions
// (shared/queries.hpp): each call a step through a table, slot by slot, within a budget.
#pragma once

#include <cstddef>

#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/queries.hpp"

namespace lsn::datapath {

struct Lsn44;

void list_sessions(Lsn44& shard, SessionPage& page, std::size_t budget);
void list_subscribers(Lsn44& shard, SubscriberPage& page, std::size_t budget);
void list_mappings(Lsn44& shard, MappingPage& page, std::size_t budget);
void list_missing_static_ports(Lsn44& shard, StaticPage& page, std::size_t budget);
void list_blocks(Lsn44& shard, BlockPage& page, std::size_t budget);
void survey_usage(Lsn44& shard, Usage& usage, std::size_t budget);
void flush_sessions(Lsn44& shard, SessionFlush& flush, std::size_t budget);

namespace lsn44 {

/// Looks up all that decides about one packet, but for an ALG's part. Returns the subscriber that
/// it is about, or state::kNone.
SubscriberId look_up(Lsn44& shard, Lookup& lookup);

}  // namespace lsn44

}  // namespace lsn::datapath
