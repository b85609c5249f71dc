#include "unit/nic/fake_nic.hpp"

#include <rte_thash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace lsn::test {
namespace {

FakeNic* nic = nullptr;

constexpr std::array<std::uint8_t, 52> kIntelsKey = [] {
  std::array<std::uint8_t, 52> key{};
  for (std::size_t i = 0; i < key.size(); ++i)
    key[i] = static_cast<std::uint8_t>(0x6D + 89 * i * i + 31 * i);
  return key;
}();

}  // namespace

FakeNic& present_nic() {
  if (nic == nullptr) throw std::logic_error("no NIC");
  return *nic;
}

FakeNic::FakeNic(Habits habits) : habits_(habits), key_(kIntelsKey.begin(), kIntelsKey.end()) {
  nic = this;
}

FakeNic::~FakeNic() {
  nic = nullptr;
}

rte_eth_dev_info FakeNic::info() const {
  rte_eth_dev_info info{};
  info.driver_name = habits_.driver;
  info.reta_size = habits_.tells_table_when_started && !started_ ? 0
                   : habits_.table_when_started != 0 && started_
                       ? static_cast<std::uint16_t>(table_.size())
                       : habits_.table;
  info.hash_key_size = habits_.key_size;
  info.flow_type_rss_offloads = habits_.types;
  info.max_rx_queues = static_cast<std::uint16_t>(habits_.queues);
  if (habits_.delivers_hash) info.rx_offload_capa = RTE_ETH_RX_OFFLOAD_RSS_HASH;
  return info;
}

int FakeNic::configure(unsigned queues, const rte_eth_conf& conf) {
  // rte_ethdev.c:1259-1283: the same for all drivers.
  const bool rss = (conf.rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) != 0;
  if ((conf.rx_adv_conf.rss_conf.rss_hf & ~habits_.types) != 0) return -EINVAL;
  if ((conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH) != 0 && !rss) return -EINVAL;
  if (rss && habits_.types == 0) return -ENOTSUP;  // virtio_ethdev.c:2645
  const bool again = configured_;
  started_ = false;
  configured_ = true;
  rss_ = rss;
  queues_ = queues;
  conf_ = conf;
  if (!rss) return 0;
  const rte_eth_rss_conf& asked = conf.rx_adv_conf.rss_conf;
  if (habits_.only_key != 0 && asked.rss_key != nullptr && asked.rss_key_len != habits_.only_key)
    return -EINVAL;
  if (!(again && habits_.ignores_second_key)) types_ = asked.rss_hf | habits_.forced_types;
  if (habits_.reads_key == Habits::When::kConfigure && !(again && habits_.ignores_second_key))
    read_key(asked.rss_key, asked.rss_key_len);
  if (habits_.configure_makes_table || table_.empty()) make_table();
  return 0;
}

int FakeNic::start() {
  started_ = true;
  if (!rss_) return 0;
  const rte_eth_rss_conf& asked = conf_.rx_adv_conf.rss_conf;
  if (habits_.reads_key == Habits::When::kStart) read_key(asked.rss_key, asked.rss_key_len);
  if (habits_.start_makes_table) make_table();
  return 0;
}

void FakeNic::stop() {
  started_ = false;
}

void FakeNic::read_key(const std::uint8_t* key, std::size_t length) {
  if (key == nullptr || length < habits_.least_key) {
    key_.assign(kIntelsKey.begin(), kIntelsKey.end());
    return;
  }
  // As many as the hardware has, whatever the length: a key on a stack is garbage by now.
  std::fill(key_.begin(), key_.end(), std::uint8_t{0});
  std::copy_n(key, habits_.reads_key_bytes, key_.begin());
}

void FakeNic::make_table() {
  table_.resize(habits_.table_when_started != 0 ? habits_.table_when_started : habits_.table);
  for (std::size_t i = 0; i < table_.size(); ++i)
    table_[i] = static_cast<std::uint16_t>(i % queues_);
}

