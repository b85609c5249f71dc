// Which cache lines of the tables the packet path reads or writes, to the line.
//
// The tables live in pages of this memory resource. While the packet path runs
// (support/path_guard.hpp says when), these may not be touched: an access faults; the line is
// noted, the page opened, the one instruction executed, the page closed again. Prefetches do not
// fault and do not count. Of an instruction that reaches into several lines of a page the first
// counts; tables are made of aligned lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>

#include "lsn/state/memory.hpp"

namespace lsn::test {

class LineTrace final : public state::ZeroedMemory {
 public:
  using Line = std::uintptr_t;  ///< its address

  LineTrace() = default;
  LineTrace(const LineTrace&) = delete;
  LineTrace& operator=(const LineTrace&) = delete;

  /// The lines that the packet path touches while `work` goes on. One thread, one trace at a time.
  std::set<Line> during(const std::function<void()>& work);

  [[nodiscard]] static Line line_of(const void* address);

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* address, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  state::PageMemory pages_{state::Pages::kSmall};
  std::map<std::uintptr_t, std::size_t> pieces_;  ///< whole pages: begin, bytes
};

}  // namespace lsn::test
