#include "lsn/runtime/capture_file.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "lsn/control/config/problem.hpp"

namespace lsn::runtime {
namespace {

constexpr int kSnapLength = 65535 + 64;
constexpr std::uint16_t kIpv4 = 0x0800;

std::uint16_t word(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

/// Behind an Ethernet header and up to two VLAN tags.
std::optional<std::size_t> behind_ethernet(std::span<const std::uint8_t> frame) {
  std::size_t at = 12;
  for (int tags = 0; tags <= 2 && frame.size() >= at + 2; ++tags, at += 4) {
    const std::uint16_t type = word(frame, at);
    if (type == kIpv4) return at + 2;
    if (type != 0x8100 && type != 0x88A8) break;
  }
  return std::nullopt;
}

constexpr std::string_view kCapture = "a capture file (pcap, pcapng) that can be read";

std::string link_name(int link) {
  const char* const name = pcap_datalink_val_to_name(link);
  return name == nullptr ? fmt::format("{}", link) : std::string(name);
}

std::string no_file(const std::string& path, int error) {
  return control::complaint(path, std::strerror(error), "a file that can be written");
}

}  // namespace

std::expected<CaptureReader, std::string> CaptureReader::open(const std::string& path) {
  std::array<char, PCAP_ERRBUF_SIZE> error{};
  CaptureReader reader;
  reader.path_ = path;
  reader.file_.reset(pcap_open_offline_with_tstamp_precision(
      path.c_str(), PCAP_TSTAMP_PRECISION_MICRO, error.data()));
  if (reader.file_ == nullptr) {
    // libpcap's reason may have the path in front.
    std::string_view why = error.data();
    if (const std::string named = path + ": "; why.starts_with(named))
      why.remove_prefix(named.size());
    return std::unexpected(control::complaint(path, why, kCapture));
  }
  reader.marks_ = CaptureMarks::open(path);
  reader.link_ = pcap_datalink(reader.file_.get());
  switch (reader.link_) {
    case DLT_EN10MB:
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_LINUX_SLL:
    case DLT_LINUX_SLL2:
    case DLT_NULL:
      return reader;
    default:
      return std::unexpected(
          control::complaint(path, fmt::format("link type {}", link_name(reader.link_)),
                             "Ethernet, raw IP, Linux cooked or BSD loopback"));
  }
}

std::expected<std::optional<CaptureReader::Packet>, std::string> CaptureReader::next() {
  for (;;) {
    pcap_pkthdr* header = nullptr;
    const u_char* bytes = nullptr;
    const int result = pcap_next_ex(file_.get(), &header, &bytes);
    if (result == PCAP_ERROR_BREAK) return std::nullopt;
    if (result != 1)
      return std::unexpected(control::complaint(fmt::format("{}: behind frame {}", path_, frames_),
                                                pcap_geterr(file_.get()),
                                                "a whole frame or the end"));
    ++frames_;
    const auto mark = marks_ ? marks_->next() : CaptureMarks::Mark::kNone;
    const std::span<const std::uint8_t> frame(bytes, header->caplen);
    const auto at = ip_offset(frame);
    if (!at || frame.size() < *at + 20 || frame[*at] >> 4 != 4) {
      ++others_;
      continue;
    }
    Packet packet{
        frames_,
        std::chrono::seconds{header->ts.tv_sec} + std::chrono::microseconds{header->ts.tv_usec},
        {frame.begin() + static_cast<std::ptrdiff_t>(*at), frame.end()}};
    packet.mark = mark;
    packet.is_cut = word(packet.ip, 2) > packet.ip.size();
    // Ethernet's padding is no part of it.
    if (!packet.is_cut) packet.ip.resize(std::max<std::size_t>(word(packet.ip, 2), 20));
    return packet;
  }
}

std::optional<std::size_t> CaptureReader::ip_offset(std::span<const std::uint8_t> frame) const {
  switch (link_) {
    case DLT_EN10MB:
      return behind_ethernet(frame);
    case DLT_LINUX_SLL:
      return frame.size() >= 16 && word(frame, 14) == kIpv4 ? std::optional<std::size_t>{16}
                                                            : std::nullopt;
    case DLT_LINUX_SLL2:
      return frame.size() >= 20 && word(frame, 0) == kIpv4 ? std::optional<std::size_t>{20}
                                                           : std::nullopt;
    case DLT_NULL:
      return 4;
    default:
      return 0;
  }
}

std::expected<CaptureWriter, std::string> CaptureWriter::open(const std::string& path) {
  CaptureWriter writer;
  writer.path_ = path;
  writer.format_.reset(pcap_open_dead(DLT_EN10MB, kSnapLength));
  writer.file_.reset(pcap_dump_open(writer.format_.get(), path.c_str()));
  if (writer.file_ == nullptr) return std::unexpected(no_file(path, errno));
  return writer;
}

void CaptureWriter::write(std::chrono::microseconds time, std::span<const std::uint8_t> frame) {
  pcap_pkthdr header{};
  header.ts.tv_sec = time.count() / 1'000'000;
  header.ts.tv_usec = time.count() % 1'000'000;
  header.caplen = header.len = static_cast<bpf_u_int32>(frame.size());
  pcap_dump(reinterpret_cast<u_char*>(file_.get()), &header, frame.data());
}

std::expected<void, std::string> CaptureWriter::finish() {
  if (pcap_dump_flush(file_.get()) == 0 && std::ferror(pcap_dump_file(file_.get())) == 0) return {};
  return std::unexpected(no_file(path_, errno));
}

}  // namespace lsn::runtime
