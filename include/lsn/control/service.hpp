// The messages to the service manager (sd_notify(3), Type=notify): that packets are let in, that a
// reload is under way, that lsnd lives, that it stops. Without a service manager nothing happens.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace lsn::control {

/// The unit is active, again after a reload. `status`: a line for `systemctl status`.
void tell_service_ready(const std::string& status);
void tell_service_reloading();
void tell_service_stopping();

/// The interval within which it wants a sign of life (WatchdogSec=); nullopt: it wants none.
[[nodiscard]] std::optional<std::chrono::microseconds> service_watchdog();
void tell_service_alive();

}  // namespace lsn::control
