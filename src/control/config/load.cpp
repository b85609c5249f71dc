#include "lsn/control/config/load.hpp"

#include "lsn/control/config/raw.hpp"

namespace lsn::control {
namespace {

std::expected<Model, std::vector<Problem>> validated(std::expected<RawConfig, Problem> raw,
                                                     const Check& more) {
  if (!raw) return std::unexpected(std::vector<Problem>{raw.error()});
  return validate(*raw, more);
}

}  // namespace

std::expected<Model, std::vector<Problem>> load_config(const std::string& path, const Check& more) {
  return validated(read_raw(path), more);
}

std::expected<Model, std::vector<Problem>> load_config_text(std::string_view text,
                                                            const std::string& name,
                                                            const Check& more) {
  return validated(read_raw_text(text, name), more);
}

}  // namespace lsn::control
