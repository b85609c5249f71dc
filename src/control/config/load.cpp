#include "lsn/control/config/load.hpp"

#include "lsn/control/config/raw.hpp"
#include "lsn/control/config/validate.hpp"

namespace lsn::control {
namespace {

std::expected<Model, std::vector<Problem>> validated(std::expected<RawConfig, Problem> raw) {
  if (!raw) return std::unexpected(std::vector<Problem>{raw.error()});
  return validate(*raw);
}

}  // namespace

std::expected<Model, std::vector<Problem>> load_config(const std::string& path) {
  return validated(read_raw(path));
}

std::expected<Model, std::vector<Problem>> load_config_text(std::string_view text,
                                                            const std::string& name) {
  return validated(read_raw_text(text, name));
}

}  // namespace lsn::control
