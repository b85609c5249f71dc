// Asking a NIC to put packets where their owner polls.
//
// A hint, nothing more: every packet's owner is checked by the worker that gets it. Three things
// are tried, best first, and the outcome for a port is kept in words:
//   outside  rte_flow: destination NAT address -> the owner's queue, for each address that the
//            driver accepts; redone for changed addresses when a generation is published
//   inside   rte_flow: RSS over the source address alone, ESP, other protocols and fragments
//            included, so that a subscriber's packets come to one worker
//   else     RSS over addresses as the driver has it; or nothing: one queue, or the device's own
//            distribution
#pragma once

#include <rte_ethdev.h>
#include <rte_flow.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lsn/shared/generation.hpp"

namespace lsn::runtime {

class Steering {
 public:
  /// The part of the device's offers to ask rte_eth_dev_configure() for.
  void choose_rss(const rte_eth_dev_info& info, unsigned rx_queues, rte_eth_conf& conf);

  /// After the port has started.
  void start(std::uint16_t port, const std::vector<unsigned>& poller_of, bool inside, bool outside);

  /// Rules for the NAT addresses of a generation instead of those of the one before.
  void update(const shared::Generation& generation);

  /// Before the port stops.
  void stop();

  /// The outcome for the port.
  [[nodiscard]] std::string describe() const;

 private:
  struct Rule {
    rte_flow* flow;
    shared::ShardId owner;
  };

  void hash_source_only();
  [[nodiscard]] rte_flow* queue_rule(std::uint32_t address, std::uint16_t queue);

  std::uint16_t port_ = RTE_MAX_ETHPORTS;
  unsigned rx_queues_ = 1;
  std::uint64_t rss_hf_ = 0;
  std::vector<int> queue_of_;  ///< by worker; -1: it polls none here
  bool wants_rules_ = false;
  bool ignores_source_only_ = false;
  rte_flow* source_rule_ = nullptr;
  std::string refusal_;                  ///< why the driver took no (more) address rules
  std::size_t wanted_ = 0;               ///< address rules of the present generation
  std::map<std::uint32_t, Rule> rules_;  ///< by NAT address
};

}  // namespace lsn::runtime
