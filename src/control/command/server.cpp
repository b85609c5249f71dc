#include "lsn/control/command/server.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "lsn/control/command/object_commands.hpp"
#include "lsn/control/command/protocol.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

/// Steps for one client before the next one is served.
constexpr unsigned kStepsAtOnce = 16;
constexpr std::size_t kReadAtOnce = 16384;

/// A user's name as /etc/passwd has it: other sources may take their time.
std::string name_of_user(uid_t uid) {
  std::string name = "?";
  std::FILE* const file = std::fopen("/etc/passwd", "re");
  if (file == nullptr) return name;
  while (const passwd* entry = fgetpwent(file))
    if (entry->pw_uid == uid) {
      name = entry->pw_name;
      break;
    }
  std::fclose(file);
  return name;
}

/// "root (uid 0, process 4711)" (SO_PEERCRED, unix(7))
std::string name_of_peer(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return "somebody";
  return fmt::format("{} (uid {}, process {})", name_of_user(peer.uid), peer.uid, peer.pid);
}

/// Whether a line asks for JSON, whatever else it says.
bool says_json(const std::string& line) {
  const auto words = split_words(line.starts_with(kBatchMark) ? "" : line);
  return words && std::any_of(words->begin(), words->end(), [](const Word& word) {
           return !word.quoted && same_word(word.text, "--json");
         });
}

std::string error_line(std::string_view error) {
  return "ERROR: " + std::string(error) + '\n';
}

}  // namespace

struct CommandServer::Client {
  FileDescriptor fd;
  bool json = false;      ///< the request under way asked for it
  std::string by;         ///< the user, for the log
  std::string in;         ///< received, not yet looked at
  bool in_ended = false;  ///< it will send nothing more
  std::string out;        ///< to be written, from `written` on
  std::size_t written = 0;
  std::unique_ptr<Answer> answer;  ///< under way
  bool waits = false;              ///< the answer waits for the workers
  bool closing = false;            ///< goes away when `out` has been written
  bool gone = false;               ///< to be removed from the list
  Time since;                      ///< of the last step that was waited for

  [[nodiscard]] bool has_request() const {
    return in.find('\n') != std::string::npos || (in_ended && !in.empty());
  }
  [[nodiscard]] bool all_written() const { return written == out.size(); }
};

CommandServer::CommandServer(CommandSocket socket, const Grammar& grammar, CommandContext context,
                             EventLoop& loop, Time now, const ServerLimits& limits)
    : socket_(std::move(socket)),
      grammar_(grammar),
      context_(context),
      loop_(loop),
      limits_(limits),
      now_(now) {
  listen();
}

CommandServer::~CommandServer() {
  for (const auto& client : clients_)
    if (!client->gone) loop_.forget(client->fd.get());
  if (listening_) loop_.forget(socket_.fd());
}

void CommandServer::listen() {
  listening_ = loop_.watch(socket_.fd(), EPOLLIN, [this] { accept_clients(); });
}

void CommandServer::accept_clients() {
  for (unsigned i = 0; i < kStepsAtOnce; ++i) {
    FileDescriptor fd(accept4(socket_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN) break;
      // No descriptors, no memory: they wait in the queue until the next tick, and the loop does
      // not spin.
      spdlog::warn("command socket: accept: {}", strerror(errno));
      loop_.forget(socket_.fd());
      listening_ = false;
      break;
    }
    if (clients_.size() >= limits_.clients && !make_room()) {
      std::string answer;
      append_frame(answer, Stream::kErr,
                   error_line(complaint("command socket", "one client too many",
                                        std::to_string(limits_.clients) + " at a time")));
      append_end(answer, 1);
      static_cast<void>(::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL));
      continue;
    }
    auto client = std::make_unique<Client>();
    Client& added = *client;
    added.fd = std::move(fd);
    added.by = name_of_peer(added.fd.get());
    added.since = now_;
    const auto ready = [this, &added] {
      // While an answer waits for the workers, nothing is watched for but the client's end.
      added.waits ? forget(added) : serve(added);
      sweep();
    };
    if (!loop_.watch(added.fd.get(), EPOLLIN, ready)) continue;
    clients_.push_back(std::move(client));
  }
}

bool CommandServer::make_room() {
  // Clients whose answer waits for the workers keep their places.
  Client* longest = nullptr;
  for (const auto& client : clients_)
    if (!client->gone && !client->waits && (longest == nullptr || client->since < longest->since))
      longest = client.get();
  if (longest == nullptr) return false;
  forget(*longest);
  sweep();
  return true;
}

void CommandServer::serve(Client& client) {
  if (client.gone) return;
  // An answer under way, or bytes that wait: further bytes stay in the kernel.
  if (client.all_written() && !client.answer && !client.has_request() && !receive(client))
    return forget(client);
  for (unsigned step = 0;; ++step) {
    if (!client.all_written() && !send(client)) return forget(client);
    if (!client.all_written()) return loop_.change(client.fd.get(), EPOLLOUT);
    if (client.closing) return forget(client);
    // Ready to write as it is, the client is served again at once, after the others.
    if (step == kStepsAtOnce) return loop_.change(client.fd.get(), EPOLLOUT);
    if (client.answer) {
      go_on(client);
      if (client.waits) return loop_.change(client.fd.get(), 0);
    } else if (!begin_next(client)) {
      if (client.in_ended) return forget(client);
      return loop_.change(client.fd.get(), EPOLLIN);
    }
  }
}

