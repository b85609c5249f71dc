#include "lsn/control/service.hpp"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

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

}  // namespace lsn::control
