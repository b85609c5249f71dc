// An answer that lists what all workers have, worker by worker and page by page: the next page is
// asked for when the reader has taken the last one, so a reader costs a page of memory, however
// much there is and however slowly it reads.
//
// A *writer* makes text of rows: begin(out), add(row, generation, out), end_page(out), end(out).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "lsn/control/command/answer.hpp"

namespace lsn::control {

/// Rows of a page: some 200 KB while they are asked for, and as much text while they are read.
inline constexpr std::uint32_t kPageRows = 2048;

template <class Page, class Writer,
          void (Dataplane::*ask)(unsigned shard, Page page, std::function<void(Page)> done)>
class PagedAnswer final : public Answer {
 public:
  PagedAnswer(const CommandContext& context, decltype(Page::filter) filter, Writer writer)
      : context_(context), filter_(std::move(filter)), writer_(std::move(writer)) {}

  Progress next(std::string& out) override {
    if (!begun_) {
      begun_ = true;
      writer_.begin(out);
      return Progress::kMore;
    }
    if (auto page = page_.take()) {
      for (const auto& row : page->rows) writer_.add(row, context_.config.generation(), out);
      writer_.end_page(out);
      if (page->finished) {
        ++shard_;
        cursor_ = 0;
      } else {
        cursor_ = page->cursor;
      }
      if (!page->rows.empty()) return Progress::kMore;
    }
    if (shard_ == context_.dataplane.workers()) {
      writer_.end(out);
      return Progress::kDone;
    }
    if (!page_.asked()) {
      Page page;
      page.filter = filter_;
      page.cursor = cursor_;
      page.limit = kPageRows;
      page.rows.reserve(kPageRows);
      (context_.dataplane.*ask)(shard_, std::move(page), page_.ask());
    }
    return Progress::kWaiting;
  }

 private:
  const CommandContext& context_;
  decltype(Page::filter) filter_;
  Writer writer_;
  bool begun_ = false;
  unsigned shard_ = 0;
  std::uint32_t cursor_ = 0;
  Awaited<Page> page_;
};

}  // namespace lsn::control
