// The protocol of the command socket.
//
// A *request* is a line of text of at most kLongestRequest bytes: a command, as it is typed. An
// *answer* is a sequence of frames, each a line "KIND NUMBER": after "out N" and "err N" follow N
// bytes for standard output or standard error; "end STATUS" ends the answer, STATUS is the exit
// code. A client may send the next request at once; it is answered after this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace lsn::control {

inline constexpr std::size_t kLongestRequest = 65536;

/// A request that begins with this is several commands that change objects, each behind such a
/// mark; before the first stands how they are to be taken. The answer has a "Done" for each that
/// was carried out, in their order.
inline constexpr char kBatchMark = '\x1e';
inline constexpr std::string_view kBatchOrdered = "ordered";  ///< up to the first that is refused
inline constexpr std::string_view kBatchAtomic = "atomic";    ///< all of them or none
inline constexpr std::size_t kLongestBatch = 4 << 20;

enum class Stream : std::uint8_t { kOut, kErr };

/// Appends a frame; nothing, if there is no text.
void append_frame(std::string& to, Stream stream, std::string_view text);
void append_end(std::string& to, int status);

/// Takes answers apart, in whatever pieces their bytes come.
class AnswerReader {
 public:
  using Sink = std::function<void(Stream stream, std::string_view text)>;

  explicit AnswerReader(Sink sink) : sink_(std::move(sink)) {}

  enum class State : std::uint8_t { kMore, kEnd, kBroken };

  /// Goes through `bytes` up to the end of one answer and takes that away from their front.
  [[nodiscard]] State feed(std::string_view& bytes);
  /// After kEnd.
  [[nodiscard]] int status() const { return status_; }

 private:
  [[nodiscard]] bool begin_frame();

  Sink sink_;
  std::string head_;  ///< of the frame that is being read
  std::optional<Stream> stream_;
  std::size_t missing_ = 0;  ///< bytes of the frame
  bool ended_ = false;
  int status_ = 0;
};

}  // namespace lsn::control
