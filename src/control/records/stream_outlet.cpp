#include "lsn/control/records/stream_outlet.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace lsn::control {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Of one attempt to connect, with its handshake; several calls may take part in it.
constexpr milliseconds kConnectPatience{10'000};
/// Between two looks at what was acknowledged, at the end.
constexpr milliseconds kAcknowledgeInterval{2};

}  // namespace

StreamOutlet::StreamOutlet(std::string name, const Endpoint& server, std::optional<TlsSettings> tls,
                           Hooks hooks)
    : name_(std::move(name)), server_(server), tls_(std::move(tls)), hooks_(std::move(hooks)) {}

void StreamOutlet::complain(const std::string& what) {
  if (what == complaint_) return;
  complaint_ = what;
  spdlog::warn("records: {}: {}; it is tried again", name_, what);
}

void StreamOutlet::begin_pause() {
  next_try_ = steady_clock::now() + pause_;
  pause_ = std::min(2 * pause_, kMostPause);
}

bool StreamOutlet::connect(Deadline deadline) {
  const auto now = steady_clock::now();
  if (!socket_.is_connecting()) {
    if (now < next_try_) return false;
    socket_.begin(server_, tls_);
    connect_until_ = now + kConnectPatience;
  }
  const auto progress = socket_.proceed(std::min(deadline, connect_until_));
  const bool late = progress == StreamSocket::Progress::kPending && now >= connect_until_;
  if (progress == StreamSocket::Progress::kPending && !late) return false;
  if (progress != StreamSocket::Progress::kConnected) {
    complain(late ? "no answer" : socket_.why());
    socket_.finish();
    begin_pause();
    return false;
  }
  is_taken_back_ = false;
  spdlog::info("records: {}: connected{}", name_,
               flying_.empty() ? ""
                               : fmt::format("; {} records that were under way are sent again",
                                             unacknowledged()));
  complaint_.clear();
  if (!hooks_.greeting) return true;
  Flying greeting;
  greeting.piece.bytes = hooks_.greeting();
  greeting.is_greeting = true;
  for (Flying& flying : flying_) hooks_.renew(flying.piece);
  flying_.push_front(std::move(greeting));
  return true;
}

bool StreamOutlet::push() {
  while (sent_ < flying_.size()) {
    Flying& flying = flying_[sent_];
    if (flying.offset == 0) flying.begin = socket_.written();
    flying.offset += socket_.write(std::string_view(flying.piece.bytes).substr(flying.offset));
    if (!flying.is_sent()) return false;
    flying.end = socket_.written();
    ++sent_;
  }
  return true;
}

bool StreamOutlet::ready(Deadline deadline) {
  for (;;) {
    if (!socket_.connected()) {
      take_back();
      if (!connect(deadline)) return false;
    }
    if (push()) return true;
    if (socket_.connected() && !socket_.wait_for_room(deadline)) return false;
  }
}

void StreamOutlet::give(Piece piece) {
  flying_.emplace_back().piece = std::move(piece);
  push();
  forget_acknowledged();
}

void StreamOutlet::forget_acknowledged() {
  if (sent_ == 0) return;
  const std::uint64_t acknowledged = socket_.acknowledged();
  while (sent_ != 0 && flying_.front().end <= acknowledged) {
    if (!flying_.front().is_greeting) {
      pause_ = kLeastPause;
      has_acknowledged_ = true;
    }
    flying_.pop_front();
    --sent_;
  }
}

void StreamOutlet::take_back_messages(Flying& flying, std::uint64_t acknowledged) const {
  // With TLS the other side cannot read a record before it is whole.
  if (tls_ || acknowledged <= flying.begin) return;
  std::vector<std::uint32_t>& ends = flying.piece.ends;
  const auto arrived = static_cast<std::size_t>(
      std::upper_bound(ends.begin(), ends.end(), acknowledged - flying.begin) - ends.begin());
  if (arrived == 0) return;
  const std::uint32_t cut = ends[arrived - 1];
  // One message may have several records (IPFIX), but then it is a piece of its own.
  flying.piece.records -= std::min(flying.piece.records, static_cast<std::uint32_t>(arrived));
  flying.piece.bytes.erase(0, cut);
  ends.erase(ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(arrived));
  for (std::uint32_t& end : ends) end -= cut;
}

void StreamOutlet::take_back() {
  if (is_taken_back_) return;
  is_taken_back_ = true;
  complain(socket_.why());
  forget_acknowledged();
  const std::uint64_t acknowledged = socket_.acknowledged();
  sent_ = 0;
  std::erase_if(flying_, [](const Flying& flying) { return flying.is_greeting; });
  if (!flying_.empty() && flying_.front().offset != 0)
    take_back_messages(flying_.front(), acknowledged);
  for (Flying& flying : flying_) flying.offset = 0;
  // At once if it has acknowledged something; one that takes connections and nothing else is not
  // asked all the time.
  if (std::exchange(has_acknowledged_, false))
    next_try_ = {};
  else
    begin_pause();
}

void StreamOutlet::look(Deadline deadline) {
  socket_.look();
  if (socket_.connected()) {
    forget_acknowledged();
    push();
  } else {
    static_cast<void>(ready(deadline));
  }
}

void StreamOutlet::finish(Deadline deadline) {
  while (!flying_.empty() && steady_clock::now() < deadline) {
    if (!ready(deadline) && !socket_.connected() && next_try_ > deadline) break;
    socket_.look();
    forget_acknowledged();
    if (!flying_.empty()) std::this_thread::sleep_for(kAcknowledgeInterval);
  }
  if (const std::uint64_t left = unacknowledged(); left != 0)
    spdlog::error("records: {}: {} records were sent or waited, and never acknowledged", name_,
                  left);
  socket_.finish();
}

std::uint64_t StreamOutlet::unacknowledged() const {
  std::uint64_t sum = 0;
  for (const Flying& flying : flying_) sum += flying.piece.records;
  return sum;
}

}  // namespace lsn::control
