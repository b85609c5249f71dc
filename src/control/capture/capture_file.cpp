#include "lsn/control/capture/capture_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "lsn/control/append_whole.hpp"
#include "lsn/control/capture/capture_comment.hpp"
#include "lsn/control/capture/pcapng.hpp"

namespace lsn::control {
namespace {

constexpr mode_t kCaptureMode = 0640;  // subscribers' traffic is in it
constexpr auto kCaptureDirectoryMode = std::filesystem::perms::owner_all |
                                       std::filesystem::perms::group_read |
                                       std::filesystem::perms::group_exec;

/// The last directory of a path, if it is not there.
std::error_code make_directory(const std::string& directory) {
  std::error_code error;
  if (std::filesystem::create_directories(directory, error))
    std::filesystem::permissions(directory, kCaptureDirectoryMode, error);
  return error;
}

}  // namespace

std::vector<CaptureFile::Interface> CaptureFile::interfaces_of(const Model& model) {
  std::vector<Interface> all;
  for (const InterfaceConfig& interface : model.interfaces) {
    const std::string vlan = interface.vlan == 0 ? "" : fmt::format(", VLAN {}", interface.vlan);
    all.push_back(
        {interface.name, fmt::format("{}, {}{}", to_word(interface.role), interface.device, vlan)});
  }
  all.push_back({"lsnd", "no interface of the configuration, or not known any more"});
  return all;
}

std::expected<CaptureFile, std::string> CaptureFile::create(
    const std::string& directory, const std::string& name, const std::string& comment,
    const std::vector<Interface>& interfaces) {
  CaptureFile file;
  file.path_ = directory + '/' + name;
  if (const auto error = make_directory(directory))
    return std::unexpected(fmt::format("{}: {}", directory, error.message()));
  file.file_ = FileDescriptor(
      ::open(file.path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, kCaptureMode));
  if (!file.file_.valid())
    return std::unexpected(
        errno == EEXIST ? fmt::format("given {}, which exists, allowed a new file", file.path_)
                        : fmt::format("{}: {}", file.path_, strerror(errno)));
  std::string blocks;
  pcapng::begin_section(blocks, "lsnd " LSN_VERSION, comment);
  for (const Interface& interface : interfaces)
    pcapng::describe_interface(blocks, interface.name, interface.description,
                               shared::kCapturedBytes);
  file.interfaces_ = interfaces.size();
  if (auto written = file.append(blocks); !written) {
    unlink(file.path_.c_str());
    return std::unexpected(written.error());
  }
  return file;
}

void CaptureFile::format(const shared::CaptureRecord& record, std::uint64_t lost_before,
                         std::string& out) const {
  std::string comment = comment_of(record);
  if (lost_before != 0)
    comment += fmt::format(" ({} packet{} before it {} not written)", lost_before,
                           lost_before == 1 ? "" : "s", lost_before == 1 ? "was" : "were");
  const std::size_t none = interfaces_ - 1;
  pcapng::add_packet(
      out, {.interface = static_cast<std::uint32_t>(std::min<std::size_t>(record.interface, none)),
            .time = record.time,
            .length = record.length,
            .bytes = record.frame(),
            .way = record.received ? pcapng::Way::kInbound : pcapng::Way::kOutbound,
            .lost_before = lost_before,
            .comment = comment});
}

std::expected<void, std::string> CaptureFile::append(const std::string& blocks) {
  if (!append_whole(file_.get(), blocks, size_))
    return std::unexpected(fmt::format("{}: {}", path_, strerror(errno)));
  size_ += blocks.size();
  return {};
}

}  // namespace lsn::control
