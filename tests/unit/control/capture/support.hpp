// Workers that write what a test gives them, and a capture that is driven to its end.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lsn/control/capture/packet_capture.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {

class CapturingDataplane : public FakeDataplane {
 public:
  void start_capture(unsigned shard, std::shared_ptr<shared::CaptureRing> ring,
                     const shared::CaptureFilter& wanted, std::function<void()> done) override {
    rings.resize(workers());
    rings[shard] = std::move(ring);
    filter = wanted;
    done();
  }
  void stop_capture(unsigned shard, std::function<void()> done) override {
    ++stopped;
    if (shard < rings.size()) rings[shard].reset();
    done();
  }

  /// A worker writes a UDP packet of 192.0.2.10.
  bool put(unsigned shard, std::int64_t time = 1, std::size_t size = 60,
           shared::CaptureVerdict verdict = shared::CaptureVerdict::kForwarded) {
    shared::CaptureRing& ring = *rings[shard];
    ring.saw(1);
    if (ring.closed()) return false;
    shared::CaptureRecord* const record = ring.add(static_cast<std::uint32_t>(size));
    if (record == nullptr) return false;
    record->length = record->captured;
    record->interface = 0;
    record->received = true;
    record->verdict = verdict;
    record->reason = shared::DropReason::kFiltered;
    record->time = time;
    record->flow = {};
    record->flow.subscriber = {ip("192.0.2.10").be(), wire::Be16::of(4000)};
    record->flow.protocol = 17;
    record->flow.has_ports = true;
    std::memset(record->bytes(), 0x55, size);
    ring.publish();
    return true;
  }

  std::vector<std::shared_ptr<shared::CaptureRing>> rings;
  shared::CaptureFilter filter;
  unsigned stopped = 0;
};

/// The blocks of a pcapng file that a test can tell apart.
struct ReadBlock {
  std::uint32_t type;
  std::string body;

  [[nodiscard]] std::uint32_t word(std::size_t at) const {
    std::uint32_t value = 0;
    std::memcpy(&value, body.data() + at, sizeof value);
    return value;
  }
  /// Of an Enhanced Packet Block.
  [[nodiscard]] std::string comment() const {
    const std::size_t at = 20 + (word(12) + 3) / 4 * 4;
    std::uint16_t size = 0;
    std::memcpy(&size, body.data() + at + 2, sizeof size);
    return body.substr(at + 4, size);
  }
};
/// Fails if the file does not consist of whole blocks.
inline std::vector<ReadBlock> blocks_of(const std::string& path) {
  const std::string text = read_file(path);
  std::vector<ReadBlock> blocks;
  for (std::size_t at = 0; at < text.size();) {
    std::uint32_t type = 0, size = 0, again = 0;
    if (text.size() - at < 12) throw std::runtime_error("half a block");
    std::memcpy(&type, text.data() + at, 4);
    std::memcpy(&size, text.data() + at + 4, 4);
    if (size < 12 || size % 4 != 0 || size > text.size() - at)
      throw std::runtime_error("half a block");
    std::memcpy(&again, text.data() + at + size - 4, 4);
    if (size != again) throw std::runtime_error("the length behind a block is another one");
    blocks.push_back({type, text.substr(at + 8, size - 12)});
    at += size;
  }
  return blocks;
}
inline std::vector<ReadBlock> packets_of(const std::string& path) {
  std::vector<ReadBlock> packets = blocks_of(path);
  std::erase_if(packets, [](const ReadBlock& block) { return block.type != 6; });
  return packets;
}

}  // namespace lsn::control
