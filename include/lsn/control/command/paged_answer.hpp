// Answers that list the objects of all workers, worker by worker and page by page: the next page is
// asked for when the reader has taken the last one, so a reader costs a page of memory, however
// long the list and however slow the reader.
//
// A *writer* makes text of rows: begin(out), add(row, generation, out), end_page(out), end(out).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lsn/control/command/answer.hpp"

namespace lsn::control {

/// Rows of a page: some 200 KB while they are asked for, and as much text while they are read.
inline constexpr std::uint32_t kPageRows = 2048;

/// The pages of all workers, one after the other.
template <class Page>
class Pages {
 public:
  Pages(Dataplane& dataplane, decltype(Page::filter) filter, std::uint32_t size = kPageRows)
      : dataplane_(dataplane), filter_(std::move(filter)), size_(size) {}

  enum class Got : std::uint8_t { kPage, kWaiting, kEnd };

  /// kPage: `rows` are the next ones, some.
  Got next(decltype(Page::rows)& rows) {
    if (auto page = page_.take()) {
      rows = std::move(page->rows);
      if (page->finished) {
        ++shard_;
        next_ = Page{};
      } else {
        next_ = std::move(*page);
      }
      if (!rows.empty()) return Got::kPage;
    }
    if (shard_ == dataplane_.workers()) return Got::kEnd;
    if (!page_.asked()) {
      Page page = std::move(next_);
      page.filter = filter_;
      page.limit = size_;
      dataplane_.ask_for<Page>(shard_, std::move(page), page_.ask());
    }
    return Got::kWaiting;
  }

  /// Visits the rows of all pages that are there; whether those were all.
  template <class Visit>
  bool take(Visit&& visit) {
    decltype(Page::rows) rows;
    for (Got got; (got = next(rows)) != Got::kEnd;) {
      if (got == Got::kWaiting) return false;
      for (const auto& row : rows) visit(row);
    }
    return true;
  }

 private:
  Dataplane& dataplane_;
  decltype(Page::filter) filter_;
  std::uint32_t size_;
  unsigned shard_ = 0;
  Page next_{};  ///< where the shard's next page begins
  Awaited<Page> page_;
};

/// All rows, as they come.
template <class Page, class Writer>
class PagedAnswer final : public Answer {
 public:
  PagedAnswer(const CommandContext& context, decltype(Page::filter) filter, Writer writer)
      : context_(context),
        pages_(context.dataplane, std::move(filter)),
        writer_(std::move(writer)) {}

  Progress next(std::string& out) override {
    if (!begun_) {
      begun_ = true;
      writer_.begin(out);
      return Progress::kMore;
    }
    decltype(Page::rows) rows;
    switch (pages_.next(rows)) {
      case Got::kWaiting:
        return Progress::kWaiting;
      case Got::kPage:
        for (const auto& row : rows) writer_.add(row, context_.config.generation(), out);
        writer_.end_page(out);
        return Progress::kMore;
      case Got::kEnd:
        break;
    }
    writer_.end(out);
    return Progress::kDone;
  }

 private:
  using Got = typename Pages<Page>::Got;

  const CommandContext& context_;
  Pages<Page> pages_;
  Writer writer_;
  bool begun_ = false;
};

/// The rows with the highest keys, the highest first: `top` at most are kept.
template <class Page, class Writer>
class TopAnswer final : public Answer {
 public:
  using Row = typename decltype(Page::rows)::value_type;
  using Key = std::function<std::uint64_t(const Row&)>;

  TopAnswer(const CommandContext& context, decltype(Page::filter) filter, Writer writer,
            std::size_t top, Key key)
      : context_(context),
        pages_(context.dataplane, std::move(filter), kRowsLookedAt),
        writer_(std::move(writer)),
        top_(top),
        key_(std::move(key)) {}

  Progress next(std::string& out) override {
    if (!pages_.take([this](const Row& row) { keep(row); })) return Progress::kWaiting;
    std::sort_heap(kept_.begin(), kept_.end(), is_higher);
    writer_.begin(out);
    for (const auto& [key, row] : kept_) writer_.add(row, context_.config.generation(), out);
    writer_.end_page(out);
    writer_.end(out);
    return Progress::kDone;
  }

 private:
  /// A page per tick: ten million are seen in some seconds.
  static constexpr std::uint32_t kRowsLookedAt = 8 * kPageRows;
  using Kept = std::pair<std::uint64_t, Row>;

  static bool is_higher(const Kept& a, const Kept& b) { return a.first > b.first; }

  void keep(const Row& row) {
    const std::uint64_t key = key_(row);
    if (kept_.size() == top_) {
      if (kept_.front().first >= key) return;
      std::pop_heap(kept_.begin(), kept_.end(), is_higher);
      kept_.pop_back();
    }
    kept_.emplace_back(key, row);
    std::push_heap(kept_.begin(), kept_.end(), is_higher);
  }

  const CommandContext& context_;
  Pages<Page> pages_;
  Writer writer_;
  std::size_t top_;
  Key key_;
  std::vector<Kept> kept_;  ///< a heap, the lowest in front
};

}  // namespace lsn::control
