// The file of a capture: pcapng, with an interface for each of the configuration and one more for
// packets of which it is not known where they came in.
//
// It lies in control.captureDirectory, which is made if it is not there; a file that exists is left
// alone. What is written are whole blocks, at once: whatever ends lsnd, the file is good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/file_descriptor.hpp"
#include "lsn/shared/capture.hpp"

namespace lsn::control {

class CaptureFile {
 public:
  struct Interface {
    std::string name;
    std::string description;
  };
  [[nodiscard]] static std::vector<Interface> interfaces_of(const Model& model);

  /// Error: one line.
  [[nodiscard]] static std::expected<CaptureFile, std::string> create(
      const std::string& directory, const std::string& name, const std::string& comment,
      const std::vector<Interface>& interfaces);

  /// The block of a frame; `lost_before`: frames that should stand in front of it.
  void format(const shared::CaptureRecord& record, std::uint64_t lost_before,
              std::string& out) const;
  /// Whole blocks. Error: one line, and none of them is in the file.
  [[nodiscard]] std::expected<void, std::string> append(const std::string& blocks);
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  FileDescriptor file_;
  std::uint64_t size_ = 0;
  std::size_t interfaces_ = 0;
};

}  // namespace lsn::control
