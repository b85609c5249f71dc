#include "lsn/control/config/pool_spread.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <regex>

#include "lsn/control/config/generation_builder.hpp"

namespace lsn::control {
namespace {

/// Of a table with 128 entries.
constexpr unsigned kUsualBits = 7;

/// A PCI address, or a bond of some ("net_bonding0,slave=0000:3b:00.0").
bool is_nic(const InterfaceConfig& interface) {
  static const std::regex address("[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7]");
  return std::regex_search(interface.device, address);
}

std::size_t most(const PoolSpread& spread) {
  return *std::max_element(spread.addresses.begin(), spread.addresses.end());
}
std::size_t least(const PoolSpread& spread) {
  return *std::min_element(spread.addresses.begin(), spread.addresses.end());
}

}  // namespace

std::vector<PoolSpread> pool_spreads(const Model& model) {
  const bool has_nics = std::any_of(model.interfaces.begin(), model.interfaces.end(), is_nic);
  const auto generation = build_generation(
      model, nullptr, has_nics ? shared::AddressClasses(kUsualBits) : shared::kFinestClasses);
  std::vector<PoolSpread> spreads;
  for (const shared::Pool& pool : generation->pools) {
    PoolSpread spread{pool.name, {}};
    for (const auto& of_worker : pool.addresses_of) spread.addresses.push_back(of_worker.size());
    spreads.push_back(std::move(spread));
  }
  return spreads;
}

std::string to_text(const PoolSpread& spread) {
  if (spread.addresses.size() <= 4)
    return fmt::format("{} on {} worker{}", fmt::join(spread.addresses, ", "),
                       spread.addresses.size(), spread.addresses.size() == 1 ? "" : "s");
  if (least(spread) == most(spread))
    return fmt::format("{} on each of {} workers", least(spread), spread.addresses.size());
  return fmt::format("{} to {} on each of {} workers", least(spread), most(spread),
                     spread.addresses.size());
}

std::optional<std::string> unevenness(const PoolSpread& spread) {
  const std::size_t all = std::accumulate(spread.addresses.begin(), spread.addresses.end(), 0UL);
  const std::size_t workers = spread.addresses.size();
  const std::size_t share = (all + workers - 1) / workers;
  if (all < 2 * workers || (least(spread) != 0 && most(spread) <= share + 1 + share / 8))
    return std::nullopt;
  return fmt::format(
      "pool {} is spread unevenly, {}: as many addresses in a row would be spread evenly, or fewer "
      "workers",
      spread.pool, to_text(spread));
}

}  // namespace lsn::control
