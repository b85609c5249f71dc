// The commands' edits of a model: add, set, unset, bind, unbind and rm of one object.
//
// The words are those of NetScaler's command line: a verb, the *kind* of the object ("lsn pool"),
// its name, further words if the verb has them (*operands*: a protocol, an address range, a port),
// and options with values. A parameter's name, how it is written, its range and its default stand
// in describe.hpp; a kind adds nothing but the order of the operands and the names that the
// published examples use for the same thing. apply() changes one object of the model and checks
// that object alone; check_model() checks whether the whole still makes sense.
//
// A word of an example that is not in the vocabulary, or has no counterpart here, becomes a
// *remark*: the command is carried out without it.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lsn/control/config/model.hpp"

namespace lsn::control {

enum class Verb : std::uint8_t { kAdd, kSet, kUnset, kBind, kUnbind, kRemove };

/// "add", "rm"
[[nodiscard]] std::string_view to_word(Verb verb);

struct Edit {
  struct Option {
    std::string name;                 ///< without its hyphen
    std::vector<std::string> values;  ///< one, as a rule; none after `unset`
  };

  Verb verb = Verb::kAdd;
  std::string_view kind;  ///< ObjectKind::words
  std::string name;
  std::vector<std::string> operands;
  std::vector<Option> options;
};

/// One parameter of a kind, for help and completion.
struct Parameter {
  std::string name;                ///< without a hyphen
  std::string allowed;             ///< completes "..., allowed ..."
  std::string value;               ///< the default, as it is written; empty where there is none
  std::string_view refers;         ///< the kind whose objects it names, or empty
  std::vector<std::string> words;  ///< an enumeration's values
  bool is_binding = false;         ///< bound and unbound, not set
  bool is_list = false;            ///< set and unset as a whole, its values with commas between

  /// Any number of values; else one.
  [[nodiscard]] bool is_many() const { return is_binding || is_list; }
};

struct ObjectKind {
  std::string_view words;             ///< "lsn pool"
  std::string_view setting;           ///< of the file: "lsn.pool"
  std::string_view does;              ///< the meaning of such an object, in a line
  std::string_view operand;           ///< of add, required: "transportprotocol"; or empty
  std::string_view optional_operand;  ///< of add, behind it: "port"; or empty
  std::string_view bound;             ///< of bind and unbind without an option: "lsnip"; or empty
  std::vector<Parameter> parameters;
  /// Further operands of add, in their order; so many of them are required.
  std::vector<std::string_view> more_operands{};
  std::size_t required_more = 0;
  bool is_fixed = false;  ///< only added and removed, never set

  [[nodiscard]] bool has_bindings() const;
  /// Whether a parameter is given as an operand of add.
  [[nodiscard]] bool is_operand(std::string_view name) const;
  /// By name in any case, or one of the names that published examples use.
  [[nodiscard]] const Parameter* find(std::string_view name) const;
  /// The options, without hyphens, that the typed word may stand for: itself if it is one, also one
  /// that is ignored; otherwise those that the verb takes and that begin so.
  [[nodiscard]] std::vector<std::string> options_meant(std::string_view typed, Verb verb) const;
};

/// In the order in which objects refer to each other: the one referred to first.
[[nodiscard]] std::span<const ObjectKind> object_kinds();
[[nodiscard]] const ObjectKind* find_kind(std::string_view words);

/// Error: one line, and the model is as it was.
[[nodiscard]] std::expected<void, std::string> apply(const Edit& edit, Model& model,
                                                     std::vector<std::string>& remarks);

/// The names of a model's objects of a kind, in its order.
[[nodiscard]] std::vector<std::string> names_of(const Model& model, const ObjectKind& kind);

/// The settings of an object of a kind: every parameter with its value, bindings with all of
/// theirs.
struct ParameterValue {
  const Parameter* parameter;
  std::vector<std::string> values;  ///< any number where Parameter::is_many(), else one
};
[[nodiscard]] std::vector<ParameterValue> values_of(const Model& model, const ObjectKind& kind,
                                                    std::string_view name);
/// The same of all objects of a kind, in their order.
using SeeObject = std::function<void(const std::string& name, std::vector<ParameterValue> values)>;
void for_objects(const Model& model, const ObjectKind& kind, const SeeObject& see);

/// The objects that refer to one of a kind: "group LSN-GROUP-1", each once.
class Users {
 public:
  Users(const Model& model, const ObjectKind& kind);
  [[nodiscard]] const std::vector<std::string>& of(const std::string& name) const;

 private:
  std::unordered_map<std::string, std::vector<std::string>> users_;
};

/// The commands that turn the objects of `from` into those of `to`, in an order in which each is
/// accepted by itself if the changes do not cross.
[[nodiscard]] std::vector<std::string> commands_between(const Model& from, const Model& to);

}  // namespace lsn::control
