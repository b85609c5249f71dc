// What the comment of a captured packet says: what became of it, and whom it concerns.
//
//   forwarded: subscriber 192.0.2.10:4000, NAT 203.0.113.3:51904, remote 198.18.0.1:80 TCP
//   dropped, filtered: MEANING; NAT 203.0.113.3:51904, remote 198.18.0.7:9 UDP
#pragma once

#include <string>

#include "lsn/shared/capture.hpp"

namespace lsn::control {

[[nodiscard]] std::string comment_of(const shared::CaptureRecord& record);

}  // namespace lsn::control
