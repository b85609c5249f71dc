#include "lsn/runtime/steering.hpp"

#include <fmt/format.h>
#include <rte_errno.h>

#include <algorithm>
#include <bit>

namespace lsn::runtime {
namespace {

/// All packets of IPv4, whatever their layer 4: what is hashed beside the addresses does not
/// matter.
constexpr std::uint64_t kAllOfIpv4 = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 |
                                     RTE_ETH_RSS_NONFRAG_IPV4_OTHER | RTE_ETH_RSS_NONFRAG_IPV4_TCP |
                                     RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV4_SCTP;

/// A table's entries are told in groups of this many.
constexpr unsigned kGroup = RTE_ETH_RETA_GROUP_SIZE;
/// More would be no better: the largest table of ixgbe, i40e and ice by default.
constexpr unsigned kMostBits = 9;
/// The entries of net_vmxnet3's table, which it tells only once it has started.
constexpr unsigned kVmxnet3Entries = 64;
/// Bytes of a key that a driver may read whatever it was told (net_ixgbe, net_vmxnet3: 40).
constexpr std::size_t kKeyRoom = 64;
constexpr std::uint8_t kUsualKeyLength = 40;

}  // namespace

unsigned Steering::class_bits(const rte_eth_dev_info& info, std::string_view driver) {
  // net_ice without its package of parsers offers no types (safe mode), net_virtio without
  // VIRTIO_NET_F_RSS neither; net_ixgbe_vf of 82599 and X540 offers types and has no table, net_tap
  // has a key of its own and no table.
  if ((info.flow_type_rss_offloads & kAllOfIpv4) == 0) return 0;
  const unsigned entries = driver == "net_vmxnet3" ? kVmxnet3Entries : info.reta_size;
  return entries == 0 ? 0 : std::min(kMostBits, static_cast<unsigned>(std::bit_width(entries)) - 1);
}

void Steering::choose(const rte_eth_dev_info& info, std::string_view driver, unsigned rx_queues,
                      shared::HashedAddress by, const shared::AddressClasses& classes,
                      rte_eth_conf& conf) {
  rx_queues_ = rx_queues;
  address_ = by;
  classes_ = classes;
  table_.clear();
  refusal_.clear();
  by_.store(-1, std::memory_order_relaxed);
  types_ = info.flow_type_rss_offloads & kAllOfIpv4;
  if (rx_queues <= 1) {
    way_ = Way::kOneQueue;
    return;
  }
  if (types_ == 0) {
    way_ = Way::kNothing;
    return;
  }
  // It hashes TCP with ports whether it is told to or not, and refuses to be told less
  // (vmxnet3_v4_rss_configure(), VMXNET3_MANDATORY_V4_RSS).
  if (driver == "net_vmxnet3") types_ |= info.flow_type_rss_offloads & RTE_ETH_RSS_NONFRAG_IPV6_TCP;
  way_ = class_bits(info, driver) >= classes.bits() ? Way::kByOwner : Way::kByFlow;
  conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
  conf.rxmode.offloads |= info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
  rte_eth_rss_conf& rss = conf.rx_adv_conf.rss_conf;
  rss.rss_hf = types_;
  if (way_ != Way::kByOwner) return;
  // net_i40e takes Intel's key instead of a shorter one and says nothing.
  key_length_ = info.hash_key_size == 0 ? kUsualKeyLength : info.hash_key_size;
  key_ = classes.key(by, std::max<std::size_t>(key_length_, kKeyRoom));
  rss.rss_key = key_.data();
  rss.rss_key_len = key_length_;
}

void Steering::start(std::uint16_t port, const std::vector<unsigned>& poller_of) {
  port_ = port;
  if (way_ != Way::kByOwner) return;
  const unsigned workers = *std::max_element(poller_of.begin(), poller_of.end()) + 1;
  queue_of_.assign(workers, -1);
  for (std::size_t q = poller_of.size(); q-- > 0;) queue_of_[poller_of[q]] = static_cast<int>(q);
  refusal_.clear();
  settle_key();
  // Most drivers have made a table of their own when they started.
  if (refusal_.empty() && !table_.empty()) write_table(std::vector(table_));
}

/// The key in the device: net_virtio does not read another one when it is configured again.
void Steering::settle_key() {
  std::vector<std::uint8_t> present(key_.size());
  rte_eth_rss_conf conf{};
  const auto has_ours = [&] {
    conf.rss_key = present.data();
    conf.rss_key_len = key_length_;
    const int result = rte_eth_dev_rss_hash_conf_get(port_, &conf);
    // A driver without the function (net_vmxnet3) has read the key when it started.
    return result == -ENOTSUP ||
           (result == 0 && std::equal(key_.begin(), key_.begin() + key_length_, present.begin()));
  };
  if (has_ours()) return;
  conf.rss_key = key_.data();
  conf.rss_key_len = key_length_;
  conf.rss_hf = types_;
  const int result = rte_eth_dev_rss_hash_update(port_, &conf);
  if (result != 0) return refuse(fmt::format("key: {}", rte_strerror(-result)));
  if (!has_ours()) refuse("key: the driver says that it has another one");
}

void Steering::refuse(std::string why) {
  refusal_ = std::move(why);
  by_.store(-1, std::memory_order_relaxed);
}

void Steering::update(const shared::Generation& generation) {
  if (way_ != Way::kByOwner || port_ == RTE_MAX_ETHPORTS || generation.maps.empty()) return;
  const std::vector<std::uint16_t> wanted = queues_for(generation);
  if (wanted.empty() || wanted == table_) return;
  if (refusal_.starts_with("key")) return;
  refusal_.clear();
  write_table(wanted);
}

/// By class. A worker that polls no queue here gets its packets from those that do, in turn.
std::vector<std::uint16_t> Steering::queues_for(const shared::Generation& generation) const {
  const shared::OwnerTable* const inside = generation.maps.front()->inside();
  const std::vector<shared::ShardId>& outside = generation.nat_addresses.table().owners();
  if (inside == nullptr || outside.size() != classes_.count()) return {};
  std::vector<std::uint16_t> queues(classes_.count());
  for (unsigned index = 0; index < classes_.count(); ++index) {
    const shared::ShardId owner = address_ == shared::HashedAddress::kSource
                                      ? inside->owner_of(index * classes_.unit())
                                      : outside[index];
    const int queue = owner < queue_of_.size() ? queue_of_[owner] : -1;
    queues[index] = static_cast<std::uint16_t>(queue >= 0 ? queue : index % rx_queues_);
  }
  return queues;
}

void Steering::write_table(const std::vector<std::uint16_t>& queues) {
  rte_eth_dev_info info{};
  if (rte_eth_dev_info_get(port_, &info) != 0 || info.reta_size < queues.size())
    return refuse(fmt::format("table: {} entries, wanted: {}", info.reta_size, queues.size()));
  std::vector<rte_eth_rss_reta_entry64> groups((info.reta_size + kGroup - 1) / kGroup);
  for (unsigned i = 0; i < info.reta_size; ++i) {
    groups[i / kGroup].mask |= std::uint64_t{1} << i % kGroup;
    groups[i / kGroup].reta[i % kGroup] = queues[i % queues.size()];
  }
  if (const int result = rte_eth_dev_rss_reta_update(port_, groups.data(), info.reta_size);
      result != 0)
    return refuse(fmt::format("table: {}", rte_strerror(-result)));
  // Read again, where the driver reads it from the device. A bond says nothing about small ones.
  std::vector<rte_eth_rss_reta_entry64> present(groups.size());
  for (std::size_t g = 0; g < groups.size(); ++g) present[g].mask = groups[g].mask;
  if (info.reta_size >= kGroup &&
      rte_eth_dev_rss_reta_query(port_, present.data(), info.reta_size) == 0)
    for (unsigned i = 0; i < info.reta_size; ++i)
      if (present[i / kGroup].reta[i % kGroup] != groups[i / kGroup].reta[i % kGroup])
        return refuse(fmt::format("table: entry {} is queue {}, wanted: {}", i,
                                  present[i / kGroup].reta[i % kGroup],
                                  groups[i / kGroup].reta[i % kGroup]));
  table_ = queues;
  by_.store(static_cast<int>(address_), std::memory_order_relaxed);
}

std::string Steering::describe() const {
  switch (way_) {
    case Way::kOneQueue:
      return "one queue, the rest by handoff";
    case Way::kNothing:
      return "the device's own distribution";
    case Way::kByFlow:
      return "RSS by flow: the device has no table for owners";
    case Way::kByOwner:
      break;
  }
  if (!refusal_.empty()) return fmt::format("RSS by flow: owners are refused ({})", refusal_);
  return fmt::format("RSS by {} address, {} classes",
                     address_ == shared::HashedAddress::kSource ? "source" : "destination",
                     classes_.count());
}

}  // namespace lsn::runtime
