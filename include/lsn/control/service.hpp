// What the service manager is told (sd_notify(3), Type=notify): that packets are let in, that a
// reload is under way, that lsnd stops. Without a service manager nothing happens.
#pragma once

#include <string>

namespace lsn::control {

/// The unit is active, again after a reload. `status`: a line for `systemctl status`.
void tell_service_ready(const std::string& status);
void tell_service_reloading();
void tell_service_stopping();

}  // namespace lsn::control
