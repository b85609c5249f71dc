// A good configuration in text, changes to it, and what load_config says of the result.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/load.hpp"

namespace lsn::control {

/// Every section; each setting in a line of its own, so that a test sees which one is meant.
inline constexpr std::string_view kGoodText = R"(
dataplane: {
  workers = [ 1, 2 ];
  eal = [ "--in-memory", "--no-pci" ];
  maxSessions = 65536;
  fragments: { max = 100; timeout = 3; };
};
interfaces = (
  {
    name = "in";
    role = "inside";
    device = "net_tap0,iface=t0";
    address = "192.0.2.1/24";
  },
  {
    name = "out";
    role = "outside";
    device = "0000:03:00.0";
    address = "198.51.100.1/24";
    mtu = 1400;
  }
);
routes = (
  {
    prefix = "0.0.0.0/0";
    via = "198.51.100.10";
  }
);
control: { socket = "/run/lsnd/test.sock"; };
lsn: {
  client = (
    {
      name = "C1";
      network = [ "192.0.2.0/24", "10.0.0.0/16" ];
    },
    {
      name = "C2";
      network = [ "10.1.0.0/16" ];
    }
  );
  pool = (
    {
      name = "P1";
      lsnip = [ "203.0.113.0-203.0.113.9" ];
    },
    {
      name = "P2";
      lsnip = [ "203.0.113.128/28", "203.0.113.20" ];
    }
  );
  appsprofile = (
    {
      name = "IKE";
      transportprotocol = "UDP";
      ippooling = "PAIRED";
      lsnport = [ "500" ];
    },
    {
      name = "UDP-ALL";
      transportprotocol = "UDP";
      mapping = "ENDPOINT-INDEPENDENT";
      lsnport = [ "1-65535" ];
    },
    {
      name = "WEB";
      transportprotocol = "TCP";
      filtering = "ADDRESS-DEPENDENT";
      lsnport = [ "80", "443" ];
    },
    {
      name = "PING";
      transportprotocol = "ICMP";
      ippooling = "PAIRED";
    }
  );
  transportprofile = (
    {
      name = "T-UDP";
      transportprotocol = "UDP";
      sessiontimeout = 300;
      portquota = 1000;
    },
    {
      name = "T-TCP";
      transportprotocol = "TCP";
      syncheck = "DISABLED";
    }
  );
  group = (
    {
      name = "G1";
      clientname = "C1";
      poolname = [ "P1" ];
      appsprofilename = [ "IKE", "UDP-ALL", "WEB", "PING" ];
      transportprofilename = [ "T-UDP", "T-TCP" ];
      ipsecAlgProfile = "ALG";
    },
    {
      name = "G2";
      clientname = "C2";
      poolname = [ "P2" ];
    }
  );
};
ipsecalg: {
  profile = (
    {
      name = "ALG";
      ikeSessionTimeout = 45;
      espGateTimeout = 20;
    }
  );
};
)";

/// A file of the project.
inline std::string project_file(const char* name) {
  auto root = std::filesystem::path(__FILE__).lexically_normal();
  root = root.parent_path();  // tests/unit/control/config
  for (int i = 0; i < 4; ++i) root = root.parent_path();
  return (root / name).string();
}

/// The text with its only occurrence of `from` replaced.
inline std::string with(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos || text.find(from, at + 1) != std::string::npos)
    throw std::logic_error("not exactly once in the text: " + std::string(from));
  return text.replace(at, from.size(), to);
}

inline std::string good_with(std::string_view from, std::string_view to) {
  return with(std::string(kGoodText), from, to);
}

/// The number of the line that has the text's only occurrence of `what`.
inline unsigned line_of(const std::string& text, std::string_view what) {
  const std::size_t at = text.find(what);
  if (at == std::string::npos || text.find(what, at + 1) != std::string::npos)
    throw std::logic_error("not exactly once in the text: " + std::string(what));
  return 1 + static_cast<unsigned>(
                 std::count(text.begin(), text.begin() + static_cast<long>(at), '\n'));
}

inline std::vector<Problem> problems_of(const std::string& text) {
  auto model = load_config_text(text, "lsnd.conf");
  return model ? std::vector<Problem>{} : model.error();
}

inline Model model_of(const std::string& text) {
  auto model = load_config_text(text, "lsnd.conf");
  if (!model) throw std::logic_error(to_string(model.error()));
  return *model;
}

inline Model good_model() {
  return model_of(std::string(kGoodText));
}

/// There is one problem, in the line of `where`, and it has all the words.
inline void expect_problem(const std::string& text, std::string_view where,
                           const std::vector<std::string>& words) {
  SCOPED_TRACE(std::string(where));
  const auto problems = problems_of(text);
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_EQ(problems[0].file, "lsnd.conf");
  EXPECT_EQ(problems[0].line, line_of(text, where)) << to_string(problems);
  for (const std::string& word : words) EXPECT_THAT(problems[0].text, testing::HasSubstr(word));
}

/// The only problem of the good text with `from` replaced by `to` stands in the line of `to`.
inline void expect_refused(std::string_view from, std::string_view to,
                           const std::vector<std::string>& words) {
  expect_problem(good_with(from, to), to, words);
}

inline void expect_accepted(std::string_view from, std::string_view to) {
  SCOPED_TRACE(std::string(to));
  const auto problems = problems_of(good_with(from, to));
  EXPECT_TRUE(problems.empty()) << to_string(problems);
}

}  // namespace lsn::control
