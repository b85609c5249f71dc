// The control thread: one loop that decides everything and never touches a packet.
//
// It waits in epoll for four things: a timer (Dataplane::poll() every 10 ms, every millisecond
// while an answer of a worker is awaited), signals (SIGHUP reloads, SIGUSR2 opens the log file
// again, SIGTERM and SIGINT stop), new clients on the command socket, and the clients' bytes.
// Nothing here waits for a worker or a client, and nothing spins. The order in main():
//
//   Controller::block_signals()   before any thread: the signals are the controller's
//   StartSignals                  SIGTERM and SIGINT until it runs
//   load_config(), set_up_log()
//   CommandSocket::open()         before the devices are taken: is another lsnd alive?
//   open_metrics_socket()         likewise: is the port free?
//   EAL, dataplane
//   Controller(...).run()         publishes the first generation, returns the exit code
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lsn/control/command/command_socket.hpp"
#include "lsn/control/config/model.hpp"
#include "lsn/control/dataplane.hpp"
#include "lsn/control/file_descriptor.hpp"

namespace lsn::control {

struct ControllerOptions {
  std::string config_path;  ///< the file that a reload reads
  Model model;              ///< its content at start
  CommandSocket socket;
  std::optional<CommandSocket> view_socket{};  ///< for users who may only read
  FileDescriptor metrics{};                    ///< open_metrics_socket()
};

class Controller {
 public:
  /// SIGHUP, SIGUSR2, SIGTERM and SIGINT for this thread and all that it starts.
  static void block_signals();

  /// The dataplane outlives the controller.
  Controller(ControllerOptions options, Dataplane& dataplane);
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  /// Until SIGTERM or SIGINT: 0; 1 if the loop itself fails. Once.
  [[nodiscard]] int run();

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace lsn::control
