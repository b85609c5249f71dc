#include "lsn/control/command/protocol.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace lsn::control {
namespace {

struct Reading {
  std::string out;
  std::string err;
  AnswerReader reader{[this](Stream stream, std::string_view text) {
    (stream == Stream::kOut ? out : err) += text;
  }};
};

TEST(Frames, CarryOutputErrorsAndTheExitCode) {
  std::string bytes;
  append_frame(bytes, Stream::kOut, "a table\n");
  append_frame(bytes, Stream::kOut, "");
  append_frame(bytes, Stream::kErr, "ERROR: x\n");
  append_end(bytes, 1);
  EXPECT_EQ(bytes, "out 8\na table\nerr 9\nERROR: x\nend 1\n");
}

TEST(Frames, AreReadHoweverTheirBytesCome) {
  std::string bytes;
  append_frame(bytes, Stream::kOut, std::string(3000, 'x') + "\nend 0\n");
  append_frame(bytes, Stream::kErr, "y");
  append_end(bytes, 7);
  for (const std::size_t step : {1UL, 2UL, 7UL, 4096UL}) {
    Reading reading;
    auto state = AnswerReader::State::kMore;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      ASSERT_EQ(state, AnswerReader::State::kMore);
      std::string_view piece = std::string_view(bytes).substr(at, step);
      state = reading.reader.feed(piece);
      EXPECT_TRUE(piece.empty());
    }
    EXPECT_EQ(state, AnswerReader::State::kEnd);
    EXPECT_EQ(reading.reader.status(), 7);
    EXPECT_EQ(reading.out, std::string(3000, 'x') + "\nend 0\n");
    EXPECT_EQ(reading.err, "y");
  }
}

TEST(Frames, OfTheNextAnswerStayWhereTheyAre) {
  Reading reading;
  std::string_view bytes = "out 1\naend 0\nout 1\nbend 1\n";
  EXPECT_EQ(reading.reader.feed(bytes), AnswerReader::State::kEnd);
  EXPECT_EQ(reading.out, "a");
  EXPECT_EQ(bytes, "out 1\nbend 1\n");
  EXPECT_EQ(reading.reader.feed(bytes), AnswerReader::State::kEnd);
  EXPECT_EQ(reading.out, "ab");
  EXPECT_EQ(reading.reader.status(), 1);
}

TEST(Frames, OfSomebodyElseAreBroken) {
  for (const std::string_view bad :
       {"HTTP/1.1 400 Bad Request\r\n", "out\n", "out x\n", "out -1\n", "out 1 \n", "end 256\n",
        "end\n", "\n", "out 99999999999999999999999\n", "in 5\nabcde",
        "a line that never ends a line that never ends"}) {
    Reading reading;
    std::string_view bytes = bad;
    EXPECT_EQ(reading.reader.feed(bytes), AnswerReader::State::kBroken) << bad;
  }
}

}  // namespace
}  // namespace lsn::control
