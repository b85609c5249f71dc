// A model as a list of settings: "dataplane.maxSessions" = "1048576".
//
// Comparisons of models, and searches for values by the name of their setting, work on this list.
// Objects in lists are called by their names ("lsn.pool[LSN-POOL-1].lsnip[0]"), or by their
// numbers, to find places in a file ("lsn.pool[0].lsnip[0]"). Static mappings are left out: there
// may be a million, all their settings are available and change without a restart.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/model.hpp"

namespace lsn::control {

struct FlatSetting {
  std::string path;
  std::string label;  ///< for messages: "pool LSN-POOL-1: lsnip"
  std::string value;  ///< as it is written, without quotes

  friend bool operator==(const FlatSetting&, const FlatSetting&) = default;
};

enum class ObjectsBy { kNumber, kName };

[[nodiscard]] std::vector<FlatSetting> flatten(const Model& model, ObjectsBy by);

/// "lsn.pool[0].lsnip[1]" without the text in brackets: "lsn.pool.lsnip".
[[nodiscard]] std::string without_indexes(std::string_view path);

}  // namespace lsn::control