bool CommandServer::receive(Client& client) {
  std::array<char, kReadAtOnce> bytes;
  const ssize_t count = recv(client.fd.get(), bytes.data(), bytes.size(), 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  // Time runs from the first byte of a request, or since the last answer.
  if (client.in.empty()) client.since = now_;
  client.in.append(bytes.data(), static_cast<std::size_t>(count));
  client.in_ended = count == 0;
  return true;
}

bool CommandServer::send(Client& client) {
  const ssize_t count = ::send(client.fd.get(), client.out.data() + client.written,
                               client.out.size() - client.written, MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  client.since = now_;
  client.written += static_cast<std::size_t>(count);
  if (client.all_written()) {
    client.out.clear();
    client.written = 0;
  }
  return true;
}

bool CommandServer::begin_next(Client& client) {
  std::size_t end = client.in.find('\n');
  if (end == std::string::npos && client.in_ended && !client.in.empty()) end = client.in.size();
  const std::size_t longest =
      context_.may_change && client.in.starts_with(kBatchMark) ? kLongestBatch : kLongestRequest;
  if (std::min(end, client.in.size()) > longest) {
    fail(client, complaint("command", fmt::format("more than {} bytes", longest),
                           fmt::format("a line of at most {} bytes", longest)));
    client.closing = true;
    return true;
  }
  if (end == std::string::npos) return false;
  const std::string line = client.in.substr(0, end);
  client.in.erase(0, end + 1);
  client.since = now_;

  client.json = says_json(line);
  if (line.starts_with(kBatchMark)) {
    if (!context_.may_change) {
      refuse_change(client, "several commands in one");
      return true;
    }
    Batch batch = grammar_.parse_batch(line);
    for (Command& command : batch.commands) command.by = client.by;
    client.json = !batch.commands.empty() && batch.commands.front().format == Format::kJson;
    client.answer = begin_batch(std::move(batch), context_);
    return true;
  }
  auto command = grammar_.parse(line);
  if (!command) {
    fail(client, command.error());
    return true;
  }
  if (!*command) {
    append_end(client.out, 0);
    return true;
  }
  if ((*command)->is_change() && !context_.may_change) {
    refuse_change(client, (*command)->spec->words);
    return true;
  }
  (*command)->by = client.by;
  // Commands that change objects are logged when the change is in force (RunningConfig).
  if ((*command)->is_change() && !(*command)->spec->takes_words)
    spdlog::info("asked for by {}: {}", client.by, line);
  if (auto begun = (*command)->spec->begin(**command, context_); !begun) {
    fail(client, begun.error());
  } else {
    client.answer = std::move(*begun);
  }
  return true;
}

void CommandServer::go_on(Client& client) {
  std::string piece;
  const Answer::Progress progress = client.answer->next(piece);
  append_frame(client.out, Stream::kOut, piece);
  client.waits = progress == Answer::Progress::kWaiting;
  if (progress == Answer::Progress::kDone) {
    append_end(client.out, 0);
    client.answer.reset();
  } else if (progress == Answer::Progress::kFailed) {
    append_errors(client, client.answer->errors());
    append_end(client.out, 1);
    client.answer.reset();
  }
}

void CommandServer::fail(Client& client, std::string_view error) {
  append_errors(client, {std::string(error)});
  append_end(client.out, 1);
}

void CommandServer::append_errors(Client& client, const std::vector<std::string>& errors) {
  if (client.json)
    append_frame(client.out, Stream::kOut,
                 nlohmann::ordered_json{{"errors", errors}}.dump(
                     -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
                     '\n');
  std::string lines;
  for (const std::string& error : errors) lines += error_line(error);
  append_frame(client.out, Stream::kErr, lines);
}

void CommandServer::refuse_change(Client& client, std::string_view words) {
  fail(client, complaint(words, "at the socket for looking",
                         "commands that change nothing; changes are for control.group"));
}

void CommandServer::forget(Client& client) {
  loop_.forget(client.fd.get());
  client.fd.reset();
  client.answer.reset();
  client.waits = false;
  client.gone = true;
}

void CommandServer::sweep() {
  std::erase_if(clients_, [](const auto& client) { return client->gone; });
}

void CommandServer::tick(Time now) {
  now_ = now;
  if (!listening_) listen();
  for (const auto& client : clients_) {
    if (client->gone) continue;
    if (client->waits) {
      client->since = now;
      serve(*client);
      continue;
    }
    const auto allowed = !client->all_written() ? limits_.reading
                         : client->in.empty()   ? limits_.silence
                                                : limits_.request;
    if (now - client->since > allowed) forget(*client);
  }
  sweep();
}

bool CommandServer::waiting() const {
  return std::any_of(clients_.begin(), clients_.end(),
                     [](const auto& client) { return client->waits; });
}

}  // namespace lsn::control
