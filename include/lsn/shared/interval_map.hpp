// Which of many ranges a number falls into: client networks, routes, NAT addresses, port profiles.
//
// Built once from ranges that may lie inside one another or overlap: where several cover a number
// the narrowest wins (longest prefix, most specific port range), among equally wide ones the first
// added. The result is a list of disjoint ranges that is searched by halving: built by the control
// thread, read by all, no updates. A packet that has a session never comes here.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lsn::shared {

template <class Value>
class IntervalMap {
 public:
  struct Range {
    std::uint32_t first;
    std::uint32_t last;  ///< belongs to it
    Value value;

    friend bool operator==(const Range&, const Range&) = default;
  };

  IntervalMap() = default;

  /// Flattens the ranges as above; first <= last in each.
  explicit IntervalMap(std::vector<Range> ranges) {
    const auto by_first = [](const Range& a, const Range& b) { return a.first < b.first; };
    // Tens of thousands of single addresses are already flat.
    if (!std::is_sorted(ranges.begin(), ranges.end(), by_first)) {
      std::vector<Range> sorted = ranges;
      std::sort(sorted.begin(), sorted.end(), by_first);
      if (is_disjoint(sorted)) ranges = std::move(sorted);
    }
    if (!is_disjoint(ranges)) ranges = flatten(std::move(ranges));
    firsts_.reserve(ranges.size());
    for (const Range& range : ranges) firsts_.push_back(range.first);
    ranges_ = std::move(ranges);
  }

  /// The value of the range that the number is in, or nullptr.
  [[nodiscard]] const Value* find(std::uint32_t number) const {
    const Range* range = find_range(number);
    return range == nullptr ? nullptr : &range->value;
  }

  /// The disjoint piece that the number is in, or nullptr.
  [[nodiscard]] const Range* find_range(std::uint32_t number) const {
    // Branch-free halving: the compiler turns the choice into a conditional move.
    const std::uint32_t* base = firsts_.data();
    std::size_t size = firsts_.size();
    if (size == 0) return nullptr;
    while (size > 1) {
      const std::size_t half = size / 2;
      base = base[half] <= number ? base + half : base;
      size -= half;
    }
    const Range& range = ranges_[static_cast<std::size_t>(base - firsts_.data())];
    return range.first <= number && number <= range.last ? &range : nullptr;
  }

  /// Disjoint, in ascending order.
  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  friend bool operator==(const IntervalMap& a, const IntervalMap& b) {
    return a.ranges_ == b.ranges_;
  }

  /// Whether both give every number the same value (and in the same pieces).
  friend bool operator==(const IntervalMap&, const IntervalMap&)
    requires std::equality_comparable<Value>
  = default;

 private:
  /// Ascending, and no two share a number.
  static bool is_disjoint(const std::vector<Range>& ranges) {
    return std::adjacent_find(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
             return a.last >= b.first;
           }) == ranges.end();
  }

  static std::vector<Range> flatten(std::vector<Range> ranges) {
    std::stable_sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
      return a.last - a.first < b.last - b.first;
    });
    // Narrow ones first; each later one fills the gaps that are left within it.
    std::vector<Range> flat;
    for (const Range& range : ranges) {
      std::vector<Range> pieces;
      std::uint64_t at = range.first;
      auto taken =
          std::lower_bound(flat.begin(), flat.end(), range.first,
                           [](const Range& r, std::uint32_t value) { return r.last < value; });
      for (; taken != flat.end() && taken->first <= range.last; ++taken) {
        if (at < taken->first)
          pieces.push_back({static_cast<std::uint32_t>(at), taken->first - 1, range.value});
        at = std::uint64_t{taken->last} + 1;
      }
      if (at <= range.last)
        pieces.push_back({static_cast<std::uint32_t>(at), range.last, range.value});
      const auto middle = static_cast<std::ptrdiff_t>(flat.size());
      flat.insert(flat.end(), pieces.begin(), pieces.end());
      std::inplace_merge(flat.begin(), flat.begin() + middle, flat.end(),
                         [](const Range& a, const Range& b) { return a.first < b.first; });
    }
    return flat;
  }

  std::vector<std::uint32_t> firsts_;
  std::vector<Range> ranges_;
};

}  // namespace lsn::shared
