#include "lsn/runtime/steering.hpp"

#include <fmt/format.h>
#include <rte_errno.h>

#include <algorithm>
#include <bit>
#include <cerrno>

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
  // Of any other number it is not told how the hash becomes an index.
  if (!std::has_single_bit(entries)) return 0;
  return std::min(kMostBits, static_cast<unsigned>(std::countr_zero(entries)));
}

void Steering::choose(const rte_eth_dev_info& info, std::string_view driver, unsigned rx_queues,
                      shared::HashedAddress by, const shared::AddressClasses& classes,
                      rte_eth_conf& conf) {
  rx_queues_ = rx_queues;
  driver_ = driver;
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
  const unsigned bits = class_bits(info, driver);
  way_ = bits != 0 && bits >= classes.bits() ? Way::kByOwner : Way::kByFlow;
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
    // It has not this function, and reads the key when it starts.
    return (result == -ENOTSUP && driver_ == "net_vmxnet3") ||
           (result == 0 && std::equal(key_.begin(), key_.begin() + key_length_, present.begin()));
  };
  if (has_ours()) return;
  if (const int result = tell_key(); result != 0)
    return refuse(fmt::format("key: {}", rte_strerror(-result)));
  if (!has_ours()) refuse("key: the driver says that it has another one");
}

int Steering::tell_key() {
  rte_eth_rss_conf conf{};
  conf.rss_key = key_.data();
  conf.rss_key_len = key_length_;
  conf.rss_hf = types_;
  return rte_eth_dev_rss_hash_update(port_, &conf);
}

void Steering::give_up() {
  if (way_ != Way::kByOwner) return;
  refuse("packets did not come as predicted");
  way_ = Way::kByFlow;
  // In place: drivers read it again at their next start.
  for (std::size_t i = 0; i < key_.size(); ++i) key_[i] = i % 2 == 0 ? 0x6D : 0x5A;
  std::vector<std::uint16_t> in_turn(classes_.count());
  for (unsigned i = 0; i < in_turn.size(); ++i)
    in_turn[i] = static_cast<std::uint16_t>(i % rx_queues_);
  static_cast<void>(tell_key());
  static_cast<void>(tell_table(in_turn));
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

/// By class. A worker that polls no queue here gets its packets from those that do: from the one
/// that has the fewest.
std::vector<std::uint16_t> Steering::queues_for(const shared::Generation& generation) const {
  if (generation.maps.front()->inside() == nullptr ||
      generation.nat_addresses.table().owners().size() != classes_.count())
    return {};
  const bool by_source = address_ == shared::HashedAddress::kSource;
  // Addresses in each class, and on each queue.
  std::vector<std::uint32_t> size(classes_.count(), by_source ? 1 : 0), load(rx_queues_);
  if (!by_source)
    for (const auto& range : generation.nat_addresses.all())
      ++size[classes_.of(wire::Ipv4Address{range.first})];
  std::vector<std::uint16_t> queues(classes_.count());
  std::vector<unsigned> left;
  for (unsigned index = 0; index < classes_.count(); ++index) {
    const shared::ShardId owner = generation.owner_of_class(address_, index);
    const int queue = owner < queue_of_.size() ? queue_of_[owner] : -1;
    if (queue < 0) {
      left.push_back(index);
      continue;
    }
    queues[index] = static_cast<std::uint16_t>(queue);
    load[queues[index]] += size[index];
  }
  std::stable_sort(left.begin(), left.end(),
                   [&size](unsigned a, unsigned b) { return size[a] > size[b]; });
  for (const unsigned index : left) {
    const auto least = std::min_element(load.begin(), load.end());
    queues[index] = static_cast<std::uint16_t>(least - load.begin());
    *least += size[index];
  }
  return queues;
}

void Steering::write_table(const std::vector<std::uint16_t>& queues) {
  if (const int result = tell_table(queues); result != 0)
    return refuse(fmt::format("table: {}", rte_strerror(-result)));
  table_ = queues;
  by_.store(static_cast<int>(address_), std::memory_order_relaxed);
}

/// 0, or a negative error number: EOVERFLOW if the table is too small, EREMOTEIO if the driver says
/// that it has another one.
int Steering::tell_table(const std::vector<std::uint16_t>& queues) {
  rte_eth_dev_info info{};
  if (const int result = rte_eth_dev_info_get(port_, &info); result != 0) return result;
  std::uint16_t entries = info.reta_size;
  // Once it has started it has as many as queues, and takes as many as it is told.
  if (driver_ == "net_mlx5") entries = std::max(entries, static_cast<std::uint16_t>(queues.size()));
  if (entries < queues.size()) return -EOVERFLOW;
  std::vector<rte_eth_rss_reta_entry64> groups((entries + kGroup - 1) / kGroup);
  for (unsigned i = 0; i < entries; ++i) {
    groups[i / kGroup].mask |= std::uint64_t{1} << i % kGroup;
    groups[i / kGroup].reta[i % kGroup] = queues[i % queues.size()];
  }
  if (const int result = rte_eth_dev_rss_reta_update(port_, groups.data(), entries); result != 0)
    return result;
  // Read again, where the driver reads it from the device. A bond says nothing about small ones.
  std::vector<rte_eth_rss_reta_entry64> present(groups.size());
  for (std::size_t g = 0; g < groups.size(); ++g) present[g].mask = groups[g].mask;
  if (entries < kGroup || rte_eth_dev_rss_reta_query(port_, present.data(), entries) != 0) return 0;
  for (unsigned i = 0; i < entries; ++i)
    if (present[i / kGroup].reta[i % kGroup] != groups[i / kGroup].reta[i % kGroup])
      return -EREMOTEIO;
  return 0;
}

std::string Steering::describe() const {
  switch (way_) {
    case Way::kOneQueue:
      return "one queue, the rest by handoff";
    case Way::kNothing:
      return "the device's own distribution";
    case Way::kByFlow:
      return "RSS by flow: " +
             (refusal_.empty() ? std::string("the device has no table for owners") : refusal_);
    case Way::kByOwner:
      break;
  }
  if (!refusal_.empty()) return fmt::format("the driver refuses owners ({})", refusal_);
  return fmt::format("RSS by {} address, {} classes",
                     address_ == shared::HashedAddress::kSource ? "source" : "destination",
                     classes_.count());
}

}  // namespace lsn::runtime
