// The machine and build of a measurement: above every table and in every JSON file, because a
// number without it says nothing.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace lsn::bench {

/// CPU, clock, memory, kernel, compiler, flags, DPDK. Needs a running EAL for the TSC's rate.
[[nodiscard]] nlohmann::json environment();

/// The same for people: a few lines.
[[nodiscard]] std::string to_text(const nlohmann::json& environment);

/// "" or why this build must not be measured: not optimised.
[[nodiscard]] std::string unfit();

/// The CPU to measure on by default: the last one that this process may use, because interrupts and
/// the machine's own work prefer the first.
[[nodiscard]] unsigned default_cpu();

}  // namespace lsn::bench
