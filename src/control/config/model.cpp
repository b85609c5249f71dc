#include "lsn/control/config/model.hpp"

#include <algorithm>
#include <numeric>

namespace lsn::control {

std::uint64_t PoolConfig::addresses() const {
  return std::accumulate(
      lsnip.begin(), lsnip.end(), std::uint64_t{0},
      [](std::uint64_t sum, const wire::Ipv4Range& range) { return sum + range.size(); });
}

std::vector<std::string> devices(const std::vector<InterfaceConfig>& interfaces) {
  std::vector<std::string> all;
  for (const InterfaceConfig& interface : interfaces)
    if (std::find(all.begin(), all.end(), interface.device) == all.end())
      all.push_back(interface.device);
  return all;
}

std::string_view device_name(std::string_view device) {
  return device.substr(0, device.find(','));
}

CoveringProfile covering_profile(const Model& model, const GroupConfig& group,
                                 datapath::Protocol protocol, std::uint16_t port) {
  CoveringProfile best;
  for (const std::string& name : group.appsprofilename) {
    const AppsProfileConfig* profile = find_by_name(model.lsn.appsprofile, name);
    if (profile == nullptr || profile->transportprotocol != protocol) continue;
    if (protocol == datapath::Protocol::kIcmp) return {profile, {0, 65535}};
    for (const PortRange range : profile->lsnport)
      if (range.contains(port) && (best.profile == nullptr || range.width() < best.range.width()))
        best = {profile, range};
  }
  return best;
}

const TransportProfileConfig* transport_profile(const Model& model, const GroupConfig& group,
                                                datapath::Protocol protocol) {
  for (const std::string& name : group.transportprofilename) {
    const auto* profile = find_by_name(model.lsn.transportprofile, name);
    if (profile != nullptr && profile->transportprotocol == protocol) return profile;
  }
  return nullptr;
}

}  // namespace lsn::control
