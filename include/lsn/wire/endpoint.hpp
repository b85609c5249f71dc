// An address and a port (or an ICMP query's identifier), as they stand in packets.
#pragma once

#include "lsn/wire/big_endian.hpp"

namespace lsn::wire {

struct Endpoint {
  Be32 address;
  Be16 port;

  friend constexpr bool operator==(const Endpoint&, const Endpoint&) = default;
};

}  // namespace lsn::wire
