// Writing to a file that must never have a part of something.
#pragma once

#include <cstdint>
#include <string_view>

namespace lsn::control {

/// All of it, or the file is as it was and errno says why; `size`: what it has.
[[nodiscard]] bool append_whole(int fd, std::string_view bytes, std::uint64_t size);

}  // namespace lsn::control
