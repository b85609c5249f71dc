// A kernel interface that stands for one of lsnd's: a TAP with its name, hardware address, MTU and
// IPv4 address, in lsnd's network namespace or another one. It lives as long as its file
// descriptor: when lsnd ends, however it ends, the kernel takes the interface away, and the address
// and the routes through it with it.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <utility>

#include "lsn/control/file_descriptor.hpp"
#include "lsn/runtime/plan.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::runtime {

class KernelTap {
 public:
  /// A network namespace, by its file.
  struct Netns {
    std::string path;  ///< empty: lsnd's own
    dev_t device = 0;
    ino_t inode = 0;

    /// Whether it has been deleted and there is another one of that name: nobody finds any more
    /// what is in it, though it is there.
    [[nodiscard]] bool is_left_behind() const;
  };
  /// One that has been made: frames are written to and read from `file`, which does not wait.
  explicit KernelTap(control::FileDescriptor file) : file_(std::move(file)) {}
  KernelTap(control::FileDescriptor file, Netns netns)
      : file_(std::move(file)), netns_(std::move(netns)) {}

  /// Makes the interface and sets it up. Error: one line that names it.
  [[nodiscard]] static std::expected<KernelTap, std::string> make(const KernelPlan& plan,
                                                                  const wire::MacAddress& mac);

  /// The outcome of reading or writing a frame.
  enum class Outcome : std::uint8_t {
    kDone,
    kNothing,  ///< no frame is there
    kRefused,  ///< this frame, or all while the interface is down
    kGone,     ///< the interface has been deleted
  };
  /// Gives the kernel a frame in pieces.
  [[nodiscard]] Outcome write(std::span<const iovec> frame) const;
  /// A frame from the kernel, cut off where `room` ends; `size` is set with kDone.
  [[nodiscard]] Outcome read(std::span<std::uint8_t> room, std::size_t& size) const;
  /// Whether the kernel is told that a cable is there. A kernel that cannot be told (before 4.20)
  /// takes it for granted.
  void set_carrier(bool on) const;
  [[nodiscard]] bool is_left_behind() const { return netns_.is_left_behind(); }

  [[nodiscard]] int fd() const { return file_.get(); }

 private:
  control::FileDescriptor file_;
  Netns netns_;
};

}  // namespace lsn::runtime
