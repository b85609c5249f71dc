// `lsnctl convert FILE`: a file of NetScaler commands, or a whole ns.conf, as a configuration file.
//
// It works offline. Lines for large scale NAT become objects by the same rules as on a running box;
// addresses of the box and routes become interfaces and routes as far as they say enough; a command
// without a counterpart is named on standard error with its line and the consequence. If the file
// does not say which links there are, the result has placeholders, so that it passes `lsnd --check`
// and can be completed.
#pragma once

#include <string>

namespace lsn::ctl {

/// The exit code: 0, or 1 if the file cannot be read or makes no configuration.
[[nodiscard]] int convert(const std::string& path);

}  // namespace lsn::ctl
