#include "lsn/runtime/mailbox.hpp"

namespace lsn::runtime {

Mailbox::~Mailbox() {
  // The worker has stopped: the control thread has both ends. A client that still waits for an
  // answer gets none.
  while (const auto command = to_worker_.pop()) delete *command;
  while (const auto command = to_control_.pop()) delete *command;
  delete current_;
}

void Mailbox::post(std::unique_ptr<Command> command) {
  ++outstanding_;
  waiting_.push_back(std::move(command));
  send_waiting();
}

void Mailbox::send_waiting() {
  while (!waiting_.empty()) {
    Command* command = waiting_.front().get();
    if (!to_worker_.push(std::move(command))) return;
    static_cast<void>(waiting_.front().release());
    waiting_.pop_front();
  }
}

std::size_t Mailbox::collect() {
  std::size_t ended = 0;
  while (const auto returned = to_control_.pop()) {
    const std::unique_ptr<Command> command(*returned);
    --outstanding_;
    ++ended;
    command->done();
  }
  send_waiting();
  return ended;
}

bool Mailbox::work(datapath::Shard& shard) {
  if (current_ == nullptr) {
    const auto next = to_worker_.pop();
    if (!next) return false;
    current_ = *next;
    current_finished_ = false;
  }
  if (!current_finished_) current_finished_ = current_->step(shard) == Command::Progress::kFinished;
  if (current_finished_) {
    Command* command = current_;
    if (to_control_.push(std::move(command))) current_ = nullptr;
  }
  return true;
}

}  // namespace lsn::runtime
