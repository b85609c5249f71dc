#include "lsn/control/log.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <syslog.h>

#include <memory>
#include <utility>

namespace lsn::control {
namespace {

constexpr const char* kName = "lsnd";
/// With time and level; syslog has both by itself.
constexpr const char* kPattern = "%Y-%m-%d %H:%M:%S.%e %l: %v";

void use(spdlog::sink_ptr sink, const char* pattern) {
  auto logger = std::make_shared<spdlog::logger>(kName, std::move(sink));
  logger->set_pattern(pattern);
  logger->set_level(spdlog::get_level());
  // Rare lines that matter: none is kept back.
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kCritical:
      return spdlog::level::critical;
  }
  return spdlog::level::info;
}

}  // namespace

void set_up_log_to_stderr() {
  use(std::make_shared<spdlog::sinks::stderr_sink_mt>(), kPattern);
}

std::expected<void, std::string> set_up_log(const LogConfig& config) {
  try {
    if (config.target == "stderr") {
      set_up_log_to_stderr();
    } else if (config.target == "syslog") {
      use(std::make_shared<spdlog::sinks::syslog_sink_mt>(kName, LOG_PID, LOG_DAEMON, false), "%v");
    } else {
      use(std::make_shared<spdlog::sinks::basic_file_sink_mt>(config.target), kPattern);
    }
  } catch (const spdlog::spdlog_ex& error) {
    return std::unexpected(fmt::format("log.target: given {}, allowed a file that can be written: {}",
                                       config.target, error.what()));
  }
  set_log_level(config.level);
  return {};
}

void set_log_level(LogLevel level) { spdlog::set_level(level_of(level)); }

}  // namespace lsn::control
