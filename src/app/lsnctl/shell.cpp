#include "shell.hpp"

#include <fmt/format.h>
#include <histedit.h>
#include <langinfo.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "lsn/control/command/client.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "repeat.hpp"
#include "script.hpp"

namespace lsn::ctl {
namespace {

constexpr const char* kPrompt = "lsnd> ";
constexpr int kRemembered = 1000;

struct Candidate {
  std::string text;
  std::string does;
  bool is_placeholder = false;
};

class Shell {
 public:
  Shell(const std::string& socket, bool json) : socket_(socket), json_(json) {}

  int run() {
    // Text is UTF-8, whatever the terminal's locale says.
    if (std::setlocale(LC_ALL, "") == nullptr || std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
      std::setlocale(LC_ALL, "C.UTF-8");
    // Ctrl-C ends the line, not the shell.
    struct sigaction interrupt{};
    interrupt.sa_handler = [](int) {};
    sigaction(SIGINT, &interrupt, nullptr);
    edit_ = el_init("lsnctl", stdin, stdout, stderr);
    if (edit_ == nullptr) {
      fmt::print(stderr, "ERROR: no line editing on this terminal\n");
      return 1;
    }
    history_ = history_init();
    HistEvent event;
    history(history_, &event, H_SETSIZE, kRemembered);
    history(history_, &event, H_SETUNIQUE, 1);
    history(history_, &event, H_LOAD, history_file().c_str());
    el_set(edit_, EL_CLIENTDATA, this);
    el_set(edit_, EL_PROMPT, +[](EditLine*) { return const_cast<char*>(kPrompt); });
    el_set(edit_, EL_EDITOR, "emacs");
    el_set(edit_, EL_SIGNAL, 0);
    el_set(edit_, EL_HIST, ::history, history_);
    el_set(
        edit_, EL_ADDFN, "lsn-complete", "Complete", +[](EditLine* e, int) { return of(e).tab(); });
    el_set(
        edit_, EL_ADDFN, "lsn-explain", "Explain",
        +[](EditLine* e, int) { return of(e).explain(); });
    el_set(edit_, EL_BIND, "^I", "lsn-complete", nullptr);
    el_set(edit_, EL_BIND, "?", "lsn-explain", nullptr);
    el_set(edit_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    const int code = read_lines();
    save_history();
    history_end(history_);
    el_end(edit_);
    return code;
  }

 private:
  static Shell& of(EditLine* edit) {
    Shell* shell = nullptr;
    el_get(edit, EL_CLIENTDATA, &shell);
    return *shell;
  }

  int read_lines() {
    if (isatty(STDIN_FILENO) != 0)
      fmt::print("Tab completes, ? says what may follow, help lists the commands.\n");
    int code = 0;
    while (true) {
      int count = 0;
      errno = 0;
      const char* const typed = el_gets(edit_, &count);
      if (typed == nullptr && errno == EINTR) {
        fmt::print("^C\n");
        el_reset(edit_);
        continue;
      }
      if (typed == nullptr || count <= 0) break;
      std::string line(typed, static_cast<std::size_t>(count));
      while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
      if (line.empty()) continue;
      HistEvent event;
      history(history_, &event, H_ENTER, line.c_str());
      save_history();
      if (is_end(line)) return code;
      code = carry_out(line);
    }
    fmt::print("\n");
    return code;
  }

  int carry_out(const std::string& line) {
    if (!connected()) return 1;
    if (const auto repeat = repetition_of(line)) return run_repeatedly(*client_, *repeat, json_);
    Pager pager;
    const auto status = client_->run(json_ ? "--json " + line : line,
                                     [&](control::Stream stream, std::string_view text) {
                                       if (stream == control::Stream::kErr)
                                         say_error(line, text);
                                       else
                                         pager.write(text);
                                       return true;
                                     });
    pager.close();
    if (status) return *status;
    fmt::print(stderr, "ERROR: {}\n", status.error());
    client_.reset();
    return 1;
  }

  /// Where words stand in a line: the last place, and only as whole ones, as the wrong word is
  /// rarely before the right ones.
  static std::size_t place_of(const std::string& line, std::string_view words) {
    const auto is_edge = [&](std::size_t at) {
      return at >= line.size() || line[at] == ' ' || line[at] == '"' || line[at] == '\'';
    };
    for (std::size_t at = line.rfind(words); at != std::string::npos && !words.empty();
         at = at == 0 ? std::string::npos : line.rfind(words, at - 1))
      if ((at == 0 || is_edge(at - 1)) && is_edge(at + words.size())) return at;
    return std::string::npos;
  }

  /// The error, with a mark below the wrong word.
  void say_error(const std::string& line, std::string_view text) {
    const bool colours = isatty(STDERR_FILENO) != 0;
    const std::size_t quote = text.find('"');
    const std::size_t end = quote == std::string_view::npos ? quote : text.find('"', quote + 1);
    if (end != std::string_view::npos) {
      const std::size_t at = place_of(line, text.substr(quote + 1, end - quote - 1));
      if (at != std::string::npos && colours)
        fmt::print(stderr, "{}^\n", std::string(std::strlen(kPrompt) + at, ' '));
    }
    fmt::print(stderr, "{}{}{}", colours ? "\x1b[31m" : "", text, colours ? "\x1b[0m" : "");
  }

  bool connected() {
    if (client_) return true;
    auto client = control::CommandClient::connect(socket_);
    if (!client) {
      fmt::print(stderr, "ERROR: {}\n", client.error());
      return false;
    }
    client_.emplace(std::move(*client));
    return true;
  }

  // completion

  [[nodiscard]] std::string before_cursor() const {
    const LineInfo* const info = el_line(edit_);
    return {info->buffer, static_cast<std::size_t>(info->cursor - info->buffer)};
  }

  std::vector<Candidate> candidates(const std::string& text) {
    std::vector<Candidate> all;
    if (!connected()) return all;
    std::string answer;
    const auto status = client_->run("--json " + control::join_words({"complete", text}),
                                     [&](control::Stream stream, std::string_view piece) {
                                       if (stream == control::Stream::kOut) answer += piece;
                                       return true;
                                     });
    if (!status) client_.reset();
    const auto json = nlohmann::json::parse(answer, nullptr, false);
    if (json.is_discarded() || !json.contains("candidates")) return all;
    for (const auto& c : json["candidates"])
      all.push_back({c.value("text", ""), c.value("does", ""), c.value("placeholder", false)});
    return all;
  }

  unsigned char tab() {
    const std::string text = before_cursor();
    const std::size_t blank = text.find_last_of(" \t");
    const std::string begun = blank == std::string::npos ? text : text.substr(blank + 1);
    std::vector<Candidate> all = candidates(text);
    std::erase_if(all, [](const Candidate& c) { return c.is_placeholder; });
    if (all.empty()) return CC_REFRESH_BEEP;
    // As much as all of them begin with.
    std::string common = all.front().text;
    for (const Candidate& c : all) {
      std::size_t same = 0;
      while (same < common.size() && same < c.text.size() &&
             std::tolower(static_cast<unsigned char>(common[same])) ==
                 std::tolower(static_cast<unsigned char>(c.text[same])))
        ++same;
      common.resize(same);
    }
    if (all.size() == 1) {
      el_deletestr(edit_, static_cast<int>(begun.size()));
      const std::string word = control::join_words({"x", all.front().text}).substr(2) + " ";
      el_insertstr(edit_, word.c_str());
      return CC_REFRESH;
    }
    if (common.size() > begun.size()) {
      el_deletestr(edit_, static_cast<int>(begun.size()));
      el_insertstr(edit_, common.c_str());
      return CC_REFRESH;
    }
    fmt::print("\n");
    list(all, false);
    return CC_REDISPLAY;
  }

  unsigned char explain() {
    const std::string text = before_cursor();
    // Within quotes it is a question mark.
    if (std::count(text.begin(), text.end(), '"') % 2 != 0) {
      el_insertstr(edit_, "?");
      return CC_REFRESH;
    }
    const std::vector<Candidate> all = candidates(text);
    fmt::print("?\n");
    if (all.empty()) fmt::print("  <Enter>\n");
    list(all, true);
    return CC_REDISPLAY;
  }

  static void list(const std::vector<Candidate>& all, bool with_help) {
    std::size_t width = 0;
    for (const Candidate& c : all)
      width = std::max(width, c.text.size() + (c.is_placeholder ? 2 : 0));
    for (const Candidate& c : all) {
      const std::string text = c.is_placeholder ? fmt::format("<{}>", c.text) : c.text;
      fmt::print("  {:{}}{}{}\n", text, with_help ? width : 0,
                 with_help && !c.does.empty() ? "  " : "", with_help ? c.does : "");
    }
    std::fflush(stdout);
  }

  // history

  static std::string history_file() {
    const char* const home = std::getenv("HOME");
    return home == nullptr ? "" : std::string(home) + "/.lsnctl_history";
  }

  void save_history() {
    const std::string path = history_file();
    if (path.empty()) return;
    const mode_t before = umask(077);  // addresses of subscribers are private
    HistEvent event;
    history(history_, &event, H_SAVE, path.c_str());
    umask(before);
  }

  /// A pager, if the text does not fit on the screen; otherwise standard output itself.
  class Pager {
   public:
    void write(std::string_view text) {
      if (to_ == nullptr) {
        held_ += text;
        if (!is_long()) return;
        to_ = open();
        text = held_;
      }
      std::fwrite(text.data(), 1, text.size(), to_);
    }
    void close() {
      if (to_ == nullptr) std::fwrite(held_.data(), 1, held_.size(), stdout);
      if (is_pipe_) {
        pclose(to_);
        signal(SIGPIPE, SIG_DFL);
      }
      std::fflush(stdout);
    }

   private:
    [[nodiscard]] bool is_long() const {
      winsize size{};
      if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 ||
          size.ws_row < 2)
        return true;
      return std::count(held_.begin(), held_.end(), '\n') >= size.ws_row - 1;
    }
    std::FILE* open() {
      if (isatty(STDOUT_FILENO) == 0) return stdout;
      const char* const chosen = std::getenv("PAGER");
      const std::string pager = chosen != nullptr && *chosen != '\0' ? chosen : "less -FRSX";
      signal(SIGPIPE, SIG_IGN);  // it may be left before the end
      std::FILE* const pipe = popen(fmt::format("{} 2>/dev/null || cat", pager).c_str(), "w");
      is_pipe_ = pipe != nullptr;
      return is_pipe_ ? pipe : stdout;
    }

    std::string held_;
    std::FILE* to_ = nullptr;
    bool is_pipe_ = false;
  };

  std::string socket_;
  bool json_;
  EditLine* edit_ = nullptr;
  History* history_ = nullptr;
  std::optional<control::CommandClient> client_;
};

}  // namespace

int run_shell(const std::string& socket, bool json) {
  return Shell(socket, json).run();
}

}  // namespace lsn::ctl
