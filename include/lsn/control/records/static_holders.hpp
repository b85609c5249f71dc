// Whose a NAT address was by a static mapping: out of the CONFIG records (static_note.hpp). A
// mapping that is configured holds its endpoint from then on, or from when the session that has it
// ends, which has records of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/records/config_note.hpp"
#include "lsn/control/records/config_period.hpp"
#include "lsn/control/records/find.hpp"
#include "lsn/control/records/record_line.hpp"

namespace lsn::control {

class StaticHolders {
 public:
  /// The question outlives it.
  explicit StaticHolders(const FindQuestion& question) : question_(question) {}

  /// A CONFIG record, in the order of time. Whether it is about static mappings.
  bool see(const RecordLine& record, const ConfigNote& note);
  /// lsnd began or ended.
  void end_all(const RecordLine& record, std::string_view why);

  /// The latest moment until that of the question at which a record says that a mapping was in
  /// force; nullopt: none was all the time that is asked for.
  [[nodiscard]] std::optional<std::int64_t> covered_since() const;
  /// Adds the nodes that had the address until the question's time by what is said of it.
  void add_nodes(std::set<std::string>& nodes) const;
  /// Adds the holders to an answer, and what is in no record.
  void add_to(FindAnswer& answer) const;

 private:
  struct Period : ConfigPeriod {
    StaticConfig mapping;
    std::int64_t after_ms;  ///< records until then say that it was not so
    std::int64_t said_ms;   ///< the last record that says it
    bool is_of_start;       ///< nothing can have had the endpoint before it
  };
  /// When mappings had no records that can be read.
  struct Unknown {
    std::string node;
    std::string subject;  ///< of the note: kAllStatics, or one mapping's
    std::string words;    ///< what is doubtful
    std::int64_t from_ms;
    std::optional<std::int64_t> until_ms;
  };

  [[nodiscard]] bool is_asked(const StaticConfig& mapping) const;
  [[nodiscard]] bool is_asked(const Period& period) const;
  [[nodiscard]] static Holder holder_of(const Period& period);
  /// What is not known of a subject from then on; empty: nothing.
  void set_unknown(const RecordLine& record, const ConfigNote& note, std::string words);
  [[nodiscard]] Unknown* unknown_of(std::string_view node, std::string_view subject);
  void see_all(const RecordLine& record, const ConfigNote& note);
  void see_one(const RecordLine& record, const ConfigNote& note, std::string_view name);

  const FindQuestion& question_;
  std::vector<Period> periods_;                        ///< of mappings that have the endpoint
  std::unordered_map<std::string, std::size_t> open_;  ///< of these, by node and name
  std::vector<Unknown> unknown_;
  std::unordered_map<std::string, std::int64_t> begins_;  ///< of lsnd, by node
  /// By node and name, the last record that says that it was not as is asked.
  std::unordered_map<std::string, std::int64_t> otherwise_;
};

}  // namespace lsn::control
