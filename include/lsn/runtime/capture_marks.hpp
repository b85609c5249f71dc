// What a file of `start capture` says of its packets beside their bytes, which libpcap does not
// give out: whether they came in or left, and whether they were forwarded.
//
// Such a file has each forwarded packet twice, as it came and as it left. A replay needs one of
// them: of those from outside the one that left inside, as another run has other NAT ports.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lsn::runtime {

class CaptureMarks {
 public:
  enum class Mark : std::uint8_t { kNone, kReceived, kForwarded, kSent };

  /// nullopt: it is no file of lsnd's, or of another byte order.
  [[nodiscard]] static std::optional<CaptureMarks> open(const std::string& path);
  /// Of the next packet of the file.
  [[nodiscard]] Mark next();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  /// The next block's type and what it has between its two lengths; nullopt: none.
  [[nodiscard]] std::optional<std::uint32_t> read_block();
  [[nodiscard]] std::uint32_t word(std::size_t at) const;
  /// The value of an option of the block that was read; empty: it has none.
  [[nodiscard]] std::string_view option(std::size_t begin, std::uint16_t code) const;

  std::unique_ptr<std::FILE, Close> file_;
  std::vector<char> body_;
};

}  // namespace lsn::runtime
