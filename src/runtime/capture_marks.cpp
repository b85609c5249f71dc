#include "lsn/runtime/capture_marks.hpp"

#include <algorithm>
#include <cstring>

namespace lsn::runtime {
namespace {

constexpr std::uint32_t kSectionHeader = 0x0A0D0D0A, kByteOrder = 0x1A2B3C4D, kEnhancedPacket = 6;
constexpr std::size_t kSectionFields = 16, kPacketFields = 20;
constexpr std::uint16_t kComment = 1, kApplication = 4, kFlags = 2;
constexpr std::uint32_t kLargestBlock = 1 << 20;
constexpr std::uint32_t kDirection = 3, kInbound = 1, kOutbound = 2;

std::size_t padded(std::size_t size) {
  return (size + 3) / 4 * 4;
}

}  // namespace

std::optional<CaptureMarks> CaptureMarks::open(const std::string& path) {
  CaptureMarks marks;
  marks.file_.reset(std::fopen(path.c_str(), "rb"));
  if (marks.file_ == nullptr || marks.read_block() != kSectionHeader ||
      marks.body_.size() < kSectionFields || marks.word(0) != kByteOrder ||
      !marks.option(kSectionFields, kApplication).starts_with("lsnd "))
    return std::nullopt;
  return marks;
}

std::optional<std::uint32_t> CaptureMarks::read_block() {
  std::uint32_t head[2] = {}, again = 0;  // type and length
  if (std::fread(head, sizeof head, 1, file_.get()) != 1) return std::nullopt;
  if (head[1] < sizeof head + sizeof again || head[1] > kLargestBlock) return std::nullopt;
  body_.resize(head[1] - sizeof head - sizeof again);
  if (!body_.empty() && std::fread(body_.data(), body_.size(), 1, file_.get()) != 1)
    return std::nullopt;
  if (std::fread(&again, sizeof again, 1, file_.get()) != 1) return std::nullopt;
  return head[0];
}

std::uint32_t CaptureMarks::word(std::size_t at) const {
  std::uint32_t value = 0;
  if (at + sizeof value <= body_.size()) std::memcpy(&value, body_.data() + at, sizeof value);
  return value;
}

std::string_view CaptureMarks::option(std::size_t begin, std::uint16_t code) const {
  for (std::size_t at = begin; at + 4 <= body_.size();) {
    std::uint16_t head[2];  // code and length
    std::memcpy(head, body_.data() + at, sizeof head);
    const std::size_t size = std::min<std::size_t>(head[1], body_.size() - at - sizeof head);
    if (head[0] == code) return {body_.data() + at + sizeof head, size};
    if (head[0] == 0) break;
    at += sizeof head + padded(size);
  }
  return {};
}

CaptureMarks::Mark CaptureMarks::next() {
  for (;;) {
    const auto type = read_block();
    if (!type) return Mark::kNone;
    if (*type != kEnhancedPacket) continue;
    const std::size_t options = kPacketFields + padded(word(12));
    const std::string_view flags = option(options, kFlags);
    std::uint32_t direction = 0;
    if (flags.size() == sizeof direction) std::memcpy(&direction, flags.data(), sizeof direction);
    if ((direction & kDirection) == kOutbound) return Mark::kSent;
    if ((direction & kDirection) != kInbound) return Mark::kNone;
    return option(options, kComment).starts_with("forwarded") ? Mark::kForwarded : Mark::kReceived;
  }
}

}  // namespace lsn::runtime
