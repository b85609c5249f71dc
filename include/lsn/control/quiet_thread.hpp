// A thread to which the process' signals do not go: they are the controller's, and its threads may
// begin before it blocks them.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <thread>
#include <utility>

namespace lsn::control {

template <class Function>
[[nodiscard]] std::thread quiet_thread(Function&& run) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::forward<Function>(run));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace lsn::control
