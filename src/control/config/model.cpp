#include "lsn/control/config/model.hpp"

#include <algorithm>
#include <numeric>

namespace lsn::control {

std::uint64_t PoolConfig::addresses() const {
  return std::accumulate(
      lsnip.begin(), lsnip.end(), std::uint64_t{0},
      [](std::uint64_t sum, const wire::Ipv4Range& range) { return sum + range.size(); });
}

std::uint64_t PoolConfig::draining_addresses() const {
  std::vector<shared::IntervalMap<bool>::Range> ranges;
  for (const wire::Ipv4Range& range : drain)
    ranges.push_back({range.first.value, range.last.value, true});
  const shared::IntervalMap<bool> all(std::move(ranges));
  return std::accumulate(
      all.ranges().begin(), all.ranges().end(), std::uint64_t{0},
      [](std::uint64_t sum, const auto& range) { return sum + range.last - range.first + 1; });
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

std::vector<wire::Ipv4Range> nat_ranges(const Model& model, const PoolConfig& pool,
                                        std::vector<wire::Ipv4Address>* left_out) {
  std::vector<wire::Ipv4Range> ranges = pool.lsnip;
  const auto leave_out = [&](wire::Ipv4Address address) {
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      const wire::Ipv4Range range = ranges[i];
      if (!range.contains(address)) continue;
      if (left_out != nullptr) left_out->push_back(address);
      std::vector<wire::Ipv4Range> rest;
      if (range.first < address)
        rest.push_back({range.first, wire::Ipv4Address{address.value - 1}});
      if (address < range.last) rest.push_back({wire::Ipv4Address{address.value + 1}, range.last});
      const auto place = ranges.erase(ranges.begin() + static_cast<std::ptrdiff_t>(i));
      ranges.insert(place, rest.begin(), rest.end());
      return;
    }
  };
  for (const InterfaceConfig& interface : model.interfaces) {
    // A link of two or of one has neither (RFC 3021).
    if (interface.role != shared::Side::kOutside || interface.address.length > 30) continue;
    leave_out(interface.address.first());
    leave_out(interface.address.last());
  }
  return ranges;
}

std::vector<shared::InsideRange> acl_ranges(const ByName<AclConfig>& acls,
                                            const ClientConfig& client) {
  std::vector<shared::InsideRange> ranges;
  for (const std::string& name : client.aclname)
    if (const AclConfig* acl = acls.find(name))
      for (const wire::Ipv4Range& range : acl->src_ip) ranges.push_back({range, acl->td});
  return ranges;
}

std::vector<shared::InsideRange> subscriber_ranges(const ByName<AclConfig>& acls,
                                                   const ClientConfig& client) {
  std::vector<shared::InsideRange> ranges;
  for (const ClientNetwork& network : client.network)
    ranges.push_back({{network.first(), network.last()}, network.td});
  const std::vector<shared::InsideRange> listed = acl_ranges(acls, client);
  ranges.insert(ranges.end(), listed.begin(), listed.end());
  return ranges;
}

const InterfaceConfig* interface_of(const std::vector<InterfaceConfig>& interfaces,
                                    const RouteConfig& route) {
  // A route without a domain may lead outside.
  const auto knows = [&route](const InterfaceConfig& c) {
    return c.role == shared::Side::kInside ? c.td == route.td : route.td == 0;
  };
  for (const InterfaceConfig& interface : interfaces)
    if (knows(interface) && interface.address.contains(route.via)) return &interface;
  return nullptr;
}

bool has_inside(const Model& model, shared::DomainId td) {
  return std::any_of(model.interfaces.begin(), model.interfaces.end(),
                     [td](const InterfaceConfig& interface) {
                       return interface.role == shared::Side::kInside && interface.td == td;
                     });
}

CoveringProfile covering_profile(const Model& model, const GroupConfig& group,
                                 shared::Protocol protocol, std::uint16_t port) {
  CoveringProfile best;
  for (const std::string& name : group.appsprofilename) {
    const AppsProfileConfig* profile = find_by_name(model.lsn.appsprofile, name);
    if (profile == nullptr || profile->transportprotocol != protocol) continue;
    if (protocol == shared::Protocol::kIcmp) return {profile, {0, 65535}};
    for (const PortRange range : profile->lsnport)
      if (range.contains(port) && (best.profile == nullptr || range.width() < best.range.width()))
        best = {profile, range};
  }
  return best;
}

const AppsAttributesConfig* covering_attributes(const Model& model,
                                                const AppsProfileConfig& profile,
                                                std::uint16_t port) {
  const AppsAttributesConfig* best = nullptr;
  for (const std::string& name : profile.appsattributesname) {
    const auto* attributes = find_by_name(model.lsn.appsattributes, name);
    if (attributes != nullptr && attributes->ports().contains(port) &&
        (best == nullptr || attributes->ports().width() < best->ports().width()))
      best = attributes;
  }
  return best;
}

const TransportProfileConfig* transport_profile(const Model& model, const GroupConfig& group,
                                                shared::Protocol protocol) {
  for (const std::string& name : group.transportprofilename) {
    const auto* profile = find_by_name(model.lsn.transportprofile, name);
    if (profile != nullptr && profile->transportprotocol == protocol) return profile;
  }
  return nullptr;
}

LogProfileConfig log_profile(const Model& model, const GroupConfig& group) {
  for (const std::string& name : group.logprofilename)
    if (const auto* profile = find_by_name(model.lsn.logprofile, name)) return *profile;
  return {};
}

}  // namespace lsn::control
