// The demands of a configuration on this machine, compared with the machine.
//
// lsnd itself finds most of it out when it starts, one thing at a time and in DPDK's words; `lsnd
// --check` reports all of it at once, with the lines of the file.
#pragma once

#include <string>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/runtime/eal.hpp"
#include "lsn/runtime/plan.hpp"

namespace lsn::runtime {

/// Memory given to EAL (-m) that cannot hold the packet buffers.
void check_memory(const control::Model& model, control::Findings& findings);

/// CPUs, PCI devices and kernel interfaces that are not there, addresses that the kernel has too.
void check_machine(const control::Model& model, const Machine& machine,
                   control::Findings& findings);

/// Memory of all tables: those that huge pages are taken for, in whole pages of 2 MB, and the rest.
struct TableNeed {
  std::size_t huge = 0;
  std::size_t small = 0;
};
/// Of one worker. The tables are made and given back, untouched: std::bad_alloc if not even that
/// can be had.
[[nodiscard]] TableNeed table_need(const Plan& plan);

/// The memory that a configuration takes, and the huge pages for it: lines for the report.
[[nodiscard]] std::vector<std::string> describe_memory(const Plan& plan, const Machine& machine);

}  // namespace lsn::runtime
