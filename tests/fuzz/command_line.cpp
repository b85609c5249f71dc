// What comes over the command socket: a line in, through the grammar; and what a client makes of
// the bytes of an answer, however they are cut.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "lsn/control/command/commands.hpp"
#include "lsn/control/command/protocol.hpp"

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

void read_line(std::string_view line) {
  const auto command = lsn::control::lsn_commands().parse(line);
  if (!command) {
    require(!command.error().empty(), "a refused line gets a reason");
    require(command.error().find('\n') == std::string::npos, "the reason is one line");
    return;
  }
  if (*command) require((*command)->spec != nullptr, "a command is one of the table");
}

void read_answer(std::string_view bytes, std::size_t piece) {
  std::size_t text = 0;
  lsn::control::AnswerReader reader(
      [&](lsn::control::Stream, std::string_view some) { text += some.size(); });
  for (std::string_view rest = bytes; !rest.empty();) {
    std::string_view some = rest.substr(0, piece);
    rest.remove_prefix(some.size());
    if (reader.feed(some) != lsn::control::AnswerReader::State::kMore) break;
  }
  require(text <= bytes.size(), "an answer has no more text than bytes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string copy(reinterpret_cast<const char*>(data), size);
  read_line(copy);
  read_answer(copy, 1);
  read_answer(copy, 7);
  read_answer(copy, copy.size());
  return 0;
}
