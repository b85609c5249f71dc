// Whose a NAT address was where that is computed: deterministic NAT, out of the CONFIG records.
//
// A CONFIG record that says what a group's addresses follow from (group_note.hpp) begins a
// *period*; the next other one of the group, or a start or stop of lsnd, ends it. A period that a
// segment's beginning alone tells of began before: since when, no record says. Where one period
// covers the whole time that is asked for, its answer needs no other record.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lsn/control/records/config_period.hpp"
#include "lsn/control/records/find.hpp"
#include "lsn/control/records/group_note.hpp"
#include "lsn/control/records/record_line.hpp"

namespace lsn::control {

/// What to do where the records do not say enough.
[[nodiscard]] std::string how_to_compute(const FindQuestion& question);

class ComputedHolders {
 public:
  /// The question outlives it.
  explicit ComputedHolders(const FindQuestion& question) : question_(question) {}

  /// A CONFIG record about a group, in the order of time.
  void see(const RecordLine& record, const GroupNote& note);
  /// lsnd began or ended: whatever the node had in force is not any more.
  void end_all(const RecordLine& record, std::string_view why);

  /// Adds the holders, doubts and remarks to an answer that has those of the other records.
  void add_to(FindAnswer& answer) const;
  /// Adds the nodes that had the address until the question's time by what is said of it.
  void add_nodes(std::set<std::string>& nodes) const;
  /// The address was computed in some of the time that is asked for.
  [[nodiscard]] bool has_part() const;
  /// The latest moment until that of the question at which a record says what was in force;
  /// nullopt: no period covers the whole time and says whose the address was.
  [[nodiscard]] std::optional<std::int64_t> covered_since() const;

 private:
  struct Period : ConfigPeriod {
    std::string group;
    std::optional<shared::DeterministicMap> map;

    [[nodiscard]] bool has(wire::Ipv4Address nat) const {
      return !map || map->nat_addresses().number_of({nat}).has_value();
    }
  };

  /// Of those that have the address: some of the time that is asked for is in it.
  [[nodiscard]] bool is_asked(const Period& period) const;
  [[nodiscard]] bool covers(const Period& period) const;

  void add_holders(FindAnswer& answer, const Period& period) const;
  void add_holder(FindAnswer& answer, const Period& period,
                  const shared::InsideAddress& subscriber) const;
  void add_doubts(FindAnswer& answer, const Period& period) const;

  const FindQuestion& question_;
  std::vector<Period> periods_;  ///< in the order of their beginnings
  /// Of these, by node and group, the one that has not ended.
  std::unordered_map<std::string, std::size_t> open_;
  struct Gap {
    std::int64_t from_ms;
    std::int64_t until_ms;
    std::string group;
  };
  std::vector<Gap> gaps_;  ///< in which a change is missing
};

}  // namespace lsn::control
