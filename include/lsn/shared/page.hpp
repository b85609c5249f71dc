// Questions about objects of which there may be millions come in pages: a page visits at most a
// budget of slots from `cursor`, returns at most `limit` rows, and says where to go on. An object
// that lives through all pages is listed exactly once; one that begins or ends meanwhile, at most
// once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lsn::shared {

struct NoFilter {};

template <class Row, class Filter>
struct Page {
  Filter filter{};
  std::uint32_t cursor = 0;   ///< in: where to begin; out: where to go on
  bool finished = false;      ///< out: nothing is left
  std::uint32_t limit = 256;  ///< rows at most; the caller reserves them
  std::vector<Row> rows;
};

/// Visits slots from the cursor on, up to `end` (not included). False: out of budget, or the page
/// is full; the cursor says where to go on.
template <class Page, class Visit>
bool walk_page(Page& page, std::uint32_t end, std::size_t budget, Visit&& visit) {
  for (; page.cursor < end; ++page.cursor, --budget) {
    if (budget == 0 || page.rows.size() >= page.limit) return false;
    visit(page.cursor);
  }
  return true;
}

}  // namespace lsn::shared
