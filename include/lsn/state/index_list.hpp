// Doubly linked lists through objects that have indices: a subscriber's mappings, a mapping's
// sessions.
//
// The links stand in the object (or in a parallel array), the head in the list's owner; a function
// given by the caller, `links_of(index) -> ListLinks&`, finds them. An object can be on as many
// lists as it has links for. Push and remove touch the neighbours only; the order is last in, first
// out. To walk a list and remove on the way, read `next` before removing.
#pragma once

#include <cstdint>

#include "lsn/state/none.hpp"

namespace lsn::state {

struct ListLinks {
  std::uint32_t next = kNone;
  std::uint32_t prev = kNone;
};

struct ListHead {
  std::uint32_t first = kNone;

  [[nodiscard]] bool empty() const { return first == kNone; }
};

/// Puts an object that is on no such list in front.
template <class LinksOf>
void list_push(ListHead& head, std::uint32_t index, LinksOf&& links_of) {
  links_of(index) = ListLinks{.next = head.first, .prev = kNone};
  if (head.first != kNone) links_of(head.first).prev = index;
  head.first = index;
}

/// Takes an object off the list that it is on.
template <class LinksOf>
void list_remove(ListHead& head, std::uint32_t index, LinksOf&& links_of) {
  ListLinks& links = links_of(index);
  if (links.next != kNone) links_of(links.next).prev = links.prev;
  if (links.prev != kNone) {
    links_of(links.prev).next = links.next;
  } else {
    head.first = links.next;
  }
  links = ListLinks{};
}

}  // namespace lsn::state
