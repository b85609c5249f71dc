// lsnd --replay: a capture goes through the real packet path, without devices and in virtual time,
// and each packet's fate is said in a line. So a customer's capture becomes a test case.
//
// One shard does the work of all, on packet buffers of its own. The clock is the capture's: between
// two packets it goes on in ticks, so that sessions expire and the ALG's turns end as they would
// have. Every next hop answers ARP at once, from a hardware address made of its own.
//
// A packet of the capture comes from inside if its source is a client's address, otherwise from
// outside. A capture that was taken inside has the answers as the subscriber got them, to its own
// address: such a packet is sent to the NAT endpoint that stands for the subscriber in this run, by
// its session; without one it cannot be replayed, which is said. The same holds for what cannot
// have come to the NAT: packets that it sent itself, or that were cut short by the capture.
//
// A file of `start capture` has a forwarded packet twice, on both sides of the NAT: of one from
// outside the packet that left inside is replayed, as the NAT's ports are others in this run.
//
// While the ALG holds a message, what its client and server said after it comes as much later: they
// would not have said it yet.
#pragma once

#include <cstdint>
#include <cstdio>
#include <expected>
#include <string>

#include "lsn/control/config/model.hpp"
#include "lsn/shared/domain.hpp"

namespace lsn::runtime {

struct ReplayRequest {
  std::string capture;
  std::string outside;  ///< gets what would have left outside; empty: none
  std::string inside;
  shared::DomainId td = 0;  ///< traffic domain of the capture's subscribers
};

/// Writes the lines, and a summary at the end. EAL must run (replay_eal_arguments()). Error: one
/// line.
[[nodiscard]] std::expected<void, std::string> replay(const control::Model& model,
                                                      const ReplayRequest& request,
                                                      std::FILE* lines);

/// Starts EAL without devices, shared files or huge pages, and replays. Error: one line.
[[nodiscard]] std::expected<void, std::string> replay_alone(const control::Model& model,
                                                            const ReplayRequest& request,
                                                            std::FILE* lines);

}  // namespace lsn::runtime
