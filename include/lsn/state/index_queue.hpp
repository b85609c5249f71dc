// First come, first out, through objects that have indices: a gate's waiters, held packets.
//
// As in index_list.hpp the links (ListLinks) stand in the object and a function given by the
// caller, `links_of(index) -> ListLinks&`, finds them; the head stands in the queue's owner. An
// object can leave from the middle. To walk a queue and remove on the way, read `next` first.
#pragma once

#include <cstdint>

#include "lsn/state/index_list.hpp"
#include "lsn/state/none.hpp"

namespace lsn::state {

struct QueueHead {
  std::uint32_t first = kNone;
  std::uint32_t last = kNone;

  [[nodiscard]] bool empty() const { return first == kNone; }
};

/// Puts an object that is in no such queue behind all others.
template <class LinksOf>
void queue_push(QueueHead& head, std::uint32_t index, LinksOf&& links_of) {
  links_of(index) = ListLinks{.next = kNone, .prev = head.last};
  if (head.last != kNone) {
    links_of(head.last).next = index;
  } else {
    head.first = index;
  }
  head.last = index;
}

/// Takes an object out of the queue that it is in.
template <class LinksOf>
void queue_remove(QueueHead& head, std::uint32_t index, LinksOf&& links_of) {
  ListLinks& links = links_of(index);
  if (links.next != kNone) {
    links_of(links.next).prev = links.prev;
  } else {
    head.last = links.prev;
  }
  if (links.prev != kNone) {
    links_of(links.prev).next = links.next;
  } else {
    head.first = links.next;
  }
  links = ListLinks{};
}

/// Takes the first object out; the queue is not empty.
template <class LinksOf>
std::uint32_t queue_pop(QueueHead& head, LinksOf&& links_of) {
  const std::uint32_t index = head.first;
  queue_remove(head, index, links_of);
  return index;
}

}  // namespace lsn::state
