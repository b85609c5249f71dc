#include "lsn/control/metrics/http_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/control/metrics/support.hpp"

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class HttpServers : public testing::Test {
 protected:
  std::optional<HttpAnswer> page(std::string_view path) {
    asked.emplace_back(path);
    if (path == "/small") return HttpAnswer{200, "text/plain", small};
    if (path == "/large") return HttpAnswer{200, "text/plain", large};
    if (path == "/ill") return HttpAnswer{503, "text/plain", small};
    return std::nullopt;
  }

  /// What the thread does, in the test's time.
  void turn(unsigned times = 1) {
    for (unsigned i = 0; i < times; ++i) {
      for (unsigned events = 0; events < 4; ++events) loop.wait(0);
      now += 10ms;
      server.tick(now);
    }
  }

  /// Turns until nothing more comes; the client reads all the while.
  std::string answer_of(WebClient& client) {
    for (unsigned i = 0; i < 500 && !client.has_ended(); ++i) {
      turn();
      client.receive();
    }
    EXPECT_TRUE(client.has_ended());
    return client.received();
  }

  std::string ask(std::string_view request) {
    WebClient client(listening.port);
    client.send(request);
    return answer_of(client);
  }

  std::shared_ptr<const std::string> small = std::make_shared<const std::string>("fine\n");
  std::shared_ptr<const std::string> large =
      std::make_shared<const std::string>(std::string(8U << 20, 'x') + "end\n");
  std::vector<std::string> asked;
  Listening listening;
  EventLoop loop;
  HttpServer::Time now{100s};
  HttpServer server{std::move(listening.fd), [this](std::string_view path) { return page(path); },
                    loop, now};
};

TEST_F(HttpServers, GetGivesThePageAndEndsTheConnection) {
  EXPECT_EQ(ask("GET /small HTTP/1.1\r\nHost: x\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
            "Connection: close\r\n\r\nfine\n");
  EXPECT_THAT(ask("GET /ill HTTP/1.0\n\n"), StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  turn(2);
  EXPECT_EQ(server.clients(), 0U);
}

TEST_F(HttpServers, HeadGivesTheHeadAlone) {
  const std::string answer = ask("HEAD /small HTTP/1.1\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_F(HttpServers, AQueryDoesNotMatter) {
  EXPECT_THAT(ask("GET /small?name%5B%5D=x HTTP/1.1\r\n\r\n"), EndsWith("fine\n"));
  EXPECT_THAT(asked, testing::ElementsAre("/small"));
}

TEST_F(HttpServers, WhatIsNotThereOrNotAllowedIsSaidInALine) {
  EXPECT_THAT(ask("GET /nothing HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  const std::string posted = ask("POST /small HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_THAT(posted, StartsWith("HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"));
  for (const char* bad :
       {"GET /small\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "GET small HTTP/1.1\r\n\r\n", "\r\n\r\n",
        "GET /small HTTP/2.0\r\n\r\n", "GET /small x HTTP/1.1\r\n\r\n", "\x16\x03\x01\n\n"})
    EXPECT_THAT(ask(bad), StartsWith("HTTP/1.1 400 Bad Request\r\n")) << bad;
}

TEST_F(HttpServers, ARequestMayComeInPieces) {
  WebClient client(listening.port);
  for (const char c : std::string("GET /small HTTP/1.1\r\nHost: y\r\n\r\n")) {
    turn();
    EXPECT_EQ(client.send({&c, 1}), 1U);
  }
  EXPECT_THAT(answer_of(client), EndsWith("fine\n"));
}

TEST_F(HttpServers, AHeadWithoutEndIsRefused) {
  EXPECT_THAT(ask("GET /small HTTP/1.1\r\nX: " + std::string(9000, 'x')),
              StartsWith("HTTP/1.1 431 "));
}

TEST_F(HttpServers, WhatComesBehindTheHeadDoesNotTakeTheAnswerAway) {
  WebClient client(listening.port);
  std::string request = "POST /small HTTP/1.1\r\n\r\n" + std::string(1U << 20, 'y');
  std::string_view rest = request;
  for (unsigned i = 0; i < 500 && !client.has_ended(); ++i) {
    rest.remove_prefix(client.send(rest));
    turn();
    client.receive();
  }
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 405 "));
  EXPECT_FALSE(client.was_reset());
}

TEST_F(HttpServers, ALargePageComesWholeToASlowReader) {
  WebClient client(listening.port, 4096);
  client.send("GET /large HTTP/1.1\r\n\r\n");
  answer_of(client);
  EXPECT_EQ(client.body(), *large);
}

TEST_F(HttpServers, HundredsThatHangKeepNobodyFromAnAnswer) {
  std::vector<std::unique_ptr<WebClient>> hanging;
  for (unsigned i = 0; i < 300; ++i) {
    hanging.push_back(std::make_unique<WebClient>(listening.port, 4096));
    if (i % 3 == 1) hanging.back()->send("GET /metr");
    if (i % 3 == 2) hanging.back()->send("GET /large HTTP/1.1\r\n\r\n");  // and does not read
  }
  EXPECT_THAT(ask("GET /small HTTP/1.1\r\n\r\n"), EndsWith("fine\n"));
  EXPECT_LE(server.clients(), HttpLimits{}.clients);
}

TEST_F(HttpServers, NobodyHasMoreThanHisTime) {
  WebClient silent(listening.port), half(listening.port), deaf(listening.port, 4096);
  half.send("GET /small");
  deaf.send("GET /large HTTP/1.1\r\n\r\n");
  turn();
  ASSERT_EQ(server.clients(), 3U);
  now += 9s;
  turn();
  EXPECT_EQ(server.clients(), 3U);
  half.send(" ");
  now += 2s;
  turn();
  EXPECT_EQ(server.clients(), 0U);
  EXPECT_GT(large.use_count(), 0);
  EXPECT_EQ(large.use_count(), 1) << "nobody holds the text any more";
}

TEST_F(HttpServers, WhoDoesNotCloseIsClosed) {
  WebClient client(listening.port);
  client.send("GET /small HTTP/1.1\r\n\r\n");
  turn(5);
  EXPECT_EQ(server.clients(), 1U);
  now += HttpLimits{}.goodbye;
  turn();
  EXPECT_EQ(server.clients(), 0U);
}

}  // namespace
}  // namespace lsn::control
