// Every way to compare a line that this build has, for typed tests.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "lsn/state/line_match.hpp"

namespace lsn::state::test {

using Matches = testing::Types<PlainMatch
#ifdef __SSE2__
                               ,
                               Sse2Match
#endif
#ifdef __AVX2__
                               ,
                               Avx2Match
#endif
#ifdef __AVX512F__
                               ,
                               Avx512Match
#endif
                               >;

struct MatchName {
  template <class Match>
  static std::string GetName(int) {
    return Match::kName;
  }
};

}  // namespace lsn::state::test