FakeNic::Way FakeNic::receive(const Received& packet) const {
  if (!rss_ || queues_ == 1) return {0, std::nullopt};
  using Kind = Received::Kind;
  std::array<std::uint32_t, 3> input{
      packet.source, packet.destination,
      static_cast<std::uint32_t>(packet.source_port) << 16 | packet.destination_port};
  if (habits_.destination_first) std::swap(input[0], input[1]);
  const std::uint64_t with_ports = packet.kind == Kind::kTcp    ? RTE_ETH_RSS_NONFRAG_IPV4_TCP
                                   : packet.kind == Kind::kUdp  ? RTE_ETH_RSS_NONFRAG_IPV4_UDP
                                   : packet.kind == Kind::kSctp ? RTE_ETH_RSS_NONFRAG_IPV4_SCTP
                                                                : 0;
  const bool ports = (types_ & with_ports) != 0;
  const bool addresses =
      packet.kind == Kind::kFragment
          ? habits_.hashes_fragments && (types_ & (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4)) != 0
          : (types_ & (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER)) != 0;
  if (!ports && !addresses) return {0, std::nullopt};
  std::uint32_t hash = rte_softrss(input.data(), ports ? 3 : 2, key_.data());
  if (habits_.addresses_later) {
    const std::array<std::uint32_t, 5> later{0, 0, input[0], input[1], input[2]};
    auto* words = const_cast<std::uint32_t*>(later.data());
    hash = rte_softrss(words, ports ? 5 : 4, key_.data());
  }
  // ixgbe_rxtx.c:3441: the lowest bits.
  const unsigned queue = table_.empty() ? 0 : table_[hash % table_.size()];
  return {queue, habits_.delivers_hash ? std::optional(hash) : std::nullopt};
}

int FakeNic::hash_update(const rte_eth_rss_conf& conf) {
  if ((conf.rss_hf & ~habits_.types) != 0) return -EINVAL;
  if (!rss_) return -ENOTSUP;
  if (!habits_.has_key_functions) return -ENOTSUP;
  if (habits_.only_key != 0 && conf.rss_key_len != habits_.only_key) return -EINVAL;
  if (habits_.least_key != 0 && conf.rss_key_len != habits_.least_key) return -EINVAL;
  if (conf.rss_key != nullptr) read_key(conf.rss_key, conf.rss_key_len);
  types_ = conf.rss_hf | habits_.forced_types;
  return 0;
}

int FakeNic::hash_get(rte_eth_rss_conf& conf) const {
  if (!habits_.has_key_functions) return -ENOTSUP;
  conf.rss_hf = types_;
  // ice_ethdev.c:4774 writes all of its bytes, whatever room there is; virtio_ethdev.c:2055 none if
  // there is too little.
  if (conf.rss_key != nullptr && (habits_.only_key == 0 || conf.rss_key_len >= habits_.only_key))
    std::copy_n(key_.begin(), habits_.reads_key_bytes, conf.rss_key);
  return 0;
}

int FakeNic::table_update(const rte_eth_rss_reta_entry64* groups, std::uint16_t size) {
  const unsigned count = (size + 63U) / 64U;
  if (groups == nullptr || size == 0 ||
      std::all_of(groups, groups + count, [](const auto& group) { return group.mask == 0; }))
    return -EINVAL;
  for (unsigned i = 0; i < size; ++i)
    if ((groups[i / 64].mask >> i % 64 & 1) != 0 && groups[i / 64].reta[i % 64] >= queues_)
      return -EINVAL;
  if (!rss_) return -ENOTSUP;
  if (habits_.table_needs_start && !started_) return -EIO;
  if (habits_.refuses_table) return -EINVAL;
  if (habits_.takes_any_size)
    table_.resize(size);
  else if (size != info().reta_size)
    return -EINVAL;
  for (unsigned i = 0; i < size; ++i)
    if ((groups[i / 64].mask >> i % 64 & 1) != 0) table_[i] = groups[i / 64].reta[i % 64];
  ++table_updates;
  return 0;
}

int FakeNic::table_query(rte_eth_rss_reta_entry64* groups, std::uint16_t size) const {
  if (size != table_.size()) return -EINVAL;
  for (unsigned i = 0; i < size; ++i)
    if ((groups[i / 64].mask >> i % 64 & 1) != 0) groups[i / 64].reta[i % 64] = table_[i];
  return 0;
}

}  // namespace lsn::test

using lsn::test::present_nic;

// Instead of DPDK's.
extern "C" {

int rte_eth_dev_info_get(std::uint16_t /*port*/, rte_eth_dev_info* info) {
  *info = present_nic().info();
  return 0;
}
int rte_eth_dev_rss_hash_update(std::uint16_t /*port*/, rte_eth_rss_conf* conf) {
  return present_nic().hash_update(*conf);
}
int rte_eth_dev_rss_hash_conf_get(std::uint16_t /*port*/, rte_eth_rss_conf* conf) {
  return present_nic().hash_get(*conf);
}
int rte_eth_dev_rss_reta_update(std::uint16_t /*port*/, rte_eth_rss_reta_entry64* groups,
                                std::uint16_t size) {
  return present_nic().table_update(groups, size);
}
int rte_eth_dev_rss_reta_query(std::uint16_t /*port*/, rte_eth_rss_reta_entry64* groups,
                               std::uint16_t size) {
  return present_nic().table_query(groups, size);
}

}  // extern "C"
