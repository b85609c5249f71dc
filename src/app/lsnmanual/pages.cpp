#include "pages.hpp"

#include <fmt/format.h>

#include <string_view>

#include "lsn/control/command/commands.hpp"
#include "lsn/control/command/grammar.hpp"
#include "settings.hpp"

namespace lsn::manual {
namespace {

/// Text as man(7) takes it: nothing in it is a macro, a hyphen is the one that can be typed.
std::string plain(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const bool at_begin = result.empty() || result.back() == '\n';
    if (at_begin && (c == '.' || c == '\'')) result += "\\&";
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else
      result += c;
  }
  return result;
}

std::string bold(std::string_view text) {
  return fmt::format("\\fB{}\\fR", plain(text));
}
std::string italic(std::string_view text) {
  return fmt::format("\\fI{}\\fR", plain(text));
}

class Page {
 public:
  Page(std::string_view name, char section, std::string_view does) {
    line(".TH {} {} \"\" \"lsnd {}\"", name, section, LSN_VERSION);
    heading("NAME");
    line("{} \\- {}", plain(name), plain(does));
  }

  void heading(std::string_view text) { line(".SH \"{}\"", plain(text)); }
  void paragraph(std::string_view text) { line(".PP\n{}", plain(text)); }
  /// Text that is not prose: `text` has its own marks.
  void raw(std::string_view text) { line("{}", text); }
  void item(std::string_view tag, std::string_view text) { line(".TP\n{}\n{}", tag, plain(text)); }
  void example(std::string_view text) { line(".PP\n.nf\n.RS\n{}\n.RE\n.fi", plain(text)); }

  void options(const ProgramHelp& help) {
    heading("OPTIONS");
    for (const ProgramOption& option : help.options) {
      std::string tag;
      for (const std::string& name : option.names) tag += (tag.empty() ? "" : ", ") + bold(name);
      if (!option.value.empty()) tag += ' ' + italic(option.value);
      std::string text = option.does;
      if (!option.initial.empty()) text += fmt::format(" (default: {})", option.initial);
      if (!option.needs.empty()) text += fmt::format(" (only with {})", option.needs);
      item(tag, text);
    }
  }

