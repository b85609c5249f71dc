// The command socket: lines in, through the grammar and, if they change objects, into a model that
// is in force if it makes sense; the completions behind each of them; and the client's reading of
// an answer's bytes, however they are cut.
//
// A model that a line has led to is one that a file can have: written and read it is the same.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/command/commands.hpp"
#include "lsn/control/command/object_commands.hpp"
#include "lsn/control/command/protocol.hpp"
#include "lsn/control/config/edit.hpp"
#include "lsn/control/config/load.hpp"
#include "lsn/control/config/render.hpp"
#include "lsn/control/config/validate.hpp"

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

using lsn::control::Model;

/// A box with links: the least that a file needs.
const Model& empty_box() {
  static const Model kModel = *lsn::control::load_config_text(
      R"(interfaces = (
           { name = "in"; role = "inside"; device = "net_tap0"; address = "192.0.2.1/24"; },
           { name = "out"; role = "outside"; device = "net_tap1"; address = "198.51.100.1/24"; } );)",
      "box");
  return kModel;
}

void change(const lsn::control::Command& command, Model& model) {
  const auto edit = lsn::control::edit_of(command);
  if (!edit) return require(!edit.error().empty(), "what is no change gets a reason");
  Model next = model;
  std::vector<std::string> remarks;
  const auto done = lsn::control::apply(*edit, next, remarks);
  if (!done) {
    require(next == model, "a refused change changes nothing");
    require(done.error().find('\n') == std::string::npos, "the reason is one line");
    return;
  }
  if (!lsn::control::check_model(next).empty()) return;
  const auto again = lsn::control::load_config_text(lsn::control::render_config(next), "again");
  require(again && *again == next, "what commands make can be written and read");
  Model made = model;
  for (const std::string& line : lsn::control::commands_between(model, next)) {
    const auto parsed = lsn::control::lsn_commands().parse(line);
    require(parsed && *parsed, "the difference is commands");
    const auto difference = lsn::control::edit_of(**parsed);
    require(difference && lsn::control::apply(*difference, made, remarks), "they are carried out");
  }
  model = std::move(next);
}

void read_line(std::string_view line, Model& model) {
  (void)lsn::control::lsn_commands().complete(line, lsn::control::objects_of(model));
  const auto command = lsn::control::lsn_commands().parse(line);
  if (!command) {
    require(!command.error().empty(), "a refused line gets a reason");
    require(command.error().find('\n') == std::string::npos, "the reason is one line");
    return;
  }
  if (!*command) return;
  require((*command)->spec != nullptr, "a command is one of the table");
  if ((*command)->spec->takes_words) change(**command, model);
}

void read_lines(std::string_view lines) {
  Model model = empty_box();
  for (unsigned i = 0; i < 64 && !lines.empty(); ++i) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    read_line(line, model);
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
  }
  (void)lsn::control::lsn_commands().parse_batch(lines);
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
  read_lines(copy);
  read_answer(copy, 1);
  read_answer(copy, 7);
  read_answer(copy, copy.size());
  return 0;
}
