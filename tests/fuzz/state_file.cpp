// The state file: reading any bytes ends, and the records read can be written and read again.
#include "lsn/control/ha/state_file.hpp"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lsn::control;
  static const std::string path = "/tmp/lsnd-fuzz-state-" + std::to_string(getpid());
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  constexpr std::uint64_t kNow = 1'800'000'000;
  const auto state = read_state_file(path, kNow);
  if (state) {
    require(state->records.size() + state->damaged <= size / 56 + 1,
            "no record comes from nothing");
    StateFileWriter writer(path);
    require(writer.begin().has_value() && writer.add(state->records, kNow).has_value() &&
                writer.commit().has_value(),
            "what was read can be written");
    const auto again = read_state_file(path, kNow);
    require(again && again->records.size() == state->records.size() && again->damaged == 0,
            "and read again");
  } else {
    require(!state.error().empty(), "a refused file has a reason");
  }
  unlink(path.c_str());
  return 0;
}
