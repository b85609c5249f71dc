// Capture files: IPv4 packets with their times, out of pcap and pcapng files of Ethernet, raw IP or
// Linux' cooked links, and into pcap files of Ethernet. By libpcap.
#pragma once

#include <pcap/pcap.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lsn/runtime/capture_marks.hpp"

namespace lsn::runtime {

class CaptureReader {
 public:
  struct Packet {
    std::uint64_t number;            ///< of the frame in the file, from 1 as other tools count
    std::chrono::microseconds time;  ///< since 1970
    std::vector<std::uint8_t> ip;    ///< from the IPv4 header to the end of what was captured
    bool is_cut = false;             ///< the capture does not have all of it
    CaptureMarks::Mark mark = CaptureMarks::Mark::kNone;  ///< of a file of lsnd's own
  };

  /// Error: one line.
  [[nodiscard]] static std::expected<CaptureReader, std::string> open(const std::string& path);

  /// The next IPv4 packet; nothing: the file ends. Error: one line, the file is broken here.
  [[nodiscard]] std::expected<std::optional<Packet>, std::string> next();
  /// Frames so far that were no IPv4.
  [[nodiscard]] std::uint64_t others() const { return others_; }

 private:
  struct Close {
    void operator()(pcap_t* file) const { pcap_close(file); }
  };
  /// Where the IPv4 header begins in a frame; nothing: it has none.
  [[nodiscard]] std::optional<std::size_t> ip_offset(std::span<const std::uint8_t> frame) const;

  std::unique_ptr<pcap_t, Close> file_;
  std::optional<CaptureMarks> marks_;
  std::string path_;
  int link_ = 0;
  std::uint64_t frames_ = 0;
  std::uint64_t others_ = 0;
};

class CaptureWriter {
 public:
  /// Replaces the file. Error: one line.
  [[nodiscard]] static std::expected<CaptureWriter, std::string> open(const std::string& path);
  void write(std::chrono::microseconds time, std::span<const std::uint8_t> frame);
  /// Writes what is buffered. Error: one line, not all could be written.
  [[nodiscard]] std::expected<void, std::string> finish();

 private:
  struct Close {
    void operator()(pcap_dumper_t* file) const { pcap_dump_close(file); }
    void operator()(pcap_t* file) const { pcap_close(file); }
  };
  std::unique_ptr<pcap_t, Close> format_;
  std::unique_ptr<pcap_dumper_t, Close> file_;
  std::string path_;
};

}  // namespace lsn::runtime