  std::string finish(std::string_view see_also) {
    heading("SEE ALSO");
    raw(see_also);
    return std::move(text_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }

  std::string text_;
};

std::string reference(std::string_view name, char section) {
  return fmt::format(".BR {} ({})", plain(name), section);
}

}  // namespace

std::string page_of_lsnd(const ProgramHelp& lsnd) {
  Page page("lsnd", '8', "carrier-grade NAT44 with an IPsec ALG");
  page.heading("SYNOPSIS");
  page.raw(
      ".B lsnd\n[\\fB\\-\\-config\\fR \\fIFILE\\fR] [\\fB\\-\\-check\\fR "
      "[\\fB\\-\\-elsewhere\\fR]]");
  page.heading("DESCRIPTION");
  page.paragraph(lsnd.description +
                 ". It takes over the network devices that its configuration "
                 "names, by DPDK, and translates what comes in by one into what goes out by the "
                 "other until it is told to stop. Its log goes to standard error unless the "
                 "configuration says otherwise.");
  page.options(lsnd);
  page.heading("SIGNALS");
  page.item(bold("SIGHUP"),
            "Reads the configuration again, all or nothing, and opens the log file "
            "anew.");
  page.item(bold("SIGUSR2"), "Opens the log file anew and does nothing else.");
  page.item(bold("SIGTERM") + ", " + bold("SIGINT"),
            "Stops. What has to live on is in the state "
            "file.");
  page.heading("EXIT STATUS");
  page.item(bold("0"), "It was told to stop, or the checked file is good.");
  page.item(bold("1"), "It could not run.");
  page.item(bold("2"), "The configuration or the command line is wrong.");
  page.heading("ENVIRONMENT");
  page.item(bold("LSND_ARCH"),
            "Which of the builds in /usr/libexec/lsnd is to run, instead of the "
            "best one that this processor can: x86-64-v2, x86-64-v3 (AVX2) or x86-64-v4 (AVX-512). "
            "lsnd --version says which one runs.");
  page.item(bold("NOTIFY_SOCKET") + ", " + bold("WATCHDOG_USEC"),
            "The service manager's: it is told when packets are let in, of reloads, of the end, "
            "and, while every worker polls, that lsnd lives.");
  page.heading("FILES");
  page.item(italic("/etc/lsnd/lsnd.conf"), "The configuration.");
  page.item(italic("/run/lsnd/lsnd.sock"), "The command socket, for lsnctl.");
  page.item(italic("/var/lib/lsnd/state"), "What survives a restart.");
  return page.finish(reference("lsnd.conf", '5') + " ,\n" + reference("lsnctl", '1'));
}

std::string page_of_lsnctl(const ProgramHelp& lsnctl) {
  Page page("lsnctl", '1', "asks lsnd, and tells it what to do");
  page.heading("SYNOPSIS");
  page.raw(".B lsnctl\n[\\fIOPTION\\fR ...] [\\fICOMMAND\\fR ...]");
  page.heading("DESCRIPTION");
  page.paragraph(lsnctl.description +
                 ". Words of commands are accepted in any case. The answer is "
                 "on standard output, an error is one line on standard error that says what, what "
                 "was given and what is allowed; then nothing has changed.");
  page.paragraph("Root and the members of the command socket's group may use it.");
  page.options(lsnctl);
  page.heading("COMMANDS");
  for (const control::CommandSpec& command : control::lsn_commands().commands()) {
    page.item(bold(control::usage_of(command)), fmt::format("{}.", command.does));
    if (command.options.empty()) continue;
    page.raw(".RS");
    for (const control::OptionSpec& option : command.options)
      if (option.value == nullptr)
        page.item(bold(option.name), option.does);
      else
        page.item(bold(option.name) + ' ' + italic(option.value->placeholder),
                  fmt::format("{} ({})", option.does, option.value->allowed));
    page.raw(".RE");
  }
  page.heading("EXIT STATUS");
  page.item(bold("0"), "Done.");
  page.item(bold("1"), "Not done; the reason is on standard error.");
  page.heading("FILES");
  page.item(italic("/run/lsnd/lsnd.sock"), "The command socket.");
  return page.finish(reference("lsnd", '8') + " ,\n" + reference("lsnd.conf", '5'));
}

std::string page_of_file() {
  Page page("lsnd.conf", '5', "configuration of lsnd");
  page.heading("DESCRIPTION");
  page.paragraph(
      "The syntax is libconfig's: settings end with a semicolon; groups are { }, arrays "
      "of one type [ ], lists of groups ( ), without a comma behind the last element; "
      "names are case-sensitive; comments begin with # or //. A single value may stand "
      "for an array of one. A line @include \"FILE\" is replaced by that file, whose "
      "name is relative to this one.");
  page.paragraph(
      "Every setting is listed here with its default. What is marked with [restart] "
      "cannot be changed by a reload: that is refused as a whole. What this version "
      "cannot carry out yet is an error that says so.");
  page.example("lsnd --check --config FILE");
  page.paragraph(
      "reports everything that is wrong with a file, each with its line, or what would "
      "run.");
  for (const Section& section : all_settings()) {
    page.heading(section.path);
    page.paragraph(section.list ? "A list of groups, ( { ... }, ... ), with"
                                : "A group, { ... }, with");
    for (const Setting& setting : section.settings) {
      std::string text = setting.does + " Allowed: " + setting.allowed + ".";
      if (setting.required)
        text += " Required.";
      else
        text += fmt::format(" Default: {}.", setting.initial.empty() ? "none" : setting.initial);
      if (setting.restart) text += " [restart]";
      page.item(bold(setting.name), text);
    }
  }
  page.heading("FILES");
  page.item(italic("/etc/lsnd/lsnd.conf"),
            "Where lsnd looks for it; as installed it has every "
            "setting in comments, and an example that has to be replaced.");
  page.item(italic("/usr/share/doc/lsnd/examples/sample.conf"), "A small one that runs.");
  page.item(italic("/usr/share/doc/lsnd/examples/rfc.conf"),
            "One with everything that RFC 4787, 5382, 5508 and 6888 ask for.");
  return page.finish(reference("lsnd", '8') + " ,\n" + reference("lsnctl", '1'));
}

}  // namespace lsn::manual
