// Parameters of a round of the models from the environment.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace lsn::test {

/// A number in the environment, e.g. the seed that a failure printed.
inline std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace lsn::test
