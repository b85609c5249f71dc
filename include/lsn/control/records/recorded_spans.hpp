// When the records of a NAT address were kept: out of what CONFIG records say of the groups'
// logging (group_note.hpp). That nobody is in the records is an answer only where all would have
// been, since lsnd began: what begins while nothing is recorded may go on for longer. It is the
// address that counts: a group may get another name, and the address another group.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
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
  /// A CONFIG record about addresses that nothing has been translated to until then.
  void see_new(const RecordLine& record);
  /// lsnd began or ended.
  void end_all(const RecordLine& record);

  /// Adds the nodes that had the address until the question's time by what is said of it.
  void add_nodes(std::set<std::string>& nodes) const;
  /// Why somebody may have had the endpoint without a record; nullopt: nobody may.
  [[nodiscard]] std::optional<std::string> doubt() const;
  /// What began then, with that record, may have ended before the question's time without one.
  [[nodiscard]] bool may_lack_end(const RecordLine& begun, std::int64_t from_ms) const;

 private:
  struct Span {
    std::string node;
    std::string group;
    std::int64_t from_ms;
    std::optional<std::int64_t> until_ms;
    bool has_address;  ///< the question's is the group's
    bool is_recorded;  ///< false: the group logs nothing
    bool has_sessions;
    bool has_ends;
    bool is_computed;  ///< deterministic: sessions are recorded at most
  };

  /// The address is recorded from then on: if it was not, that is a span since it was the last
  /// time, whatever group had it, or since lsnd began.
  void add_unrecorded(const Span& next);
  /// Of a node and a group, the one that goes on; nullptr: there is none.
  Span* open(const std::string& node, std::string_view group);
  /// lsnd began there the last time until the question's time; what it had before ended with it.
  [[nodiscard]] std::int64_t begun_ms(const std::string& node) const;
  /// It may be that of something which lives at the question's time.
  [[nodiscard]] bool counts(const Span& span) const;
  [[nodiscard]] std::optional<std::string> session_doubt() const;
  [[nodiscard]] std::optional<std::string> present_doubt() const;
  [[nodiscard]] std::optional<std::string> former_doubt() const;

  const FindQuestion& question_;
  std::vector<Span> spans_;                              ///< in the order of their records
  std::unordered_map<std::string, std::int64_t> begun_;  ///< by node
  /// By node, the last start or stop, also behind the question's time.
  std::unordered_map<std::string, std::int64_t> life_;
  std::unordered_map<std::string, std::int64_t> new_;  ///< by node, when the address was new
};

}  // namespace lsn::control
