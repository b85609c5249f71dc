// State that cannot be learned again from packets after a restart (design 6.4, warm restart): one
// record per thing, plain data. Workers write them as things change; the control thread keeps them
// in a file, and restores them before the first packet.
//
// A record's later versions replace it (`same_thing`); `gone` takes it away. The pairing of a
// client with its NAT address is in every one of its records.
#pragma once

#include <cstdint>

#include "lsn/shared/domain.hpp"
#include "lsn/shared/lossy_ring.hpp"
#include "lsn/wire/big_endian.hpp"
#include "lsn/wire/ike.hpp"

namespace lsn::shared {

struct StateRecord {
  enum class Kind : std::uint8_t {
    kMapping = 1,     ///< of UDP towards port 500 of the server
    kIkeSession = 2,  ///< with its mapping
    kEspSession = 3,
    kExchange = 4,  ///< of an IKE session, that may still bring an inbound SPI
  };

  Kind kind = Kind::kMapping;
  bool gone = false;
  std::uint8_t version = 0;  ///< IKE: major
  bool answered = false;     ///< IKE, exchange: its latest request
  bool keeps_port = false;   ///< mapping, IKE: ikePreservePort
  std::uint8_t shard = 0;    ///< ESP: with `place` its name while this process lives
  std::uint32_t place = 0;
  wire::Be32 client{};
  wire::Be32 nat_ip{};
  wire::Be32 server{};
  wire::Be16 inside_port{};  ///< mapping, IKE
  wire::Be16 nat_port{};
  std::uint8_t exchange = 0;         ///< exchange: ExchangeKind
  bool from_server = false;          ///< exchange: the server began it
  std::uint32_t message_id = 0;      ///< exchange
  std::uint32_t latest_request = 0;  ///< exchange
  wire::IkeSpi initiator = 0;        ///< IKE, exchange: of its session
  wire::IkeSpi responder = 0;
  wire::Be32 spi_out{};  ///< ESP; zero: not known
  wire::Be32 spi_in{};
  std::uint32_t idle_seconds = 0;  ///< exchange: since it was admitted
  DomainId td = 0;                 ///< of the client
};

using StateRing = LossyRing<StateRecord, 4096>;

}  // namespace lsn::shared
