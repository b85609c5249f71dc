#include "lsn/control/service.hpp"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <cstdint>
#include <ctime>

namespace lsn::control {
namespace {

void tell(const std::string& state) {
  static_cast<void>(sd_notify(/*unset_environment=*/0, state.c_str()));
}

}  // namespace

void tell_service_ready(const std::string& status) {
  tell(fmt::format("READY=1\nSTATUS={}", status));
}

void tell_service_reloading() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}",
                   now.tv_sec * 1'000'000LL + now.tv_nsec / 1'000));
}

void tell_service_stopping() {
  tell("STOPPING=1\nSTATUS=stopping");
}

std::optional<std::chrono::microseconds> service_watchdog() {
  std::uint64_t interval = 0;
  if (sd_watchdog_enabled(/*unset_environment=*/0, &interval) <= 0) return std::nullopt;
  return std::chrono::microseconds(interval);
}

void tell_service_alive() {
  tell("WATCHDOG=1");
}

}  // namespace lsn::control
