// lsnd: arguments, and the order of the start. The exit code is the outcome: 0 stopped (or the file
// is good), 1 it could not run, 2 the configuration or the command line is wrong.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "lsn/control/command/command_socket.hpp"
#include "lsn/control/config/check_report.hpp"
#include "lsn/control/config/load.hpp"
#include "lsn/control/config/plausibility.hpp"
#include "lsn/control/controller.hpp"
#include "lsn/control/ha/state_file.hpp"
#include "lsn/control/log.hpp"
#include "lsn/control/metrics/metrics_server.hpp"
#include "lsn/control/start_signals.hpp"
#include "lsn/runtime/buffers.hpp"
#include "lsn/runtime/dataplane.hpp"
#include "lsn/runtime/eal.hpp"
#include "lsn/runtime/machine_check.hpp"
#include "lsn/runtime/plan.hpp"
#include "lsn/runtime/replay.hpp"
#include "lsn/runtime/telemetry.hpp"

namespace {

using namespace lsn;

constexpr int kCannotRun = 1;
constexpr int kBadConfiguration = 2;

struct Options {
  std::string config = "/etc/lsnd/lsnd.conf";
  bool check = false;
  bool elsewhere = false;
  runtime::ReplayRequest replay;
};

int run(control::Model model, const std::string& path, control::StartSignals& signals) {
  const auto fail = [](const std::string& error) {
    spdlog::error("{}", error);
    return kCannotRun;
  };
  if (auto ready = control::set_up_log(model.log); !ready) return fail(ready.error());
  auto socket = control::CommandSocket::open(model.control);
  if (!socket) return fail(socket.error());
  std::optional<control::CommandSocket> view_socket;
  if (!model.control.view_group.empty()) {
    auto made = control::CommandSocket::open_view(model.control);
    if (!made) return fail(made.error());
    view_socket.emplace(std::move(*made));
  }
  signals.on_end([main = socket->remover(),
                  view = view_socket ? view_socket->remover() : std::function<void()>([] {})] {
    main();
    view();
  });
  auto metrics = control::open_metrics_socket(model.metrics);
  if (!metrics) return fail(metrics.error());
  auto state_lock = control::lock_state_file(model.dataplane.state_file);
  if (!state_lock) return fail(state_lock.error());

  control::Findings doubts;
  control::check_plausibility(model, doubts);
  for (const control::Problem& doubt : doubts.take()) spdlog::warn("{}", doubt.text);

  const runtime::Plan plan = runtime::make_plan(model);
  const auto arguments =
      runtime::eal_arguments(runtime::eal_request(plan), runtime::Machine::inspect());
  if (!arguments) return fail(arguments.error());
  for (const std::string& remark : arguments->remarks) spdlog::warn("{}", remark);
  const auto eal = runtime::Eal::start(*arguments);
  if (!eal) return fail(eal.error());
  // EAL has this thread leave the workers' CPUs alone.
  control::keep_log_on_own_cpus();

  auto dataplane = runtime::DpdkDataplane::start(
      plan, arguments->huge_pages ? runtime::TableMemory::HugePages::kTry
                                  : runtime::TableMemory::HugePages::kLeave);
  if (!dataplane) return fail(dataplane.error());
  std::vector<std::string> interfaces;
  for (const control::InterfaceConfig& interface : model.interfaces)
    interfaces.push_back(interface.name);
  const auto telemetry = runtime::Telemetry::start(**dataplane, std::move(interfaces));
  if (!telemetry) spdlog::warn("{}", telemetry.error());
  control::Controller controller(
      {path, std::move(model), std::move(*socket), std::move(view_socket), std::move(*metrics)},
      **dataplane);
  signals.stop();
  const int code = controller.run();
  runtime::PoolDeleter::process_ends = true;
  return code;
}

/// Everything that can be found without starting: more than lsnd refuses to run with.
int check(const Options& options) {
  const runtime::Machine machine = runtime::Machine::inspect();
  const auto model = control::load_config(
      options.config, [&](const control::Model& sound, control::Findings& findings) {
        control::check_plausibility(sound, findings);
        runtime::check_memory(sound, findings);
        if (!options.elsewhere) runtime::check_machine(sound, machine, findings);
      });
  if (!model) {
    fmt::print(stderr, "{}\n", control::to_string(model.error()));
    return kBadConfiguration;
  }
  fmt::print("{}", control::check_report(
                       *model, runtime::describe_memory(runtime::make_plan(*model), machine)));
  return 0;
}

/// A capture through the packet path, on this machine or any other: devices do not count.
int replay(const Options& options) {
  const auto model = control::load_config(options.config);
  if (!model) {
    fmt::print(stderr, "{}\n", control::to_string(model.error()));
    return kBadConfiguration;
  }
  if (auto done = runtime::replay_alone(*model, options.replay, stdout); !done) {
    fmt::print(stderr, "ERROR: replay: {}\n", done.error());
    return kCannotRun;
  }
  return 0;
}

int start(const Options& options, control::StartSignals& signals) {
  auto model = control::load_config(options.config);
  if (!model) {
    fmt::print(stderr, "{}\n", control::to_string(model.error()));
    return kBadConfiguration;
  }
  return run(std::move(*model), options.config, signals);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Large scale NAT44 with an IPsec ALG", "lsnd");
  app.add_option("-c,--config", options.config, "configuration file")->capture_default_str();
  app.add_flag("--check", options.check,
               "only check the file: report all its problems, or what would run");
  app.add_flag("--elsewhere", options.elsewhere,
               "with --check: for another machine, so that CPUs, devices and addresses of this one "
               "do not count")
      ->needs("--check");
  auto* const capture = app.add_option("--replay", options.replay.capture,
                                       "instead of running: the packets of this capture go through "
                                       "the packet path, in virtual time, "
                                       "and each one's fate is printed");
  app.add_option("--outside", options.replay.outside,
                 "with --replay: a capture file for what would have left outside")
      ->needs(capture);
  app.add_option("--inside", options.replay.inside, "with --replay: the same of inside")
      ->needs(capture);
  app.add_option("--td", options.replay.td,
                 "with --replay: the traffic domain of the capture's subscribers, 0 without it")
      ->needs(capture);
  app.set_version_flag("--version", "lsnd " LSN_VERSION " (" LSN_ARCH ")");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return kBadConfiguration;
  }

  // A reader of lsnd's output may end before lsnd: of a log, or the peer of a memif.
  std::signal(SIGPIPE, SIG_IGN);
  int status = kCannotRun;
  try {
    control::Controller::block_signals();
    control::StartSignals signals;
    control::set_up_log_to_stderr();
    status = options.check                     ? check(options)
             : !options.replay.capture.empty() ? replay(options)
                                               : start(options, signals);
  } catch (const std::exception& error) {
    spdlog::critical("{}", error.what());
  }
  control::finish_log();
  return status;
}
