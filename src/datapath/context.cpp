#include "lsn/datapath/context.hpp"

#include "lsn/datapath/capture_tap.hpp"

namespace lsn::datapath {

Context::Context(const ContextConfig& config)
    : now(config.now),
      id(config.id),
      shards(config.shards),
      links(config.links),
      ingress(config.devices),
      random(config.seed),
      secret(state::HashSecret::from(random)),
      brings_others(config.devices),
      tx(config.devices),
      handoff_buffers(config.shards),
      kernel_policer(config.kernel_policer),
      fib(config.fib),
      buffers(config.buffers),
      indirect_buffers(config.indirect_buffers) {
  for (auto& vlans : ingress) vlans.fill(kNoInterface);
}

void Context::handoff(rte_mbuf* packet, ShardId to, PacketOrigin origin) {
  HandoffBuffer& buffer = handoff_buffers[to];
  if (buffer.count == HandoffBuffer::kCapacity) {
    drop(packet, DropReason::kHandoffFull);
    return;
  }
  counters.handoff_sent.add();
  origin_of(packet) = origin;
  buffer.packets[buffer.count++] = packet;
}

void Context::capture_drop(const rte_mbuf* packet, DropReason reason) {
  capture->dropped(*this, packet, reason);
}

void apply(Context& shard, Packet& packet, Verdict verdict) {
  switch (verdict.kind()) {
    case Verdict::Kind::kNext:
    case Verdict::Kind::kConsumed:
      return;
    case Verdict::Kind::kHandoff:
      if (!packet.hairpin) ++shard.misplaced;
      shard.handoff(packet.mbuf, verdict.shard(),
                    {packet.interface, packet.hairpin ? HandoffKind::kHairpin : HandoffKind::kSteer,
                     packet.handoffs});
      return;
    case Verdict::Kind::kDrop:
      shard.drop(packet.mbuf, verdict.reason());
      return;
  }
}

void list_drops(const Context& shard, DropPage& page, std::size_t budget) {
  page.finished = walk_page(page, kDropReasons * RecentDrops::kKept, budget, [&](std::uint32_t at) {
    const auto reason = static_cast<DropReason>(at / RecentDrops::kKept);
    const RecentDrops::Drop& drop = shard.recent_drops.at(reason, at % RecentDrops::kKept);
    if (!drop.some || (page.filter.reason && *page.filter.reason != reason) ||
        (page.filter.address && page.filter.address->be() != drop.source &&
         page.filter.address->be() != drop.destination))
      return;
    DropRow row;
    row.reason = reason;
    row.age_ms = std::uint64_t{elapsed(shard.now, drop.at).count()} * 10;
    row.protocol = drop.protocol;
    row.source = wire::Ipv4Address{drop.source};
    row.destination = wire::Ipv4Address{drop.destination};
    row.size = drop.size;
    const bool has_ports =
        drop.protocol == wire::kProtocolTcp || drop.protocol == wire::kProtocolUdp;
    row.has_l4 = drop.has_l4 && (has_ports || drop.protocol == wire::kProtocolEsp);
    if (row.has_l4 && has_ports) {
      row.source_port = wire::Be16::raw(static_cast<std::uint16_t>(drop.l4)).host();
      row.destination_port = wire::Be16::raw(static_cast<std::uint16_t>(drop.l4 >> 16)).host();
    } else if (row.has_l4) {
      row.spi = wire::Be32::raw(drop.l4).host();
    }
    page.rows.push_back(row);
  });
}

}  // namespace lsn::datapath
