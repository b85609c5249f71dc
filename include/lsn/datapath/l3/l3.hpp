// The router's floor of a shard: next hops, fragments, ICMP of its own (context.hpp).
#pragma once

#include <cstdint>

#include "lsn/datapath/context.hpp"
#include "lsn/datapath/l3/icmp_budget.hpp"
#include "lsn/datapath/l3/identification.hpp"
#include "lsn/datapath/l3/neighbours.hpp"
#include "lsn/datapath/l3/reassembly.hpp"

namespace lsn::datapath {

struct L3Config : ContextConfig {
  std::uint32_t max_fragments = 4096;
};

struct L3 : Context {
  explicit L3(const L3Config& config);

  Neighbours neighbours;
  IcmpBudget icmp_budget;
  Identifications identifications;
  Reassembly reassembly;

 protected:
  ~L3() = default;
};

}  // namespace lsn::datapath
