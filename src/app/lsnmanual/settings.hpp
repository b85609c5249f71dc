// Every setting of the configuration file as its manual page has it: name, default and range are
// describe.hpp's, its purpose is a sentence here.
#pragma once

#include <string>
#include <vector>

namespace lsn::manual {

struct Setting {
  std::string name;     ///< "maxSessions"
  std::string initial;  ///< as it is written; empty: none
  std::string allowed;  ///< as messages have it
  std::string does;     ///< a sentence
  bool required = false;
  bool restart = false;  ///< a reload cannot change it
};

struct Section {
  std::string path;   ///< "dataplane.alg", "lsn.pool"
  bool list = false;  ///< ( { }, ... ) instead of { }
  std::vector<Setting> settings;
};

/// In the order of the reference. Throws std::runtime_error for a setting without a sentence, and
/// for a sentence without a setting.
[[nodiscard]] std::vector<Section> all_settings();

}  // namespace lsn::manual
