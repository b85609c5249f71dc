#include "lsn/runtime/steering.hpp"

#include <fmt/format.h>
#include <rte_byteorder.h>

#include <algorithm>
#include <string_view>

namespace lsn::runtime {
namespace {

/// All packets that a subscriber may send, whatever their layer 4: the hash must not depend on it.
constexpr std::uint64_t kAddresses = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 |
                                     RTE_ETH_RSS_NONFRAG_IPV4_OTHER | RTE_ETH_RSS_NONFRAG_IPV4_TCP |
                                     RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV4_SCTP;

/// The first attempts at a rule are made by a driver that may never have heard of rte_flow.
const char* why(const rte_flow_error& error, int result) {
  return error.message != nullptr ? error.message : rte_strerror(-result);
}

}  // namespace

void Steering::choose_rss(const rte_eth_dev_info& info, unsigned rx_queues, rte_eth_conf& conf) {
  rx_queues_ = rx_queues;
  rss_hf_ = 0;
  if (rx_queues <= 1) return;
  rss_hf_ = info.flow_type_rss_offloads & kAddresses;
  if (rss_hf_ == 0) return;
  rss_hf_ |= info.flow_type_rss_offloads & RTE_ETH_RSS_L3_SRC_ONLY;
  // These take a rule with L3_SRC_ONLY and hash both addresses all the same (DPDK 22.11).
  const std::string_view driver = info.driver_name == nullptr ? "" : info.driver_name;
  ignores_source_only_ = driver.starts_with("net_e1000") || driver.starts_with("net_ixgbe");
  conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
  conf.rx_adv_conf.rss_conf.rss_hf = rss_hf_;
}

void Steering::start(std::uint16_t port, const std::vector<unsigned>& poller_of, bool inside,
                     bool outside) {
  port_ = port;
  if (rx_queues_ <= 1) return;
  const unsigned workers = *std::max_element(poller_of.begin(), poller_of.end()) + 1;
  queue_of_.assign(workers, -1);
  for (std::size_t q = poller_of.size(); q-- > 0;) queue_of_[poller_of[q]] = static_cast<int>(q);
  // Rules for exact addresses take precedence if a device is both.
  wants_rules_ = outside;
  if (inside && !ignores_source_only_) hash_source_only();
}

void Steering::hash_source_only() {
  const rte_flow_attr attributes{
      .group = 0, .priority = 0, .ingress = 1, .egress = 0, .transfer = 0, .reserved = 0};
  std::vector<std::uint16_t> queues(rx_queues_);
  for (unsigned q = 0; q < rx_queues_; ++q) queues[q] = static_cast<std::uint16_t>(q);

  rte_flow_item pattern[3] = {};
  pattern[0].type = RTE_FLOW_ITEM_TYPE_ETH;
  pattern[1].type = RTE_FLOW_ITEM_TYPE_IPV4;
  pattern[2].type = RTE_FLOW_ITEM_TYPE_END;
  rte_flow_action_rss rss{};
  rss.func = RTE_ETH_HASH_FUNCTION_DEFAULT;
  rss.types = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_L3_SRC_ONLY;
  rte_flow_action actions[2] = {};
  actions[0].type = RTE_FLOW_ACTION_TYPE_RSS;
  actions[0].conf = &rss;
  actions[1].type = RTE_FLOW_ACTION_TYPE_END;

  // Some drivers want the queues named, others refuse them in a hash rule.
  for (const bool named : {false, true}) {
    rss.queue_num = named ? rx_queues_ : 0;
    rss.queue = named ? queues.data() : nullptr;
    rte_flow_error error{};
    if (rte_flow_validate(port_, &attributes, pattern, actions, &error) != 0) continue;
    source_rule_ = rte_flow_create(port_, &attributes, pattern, actions, &error);
    if (source_rule_ != nullptr) return;
  }
}

rte_flow* Steering::queue_rule(std::uint32_t address, std::uint16_t queue) {
  const rte_flow_attr attributes{
      .group = 0, .priority = 0, .ingress = 1, .egress = 0, .transfer = 0, .reserved = 0};
  rte_flow_item_ipv4 spec{};
  spec.hdr.dst_addr = rte_cpu_to_be_32(address);
  rte_flow_item_ipv4 mask{};
  mask.hdr.dst_addr = 0xFFFFFFFF;
  rte_flow_item pattern[3] = {};
  pattern[0].type = RTE_FLOW_ITEM_TYPE_ETH;
  pattern[1].type = RTE_FLOW_ITEM_TYPE_IPV4;
  pattern[1].spec = &spec;
  pattern[1].mask = &mask;
  pattern[2].type = RTE_FLOW_ITEM_TYPE_END;
  const rte_flow_action_queue to{.index = queue};
  rte_flow_action actions[2] = {};
  actions[0].type = RTE_FLOW_ACTION_TYPE_QUEUE;
  actions[0].conf = &to;
  actions[1].type = RTE_FLOW_ACTION_TYPE_END;

  rte_flow_error error{};
  if (const int result = rte_flow_validate(port_, &attributes, pattern, actions, &error);
      result != 0) {
    refusal_ = why(error, result);
    return nullptr;
  }
  rte_flow* const flow = rte_flow_create(port_, &attributes, pattern, actions, &error);
  if (flow == nullptr) refusal_ = why(error, -rte_errno);
  return flow;
}

void Steering::update(const shared::Generation& generation) {
  if (!wants_rules_) return;
  rte_flow_error error{};
  for (auto rule = rules_.begin(); rule != rules_.end();) {
    const auto* place = generation.nat_addresses.find(wire::Ipv4Address{rule->first});
    if (place != nullptr && place->owner == rule->second.owner) {
      ++rule;
    } else {
      rte_flow_destroy(port_, rule->second.flow, &error);
      rule = rules_.erase(rule);
    }
  }
  wanted_ = generation.nat_addresses.count();
  refusal_.clear();
  for (const auto& range : generation.nat_addresses.all()) {
    const std::uint32_t address = range.first;
    const shared::ShardId owner = range.value.owner;
    if (rules_.contains(address) || owner >= queue_of_.size() || queue_of_[owner] < 0) continue;
    rte_flow* const flow = queue_rule(address, static_cast<std::uint16_t>(queue_of_[owner]));
    // One refusal (no such rules, or no more of them) speaks for the rest.
    if (flow == nullptr) break;
    rules_.emplace(address, Rule{flow, owner});
  }
}

void Steering::stop() {
  if (port_ == RTE_MAX_ETHPORTS) return;
  rte_flow_error error{};
  for (const auto& [address, rule] : rules_) rte_flow_destroy(port_, rule.flow, &error);
  rules_.clear();
  if (source_rule_ != nullptr) rte_flow_destroy(port_, source_rule_, &error);
  source_rule_ = nullptr;
}

std::string Steering::describe() const {
  if (rx_queues_ <= 1) return "one queue, the rest by handoff";
  std::string text;
  if (source_rule_ != nullptr)
    text = "RSS by source address (flow rule)";
  else if ((rss_hf_ & RTE_ETH_RSS_L3_SRC_ONLY) != 0)
    text = "RSS by source address";
  else if (rss_hf_ != 0)
    text = "RSS by flow";
  else
    text = "the device's own distribution";
  if (wants_rules_ && wanted_ != 0) {
    text += fmt::format(", {} of {} NAT addresses by flow rules", rules_.size(), wanted_);
    if (!refusal_.empty()) text += " (" + refusal_ + ")";
  }
  return text;
}

}  // namespace lsn::runtime
