#include "lsn/control/command/grammar.hpp"

#include <fmt/format.h>

#include <array>
#include <map>

#include "lsn/control/command/commands.hpp"
#include "lsn/control/config/edit.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::expected<std::unique_ptr<Answer>, std::string> nothing(const Command&, const CommandContext&) {
  return std::unexpected("not to be begun");
}

// Commands of all shapes, also those that this version does not have.
constexpr std::array kOptions{
    OptionSpec{"-network", &kAnyAddress, "a network"},
    OptionSpec{"-netmask", &kNetmask, "its mask", "-network"},
    OptionSpec{"-natPort", &kPortNumber, "a port"},
};
constexpr std::array kOneName{PositionalSpec{"NAME", &kNameSyntax}};
constexpr std::array kMaybeName{PositionalSpec{"NAME", &kNameSyntax, Occurs::kAtMostOnce}};
constexpr std::array kNameAndWords{PositionalSpec{"NAME", &kNameSyntax},
                                   PositionalSpec{"WORD", &kAnyText, Occurs::kAnyTimes}};
constexpr std::array kCommands{
    CommandSpec{"show lsn client", "clients", nothing, {}, kMaybeName},
    CommandSpec{"show lsn session", "sessions", nothing, kOptions},
    CommandSpec{"show", "everything", nothing},
    CommandSpec{"add lsn client", "a client", nothing, kOptions, kOneName},
    CommandSpec{"say", "words", nothing, {}, kNameAndWords},
};
constexpr Grammar kGrammar{kCommands};

Command parsed(std::string_view line) {
  auto command = kGrammar.parse(line);
  if (!command) throw std::runtime_error(command.error());
  if (!*command) throw std::runtime_error("no command");
  return **command;
}

std::string refused(std::string_view line) {
  const auto command = kGrammar.parse(line);
  return command ? "not refused" : command.error();
}

TEST(Grammar, FindsACommandByItsWordsInAnyCase) {
  EXPECT_EQ(parsed("show lsn session").spec->words, "show lsn session");
  EXPECT_EQ(parsed("SHOW Lsn sEssion").spec->words, "show lsn session");
  EXPECT_EQ(parsed("show").spec->words, "show") << "also one whose words begin another's";
  EXPECT_EQ(parsed("show lsn client").spec->words, "show lsn client");
}

TEST(Grammar, TakesOptionsInAnyOrderAndCaseWithTypedValues) {
  const Command command =
      parsed("show lsn session -NATPORT 17 -network 192.0.2.0 -netMask 255.255.255.0");
  ASSERT_NE(command.get<std::uint32_t>("-natPort"), nullptr);
  EXPECT_EQ(*command.get<std::uint32_t>("-natPort"), 17U);
  EXPECT_EQ(*command.get<wire::Ipv4Address>("-network"), ip("192.0.2.0"));
  EXPECT_EQ(*command.get<wire::Ipv4Address>("-netmask"), ip("255.255.255.0"));
  EXPECT_EQ(parsed("show lsn session").get<std::uint32_t>("-natPort"), nullptr);
}

TEST(Grammar, TakesPositionalsBeforeAndBehindOptions) {
  for (const char* line :
       {"add lsn client C -network 192.0.2.0", "add lsn client -network 192.0.2.0 C"}) {
    const Command command = parsed(line);
    EXPECT_EQ(*command.get<std::string>("NAME"), "C");
    EXPECT_EQ(*command.get<wire::Ipv4Address>("-network"), ip("192.0.2.0"));
  }
  EXPECT_EQ(parsed("show lsn client").get<std::string>("NAME"), nullptr);
  EXPECT_EQ(*parsed("show lsn client \"a b\"").get<std::string>("NAME"), "a b");
  const Command said = parsed("say N one two three");
  EXPECT_EQ(said.arguments.size(), 4U);
  EXPECT_EQ(parsed("say N").arguments.size(), 1U);
}

TEST(Grammar, TakesAQuotedWordForAValueWhateverItLooksLike) {
  EXPECT_EQ(*parsed("say N \"-natIP\"").get<std::string>("WORD"), "-natIP");
}

TEST(Grammar, FindsTheJsonOptionAnywhere) {
  for (const char* line :
       {"--json show lsn session", "show --json lsn session", "show lsn session --JSON -natPort 7"})
    EXPECT_EQ(parsed(line).format, Format::kJson) << line;
  EXPECT_EQ(parsed("show lsn session").format, Format::kText);
  EXPECT_EQ(*parsed("say N '--json'").get<std::string>("WORD"), "--json");
  EXPECT_EQ(refused("--json"), "command: given none, allowed help");
}

TEST(Grammar, TakesAnEmptyLineOrACommentForNoCommand) {
  for (const char* line : {"", "   ", "# show lsn session"}) {
    const auto command = kGrammar.parse(line);
    ASSERT_TRUE(command) << line;
    EXPECT_FALSE(*command) << line;
  }
}

