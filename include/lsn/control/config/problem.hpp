// The problems of a configuration, each with its place.
//
// A *problem* is one line: the setting, the given value, the allowed ones; with the file and line
// of the value, if it came from a file. *Findings* collects all problems of a configuration
// together with the place of every setting. A setting is named by its path in the file, objects by
// their number in the model: "lsn.pool[0].lsnip[1]". A check that looks at several settings asks
// sound() first, so that one mistake is not reported a second time in other words.
#pragma once

#include <compare>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lsn::control {

struct Problem {
  std::string file;   ///< empty: it does not come from a file
  unsigned line = 0;  ///< counted from 1; 0: the file as a whole
  std::string text;

  friend bool operator==(const Problem&, const Problem&) = default;
};

/// "FILE:LINE: text", or the text alone if there is no file.
[[nodiscard]] std::string to_string(const Problem& problem);

/// One per line.
[[nodiscard]] std::string to_string(const std::vector<Problem>& problems);

/// "what: given X, allowed Y", one printable line; parts that are empty are left out.
[[nodiscard]] std::string complaint(std::string_view what, std::string_view given,
                                    std::string_view allowed);

struct Place {
  unsigned file = 0;  ///< which of the files, in the order in which they were opened
  unsigned line = 0;

  friend auto operator<=>(const Place&, const Place&) = default;
};

class Findings {
 public:
  Findings() = default;
  explicit Findings(std::vector<std::string> files) : files_(std::move(files)) {}

  /// Says where the setting at `path` stands.
  void locate(const std::string& path, Place place) { places_[path] = place; }

  /// A problem of the setting at `path`. The line is that of the setting, or of the nearest one
  /// around it that has a place. `given` and `allowed` may be empty.
  void report(const std::string& path, std::string_view what, std::string_view given,
              std::string_view allowed);

  /// The setting at `path` is not to be relied on, although nothing is reported of it by itself.
  void distrust(const std::string& path) { bad_.insert(path); }

  /// Nothing has been reported of this setting or of any within it.
  [[nodiscard]] bool sound(const std::string& path) const;

  /// Nothing has been reported of this setting itself.
  [[nodiscard]] bool sound_itself(const std::string& path) const { return !bad_.contains(path); }

  [[nodiscard]] bool empty() const { return found_.empty(); }

  /// All of them, in the order of the file.
  [[nodiscard]] std::vector<Problem> take();

 private:
  struct Found {
    Place place;
    std::string text;
  };

  [[nodiscard]] Place place_of(std::string path) const;

  std::vector<std::string> files_;
  std::map<std::string, Place> places_;
  std::set<std::string> bad_;
  std::vector<Found> found_;
};

}  // namespace lsn::control
