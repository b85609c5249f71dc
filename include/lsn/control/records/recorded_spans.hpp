// When the records of a NAT address were kept: out of what CONFIG records say of the groups'
// logging (group_note.hpp). That nobody is in the records is an answer only where all would have
// been.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/records/find.hpp"
#include "lsn/control/records/group_note.hpp"
#include "lsn/control/records/record_line.hpp"

namespace lsn::control {

class RecordedSpans {
 public:
  /// The question outlives it.
  explicit RecordedSpans(const FindQuestion& question) : question_(question) {}

  /// A CONFIG record about a group, in the order of time.
  void see(const RecordLine& record, const GroupNote& note);
  /// lsnd began or ended.
  void end_all(const RecordLine& record);

  /// Why somebody may have had the endpoint without a record; nullopt: nobody may.
  [[nodiscard]] std::optional<std::string> doubt() const;
  /// The group left out ends of what began then, at some time until the question's.
  [[nodiscard]] bool may_lack_end(std::string_view group, std::int64_t from_ms) const;

 private:
  struct Span {
    std::string node;
    std::string group;
    std::int64_t from_ms;
    std::optional<std::int64_t> until_ms;
    bool has_address;  ///< the question's is the group's
    bool has_sessions;
    bool has_ends;
  };

  void end(const std::string& node, std::string_view group, std::int64_t at_ms);

  const FindQuestion& question_;
  std::vector<Span> spans_;  ///< of groups that record, in the order of their beginnings
};

}  // namespace lsn::control
