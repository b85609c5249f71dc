// Going through all that a subscriber has, a budget at a time (sweep.cpp, queries.cpp).
#pragma once

#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"

namespace lsn::datapath::lsn44 {

/// Where to go on in a subscriber's list of sessions. The one that was remembered may have ended
/// meanwhile: then from the beginning; a session that is visited twice was found good the first
/// time.
inline SessionId resume(const Tables& tables, SubscriberId subscriber, SessionId remembered) {
  if (remembered != state::kNone &&
      (tables.sessions[remembered].flags & SessionFlags::kInUse) != 0 &&
      tables.cold[remembered].subscriber == subscriber)
    return remembered;
  return tables.subscribers[subscriber].sessions.first;
}

inline MappingId resume_mapping(const Tables& tables, SubscriberId subscriber,
                                MappingId remembered) {
  if (remembered != state::kNone && tables.mappings[remembered].in_use != 0 &&
      tables.mappings[remembered].subscriber == subscriber)
    return remembered;
  return tables.subscribers[subscriber].mappings.first;
}

/// Shows all sessions and then all mappings of a subscriber, each of which the visitor may end.
/// `position` (GenerationSweep, SessionFlush) says where to go on. False: out of budget.
template <class Position, class VisitSession, class VisitMapping>
bool walk_subscriber(Lsn44& shard, SubscriberId id, Position& position, std::size_t& budget,
                     VisitSession&& visit_session, VisitMapping&& visit_mapping) {
  Tables& tables = shard.lsn44;
  const Subscriber& subscriber = tables.subscribers[id];
  if (!position.sessions_done) {
    for (SessionId session = resume(tables, id, position.next); session != state::kNone;) {
      if (budget == 0) {
        position.next = session;
        return false;
      }
      --budget;
      const SessionId next = tables.cold[session].of_subscriber.next;
      visit_session(session);
      if (subscriber.in_use == 0) break;  // that was all it had
      session = next;
    }
    position.sessions_done = true;
    position.next = state::kNone;
  }
  if (subscriber.in_use != 0) {
    for (MappingId mapping = resume_mapping(tables, id, position.next); mapping != state::kNone;) {
      if (budget == 0) {
        position.next = mapping;
        return false;
      }
      --budget;
      const MappingId next = tables.mappings[mapping].of_subscriber.next;
      visit_mapping(mapping);
      mapping = next;
    }
    release_subscriber(shard, id);
  }
  position.sessions_done = false;
  position.next = state::kNone;
  return true;
}

}  // namespace lsn::datapath::lsn44