TEST(Grammar, RefusesWithWhatWasGivenAndWhatIsAllowed) {
  const std::map<std::string, std::string> errors{
      {"frobnicate", "command: given \"frobnicate\", allowed show, add or say"},
      {"shw lsn", "command: given \"shw\" (did you mean \"show\"?), allowed show, add or say"},
      {"add", "add: given nothing more, allowed lsn"},
      {"add lsn clint C", "add lsn: given \"clint\" (did you mean \"client\"?), allowed client"},
      {"show drops", "show: given \"drops\", allowed nothing more"},
      {"add lsn client",
       "add lsn client: NAME: given nothing, allowed a name: 1-127 letters, "
       "digits, blanks and _ # . : @ = -, the first a letter, a digit or _"},
      {"add lsn client C D", "add lsn client: given \"D\", allowed -network, -netmask or -natPort"},
      {"show lsn session -natPort", "show lsn session: -natPort: given no value, allowed 0-65535"},
      {"show lsn session -natPort -network 1.2.3.4",
       "show lsn session: -natPort: given no value, allowed 0-65535"},
      {"show lsn session -natPort 65536",
       "show lsn session: -natPort: given \"65536\", allowed 0-65535"},
      {"show lsn session -natPort -1", "show lsn session: -natPort: given \"-1\", allowed 0-65535"},
      {"show lsn session -natPort 1 -natport 2",
       "show lsn session: -natPort: given twice, allowed once"},
      {"show lsn session -netmask 255.0.0.0",
       "show lsn session: -netmask: given without -network, allowed together with it"},
      {"show lsn session -netport 7",
       "show lsn session: given \"-netport\" (did you mean \"-natPort\"?), allowed -network, "
       "-netmask or -natPort"},
      {"show lsn client -x", "show lsn client: given \"-x\", allowed no options"},
      {"show lsn session -network 300.1.1.1",
       "show lsn session: -network: given \"300.1.1.1\", allowed an address A.B.C.D"},
      {"show lsn session -network 1.2.3.4 -netmask 255.0.255.0",
       "show lsn session: -netmask: given \"255.0.255.0\", allowed a netmask such as "
       "255.255.255.0"},
  };
  for (const auto& [line, error] : errors) EXPECT_EQ(refused(line), error) << line;
}

TEST(Grammar, AcceptsExactlyTheNetmasks) {
  unsigned masks = 0;
  for (unsigned length = 0; length <= 32; ++length) {
    const std::string mask = wire::to_string(wire::Ipv4Address{wire::Ipv4Prefix::mask_of(length)});
    masks += kNetmask.parse(mask).has_value();
  }
  EXPECT_EQ(masks, 33U);
  for (const char* bad : {"0.0.0.1", "255.255.255.1", "255.254.255.0", "127.0.0.0", "", "24"})
    EXPECT_FALSE(kNetmask.parse(bad)) << bad;
}

TEST(Grammar, ShowsHowACommandIsUsed) {
  EXPECT_EQ(usage_of(kCommands[1]),
            "show lsn session [-network A.B.C.D [-netmask A.B.C.D]] [-natPort PORT]");
  EXPECT_EQ(usage_of(kCommands[0]), "show lsn client [NAME]");
  EXPECT_EQ(usage_of(kCommands[4]), "say NAME [WORD ...]");
}

TEST(Commands, OfThisVersionAreAllThere) {
  for (const char* line :
       {"show lsn session", "flush lsn session", "stat lsn", "stat interface", "stat worker",
        "show drops", "show running config", "reload config", "help",
        "show lsn session -clientname C1 -network 10.0.0.0 -netmask 255.0.0.0 -natIP 203.0.113.3 "
        "-natPort 1",
        "flush lsn session -clientname C1 -network 10.0.0.1 -natIP 203.0.113.3 -natPort 1"})
    EXPECT_TRUE(lsn_commands().parse(line)) << line;
}

TEST(Commands, OfPublishedExamplesAreUnderstood) {
  for (const char* line :
       {"SHOW LSN Session", "show  lsn   session", "show lsn session \xE2\x80\x93natIP 203.0.113.3",
        "show lsn session - natIP 203.0.113.3",
        "show lsn session \xE2\x80\x93 clientname LSN-CLIENT-1"})
    EXPECT_TRUE(lsn_commands().parse(line)) << line;
}

TEST(Help, ListsAllCommands) {
  Bench bench;
  const std::string text = bench.text("help");
  const auto json = bench.json("help");
  EXPECT_EQ(json["commands"].size(), lsn_commands().commands().size());
  for (const CommandSpec& spec : lsn_commands().commands()) {
    if (spec.takes_words) continue;  // objects: a line for all verbs
    EXPECT_THAT(text, HasSubstr(std::string(spec.words)));
    EXPECT_THAT(text, HasSubstr(std::string(spec.does)));
  }
  for (const ObjectKind& kind : object_kinds())
    EXPECT_THAT(text, HasSubstr(fmt::format("|rm {}", kind.words)));
}

TEST(Help, OfOneCommandListsItsOptions) {
  Bench bench;
  const std::string text = bench.text("help show lsn session");
  EXPECT_THAT(text,
              StartsWith("show lsn session [-clientname NAME] [-subscrIP A.B.C.D] [-network "
                         "A.B.C.D [-netmask A.B.C.D]] [-td N] [-natIP A.B.C.D] [-natPort PORT] "
                         "[-destIP A.B.C.D] [-protocol TCP|UDP|ICMP|ESP] [-count] "
                         "[-sort idle|bytes [-top N]]\n"));
  for (const char* option :
       {"-clientname", "-network", "-netmask", "-natIP", "-natPort", "-destIP"})
    EXPECT_THAT(text, HasSubstr(option));
  EXPECT_THAT(bench.text("help STAT"), HasSubstr("stat worker"));
  EXPECT_THAT(bench.text("help STAT"), testing::Not(HasSubstr("show drops")));
  EXPECT_EQ(
      bench.error("help show dorps"),
      "help: given \"show dorps\" (did you mean \"show drops\"?), allowed a command that help "
      "lists");
}

}  // namespace
}  // namespace lsn::control
