#include "lsn/control/capture/pcapng.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace lsn::control::pcapng {
namespace {

constexpr std::uint32_t kSectionHeader = 0x0A0D0D0A, kInterfaceDescription = 1, kEnhancedPacket = 6;
constexpr std::uint32_t kByteOrder = 0x1A2B3C4D;
constexpr std::uint16_t kEthernet = 1;

// Options, each within its block.
constexpr std::uint16_t kEnd = 0, kComment = 1;
constexpr std::uint16_t kApplication = 4;                                  // shb_userappl
constexpr std::uint16_t kName = 2, kDescription = 3, kTimeResolution = 9;  // if_...
constexpr std::uint16_t kFlags = 2, kDropCount = 4;                        // epb_...
constexpr std::uint8_t kNanoseconds = 9;                                   // as a power of ten

/// A block that is being written: its length is known at its end.
class Block {
 public:
  Block(std::string& out, std::uint32_t type) : out_(out), begin_(out.size()) {
    put(type);
    put(std::uint32_t{0});
  }

  template <class T>
  void put(T value) {
    const std::size_t at = out_.size();
    out_.resize(at + sizeof value);
    std::memcpy(out_.data() + at, &value, sizeof value);
  }
  /// With zeros up to a whole unit.
  void put_padded(std::string_view bytes) {
    out_ += bytes;
    out_.append((4 - bytes.size() % 4) % 4, '\0');
  }
  void option(std::uint16_t code, std::string_view value) {
    value = value.substr(0, UINT16_MAX);
    put(code);
    put(static_cast<std::uint16_t>(value.size()));
    put_padded(value);
  }
  template <class T>
  void number(std::uint16_t code, T value) {
    option(code, {reinterpret_cast<const char*>(&value), sizeof value});
  }
  void end() {
    put(kEnd);
    put(std::uint16_t{0});
    const auto length = static_cast<std::uint32_t>(out_.size() - begin_ + sizeof(std::uint32_t));
    put(length);
    std::memcpy(out_.data() + begin_ + sizeof(std::uint32_t), &length, sizeof length);
  }

 private:
  std::string& out_;
  std::size_t begin_;
};

}  // namespace

void begin_section(std::string& out, std::string_view application, std::string_view comment) {
  Block block(out, kSectionHeader);
  block.put(kByteOrder);
  block.put(std::uint16_t{1});  // version 1.0
  block.put(std::uint16_t{0});
  block.put(std::int64_t{-1});  // the section's length is not given
  block.option(kComment, comment);
  block.option(kApplication, application);
  block.end();
}

void describe_interface(std::string& out, std::string_view name, std::string_view description,
                        std::uint32_t snap_length) {
  Block block(out, kInterfaceDescription);
  block.put(kEthernet);
  block.put(std::uint16_t{0});
  block.put(snap_length);
  block.option(kName, name);
  block.option(kDescription, description);
  block.number(kTimeResolution, kNanoseconds);
  block.end();
}

void add_packet(std::string& out, const Packet& packet) {
  Block block(out, kEnhancedPacket);
  block.put(packet.interface);
  const auto time = static_cast<std::uint64_t>(packet.time);
  block.put(static_cast<std::uint32_t>(time >> 32));
  block.put(static_cast<std::uint32_t>(time));
  block.put(static_cast<std::uint32_t>(packet.bytes.size()));
  block.put(packet.length);
  block.put_padded({reinterpret_cast<const char*>(packet.bytes.data()), packet.bytes.size()});
  block.option(kComment, packet.comment);
  block.number(kFlags, static_cast<std::uint32_t>(packet.way));
  if (packet.lost_before != 0) block.number(kDropCount, packet.lost_before);
  block.end();
}

}  // namespace lsn::control::pcapng
