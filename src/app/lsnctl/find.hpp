// `lsnctl find`: whose a NAT address and port was, out of the files of records; without a daemon.
#pragma once

#include <string>
#include <vector>

#include "lsn/control/command/grammar.hpp"

namespace lsn::ctl {

/// `words`: "find", its options and files. 0: somebody had it, or surely nobody did; 1: the
/// question is wrong or a file cannot be read; 2: nobody, but it is not sure.
[[nodiscard]] int find(const std::vector<std::string>& words, control::Format format);

}  // namespace lsn::ctl
