#include "workshop.hpp"

#include <fmt/format.h>
#include <immintrin.h>
#include <rte_cycles.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "lsn/datapath/pipeline.hpp"

namespace lsn::bench {
namespace {

using namespace datapath;

constexpr Mac kInsideMac = {2, 0, 0, 0, 0, 1}, kOutsideMac = {2, 0, 0, 0, 0, 2};
constexpr Mac kInsideGatewayMac = {2, 0, 0, 0, 1, 1}, kOutsideGatewayMac = {2, 0, 0, 0, 1, 2};
constexpr std::uint32_t kInsideIp = 0xC0000201, kInsideGateway = 0xC00002FE;    // 192.0.2.x
constexpr std::uint32_t kOutsideIp = 0xC6336401, kOutsideGateway = 0xC63364FE;  // 198.51.100.x
constexpr std::uint32_t kPool = 0xCB007100;                                     // 203.0.113.0 on

constexpr std::size_t kRing = 512;

/// NAT addresses for so many sessions: half of their ports in use.
/// Half of their ports are in use; of blocks, of which a subscriber has one, half of these.
std::uint32_t addresses_for(std::uint32_t sessions, std::uint32_t block_size) {
  const std::uint32_t places =
      block_size == 0 ? 64512 : 64512 / block_size * std::min(block_size, kFlowsPerSubscriber);
  return sessions / (places / 2) + 1;
}

const wire::ArpHeader& arp_of(const std::uint8_t* frame) {
  return *wire::ArpHeader::parse({frame + 14, 28});
}

}  // namespace

void* CountedMemory::do_allocate(std::size_t bytes, std::size_t alignment) {
  void* const address = pages_.allocate(bytes, alignment);
  pieces_.push_back({address, bytes});
  reserved_ += bytes;
  return address;
}

void CountedMemory::do_deallocate(void* address, std::size_t bytes, std::size_t alignment) {
  std::erase_if(pieces_, [address](const Piece& piece) { return piece.address == address; });
  reserved_ -= bytes;
  pages_.deallocate(address, bytes, alignment);
}

std::size_t CountedMemory::resident() const {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::size_t pages = 0;
  std::vector<unsigned char> present;
  for (const Piece& piece : pieces_) {
    present.assign((piece.bytes + page - 1) / page, 0);
    if (mincore(piece.address, piece.bytes, present.data()) != 0) continue;
    pages += static_cast<std::size_t>(
        std::count_if(present.begin(), present.end(), [](unsigned char p) { return p & 1; }));
  }
  return pages * page;
}

namespace {

/// The `detail` for a FrameMaker of that kind.
std::uint8_t detail(Kind kind, std::uint8_t tcp, std::uint8_t icmp, std::uint8_t esp) {
  switch (kind) {
    case Kind::kTcp:
      return tcp;
    case Kind::kIcmp:
      return icmp;
    case Kind::kEsp:
      return esp;
    case Kind::kUdp:
      break;
  }
  return 0;
}

}  // namespace

Workshop::Workshop(const WorkshopConfig& config)
    : config_(config),
      memory_(config.pages),
      outbound_(config.kind, kInsideMac, kInsideGatewayMac,
                detail(config.kind, kTcpAck, kEchoRequest, kEspOutbound)),
      inbound_(config.kind, kOutsideMac, kOutsideGatewayMac,
               detail(config.kind, kTcpAck, kEchoReply, kEspInbound)),
      opening_(config.kind, kInsideMac, kInsideGatewayMac,
               detail(config.kind, kTcpSyn, kEchoRequest, kEspOutbound)),
      answering_(config.kind, kOutsideMac, kOutsideGatewayMac,
                 detail(config.kind, kTcpSynAck, kEchoReply, kEspInbound)),
      nat_(config.flows, &nat_memory_),
      burst_(kBurst) {
  using wire::Ipv4Address;
  const auto prefix = [](std::uint32_t address, unsigned length) {
    return wire::Ipv4Prefix{Ipv4Address{address}, length};
  };
  generation_.interfaces = {
      {"inside", Side::kInside, kInside, 0, 1500, prefix(kInsideIp, 24)},
      {"outside", Side::kOutside, kOutside, 0, 1500, prefix(kOutsideIp, 24)},
  };
  generation_.index_link_addresses();
  std::vector<IntervalMap<Route>::Range> routes;
  const auto route = [&](const wire::Ipv4Prefix& to, InterfaceId interface, std::uint32_t via) {
    routes.push_back({to.first().value, to.last().value, {interface, Ipv4Address{via}}});
  };
  route(prefix(kInsideIp, 24), kInside, 0);
  route(prefix(kOutsideIp, 24), kOutside, 0);
  route(prefix(0, 0), kOutside, kOutsideGateway);
  route(prefix(0x64400000, 10), kInside, kInsideGateway);
  generation_.index_routes(routes);

  const std::uint32_t addresses =
      config.addresses != 0 ? config.addresses
                            : addresses_for(config.max_sessions, config.block_size) * config.shards;
  Pool pool;
  pool.name = "pool";
  pool.present = true;
  pool.has_blocks = config.block_size != 0;
  pool.ranges = {{Ipv4Address{kPool}, Ipv4Address{kPool + addresses - 1}}};
  pool.addresses_of.resize(config.shards);
  Group group;
  group.name = "group";
  group.present = true;
  group.client = "client";
  group.pools = {0};
  group.usage = std::make_shared<GroupUsage>();
  group.logging = config.logging;
  group.blocks.size = config.block_size;
  for (auto& apps : group.apps) apps = IntervalMap<AppPolicy>({{0, 65535, config.policy}});
  for (auto& transport : group.transport) transport.session_timeout = kSessionTimeout;
  if (config.kind == Kind::kEsp) {
    AlgProfile profile;
    profile.name = "alg";
    profile.present = true;
    generation_.alg_profiles = {profile};
    group.alg_profile = 0;
  }
  const PoolRanges ranges{0, pool.ranges};
  generation_.nat_addresses = NatAddressMap({&ranges, 1}, config.shards);
  for (const auto& range : generation_.nat_addresses.all())
    pool.addresses_of[range.value.owner].push_back(Ipv4Address{range.first});
  group.addresses_of = pool.addresses_of;
  generation_.pools = {std::move(pool)};
  generation_.groups = {std::move(group)};
  const wire::Ipv4Prefix clients = prefix(0x64400000, 10);
  std::vector<IntervalMap<std::uint16_t>::Range> networks;
  const std::uint32_t size = (clients.last().value - clients.first().value + 1) / config.networks;
  for (std::uint32_t n = 0, first = clients.first().value; n < config.networks; ++n, first += size)
    networks.push_back({first, first + size - 1, 0});
  networks.back().last = clients.last().value;  // and the rest
  ShardShares shares{};
  for (unsigned id = 0; id < config.shards; ++id)
    shares[id] = static_cast<std::uint32_t>(generation_.pools[0].addresses_of[id].size());
  generation_.maps = {std::make_shared<ShardMap>(IntervalMap<std::uint16_t>(std::move(networks)),
                                                 std::vector<ShardShares>{shares})};

  ShardConfig shard;
  shard.id = config.id;
  shard.shards = config.shards;
  shard.max_sessions = config.max_sessions;
  if (config.kind == Kind::kEsp)
    shard.alg = {.ike_sessions = 1024,
                 .esp_sessions = config.max_sessions,
                 .gates = config.max_sessions,
                 .held_bytes = 1 << 20};
  shard.links = {{kInsideMac, Side::kInside}, {kOutsideMac, Side::kOutside}};
  shard.devices = 2;
  shard.buffers = config.buffers;
  shard.memory = &memory_;
  shard.seed.fill(7);
  shard.now = state::Ticks{1000};
  shard_ = std::make_unique<Shard>(shard);
  shard_->ingress[kInside][0] = kInside;
  shard_->ingress[kOutside][0] = kOutside;
  addresses_ = store_.prepare(generation_, config.id);
  adopt_generation(*shard_, &generation_, addresses_.get());

  for (std::uint32_t n = 0; config.shards > 1 && own_.size() < config.flows; ++n)
    if (generation_.maps.front()->owner_of({Ipv4Address{flow_of(n).inside.ip}}) == config.id)
      own_.push_back(n);

  ring_.resize(kRing);
  if (rte_pktmbuf_alloc_bulk(config.buffers, ring_.data(), kRing) != 0) fail("no packet buffers");
  neighbours_speak();
}

Workshop::~Workshop() {
  release_packets(*shard_);
  rte_pktmbuf_free_bulk(ring_.data(), static_cast<unsigned>(ring_.size()));
}

void Workshop::fail(const std::string& what) const {
  std::string drops;
  for (std::size_t i = 0; i < kDropReasons; ++i) {
    const auto reason = static_cast<DropReason>(i);
    if (const auto n = shard_->counters.dropped(reason); n != 0)
      drops += fmt::format(" {}={}", name_of(reason), n);
  }
  throw std::runtime_error(what + (drops.empty() ? "" : "; drops:" + drops));
}

void Workshop::neighbours_speak() {
  const auto speak = [this](std::uint16_t interface, const Mac& mac, std::uint32_t ip,
                            const Mac& own_mac, std::uint32_t own_ip) {
    std::uint8_t frame[kFrameSize];
    write_arp(frame, 2, mac, ip, own_mac, own_ip);
    const auto id = shard_->neighbours.find_or_add(*shard_, static_cast<InterfaceId>(interface),
                                                   wire::Be32::of(ip));
    if (id == kNoNeighbour) fail("no room for a neighbour");
    static_cast<void>(shard_->neighbours.arp_received(*shard_, static_cast<InterfaceId>(interface),
                                                      arp_of(frame), Neighbours::Answer::kNo));
    if (shard_->neighbours[id].state != NeighbourState::kReachable) fail("a neighbour is deaf");
  };
  speak(kInside, kInsideGatewayMac, kInsideGateway, kInsideMac, kInsideIp);
  speak(kOutside, kOutsideGatewayMac, kOutsideGateway, kOutsideMac, kOutsideIp);
}

std::uint64_t Workshop::reload(bool with_clients) {
  generation_.groups[0].present = with_clients;
  ++generation_.number;
  const std::uint64_t begin = rte_rdtsc();
  adopt_generation(*shard_, &generation_, addresses_.get());
  return rte_rdtsc() - begin;
}

void Workshop::pass(state::TickDuration time) {
  shard_->now += time;
  neighbours_speak();
}

Flow Workshop::flow(std::uint32_t n) const {
  Flow flow = flow_of(own_.empty() ? n : own_[n]);
  if (config_.kind == Kind::kIcmp || config_.kind == Kind::kEsp) flow.remote.port = 0;
  if (config_.kind == Kind::kEsp) flow.inside.port = 0;
  return flow;
}

namespace {

void write_frame(rte_mbuf* mbuf, const FrameMaker& maker, const Endpoint& from, const Endpoint& to,
                 std::uint32_t number) {
  mbuf->data_off = RTE_PKTMBUF_HEADROOM;
  mbuf->data_len = kFrameSize;
  mbuf->pkt_len = kFrameSize;
  mbuf->ol_flags = 0;
  maker.write(rte_pktmbuf_mtod(mbuf, std::uint8_t*), from, to, number);
}

}  // namespace

void Workshop::load(unsigned i, const FrameMaker& maker, const Endpoint& from, const Endpoint& to,
                    std::uint32_t number) {
  burst_[i] = ring_[(next_ + i) % kRing];
  write_frame(burst_[i], maker, from, to, number);
}

void Workshop::write_outbound(rte_mbuf* mbuf, Sequence& sequence) const {
  const std::uint32_t n = sequence.below(config_.flows);
  const Flow f = flow(n);
  write_frame(mbuf, outbound_, f.inside, f.remote, n);
}

void Workshop::write_inbound(rte_mbuf* mbuf, Sequence& sequence) const {
  const std::uint32_t n = sequence.below(config_.flows);
  write_frame(mbuf, inbound_, flow(n).remote, nat_[n], n);
}

void Workshop::burst_outbound(Sequence& sequence, std::uint32_t flows) {
  device_ = kInside;
  for (unsigned i = 0; i < kBurst; ++i) {
    const std::uint32_t n = sequence.below(flows);
    const Flow f = flow(n);
    load(i, outbound_, f.inside, f.remote, n);
  }
}

void Workshop::burst_inbound(Sequence& sequence, std::uint32_t flows) {
  device_ = kOutside;
  for (unsigned i = 0; i < kBurst; ++i) {
    const std::uint32_t n = sequence.below(flows);
    load(i, inbound_, flow(n).remote, nat_[n], n);
  }
}

void Workshop::burst_unknown(Sequence& sequence) {
  device_ = kOutside;
  const auto addresses = static_cast<std::uint32_t>(generation_.nat_addresses.count());
  for (unsigned i = 0; i < kBurst; ++i) {
    const Endpoint nat{kPool + sequence.below(addresses),
                       static_cast<std::uint16_t>(1024 + sequence.below(64512))};
    // 198.18.0.0/15 is no flow's remote side.
    const Endpoint stranger{0xC6120000 + sequence.below(1 << 17), 443};
    load(i, inbound_, stranger, nat, i);
  }
}

void Workshop::burst_spoofed(Sequence& sequence, std::uint32_t flows) {
  device_ = kOutside;
  for (unsigned i = 0; i < kBurst; ++i) {
    const std::uint32_t n = sequence.below(flows);
    load(i, inbound_, flow(n).remote, nat_[n], config_.flows + sequence.below(1 << 26));
  }
}

/// Work that writing the burst has left to do shall not be counted as the product's.
void Workshop::settle_memory() const {
  if (config_.cold_frames)
    for (rte_mbuf* mbuf : burst_) _mm_clflush(rte_pktmbuf_mtod(mbuf, const void*));
  _mm_mfence();
  _mm_lfence();
}

std::uint64_t Workshop::run() {
  settle_memory();
  const std::uint64_t begin = rte_rdtsc();
  process_received(*shard_, device_, packets());
  const std::uint64_t end = rte_rdtsc();
  finish();
  return end - begin;
}

/// Buffers that were sent go back to the end of the ring; the places of those that were dropped,
/// and so freed, are filled again.
void Workshop::finish() {
  unsigned back = 0;
  for (TxBuffer& tx : shard_->tx) {
    for (std::uint32_t i = 0; i < tx.count; ++i) {
      if (back < kBurst)
        ring_[(next_ + back++) % kRing] = tx.packets[i];
      else
        rte_pktmbuf_free(tx.packets[i]);  // one that the shard made itself
    }
    tx.count = 0;
  }
  sent_ += back;
  for (; back < kBurst; ++back)
    if ((ring_[(next_ + back) % kRing] = rte_pktmbuf_alloc(config_.buffers)) == nullptr)
      fail("no packet buffers");
  next_ = (next_ + kBurst) % kRing;
}

std::uint64_t Workshop::open_burst(std::uint32_t first, unsigned count) {
  device_ = kInside;
  // A burst is always full; the places left over repeat the last flow.
  for (unsigned i = 0; i < kBurst; ++i) {
    const std::uint32_t n = first + std::min(i, count - 1);
    const Flow f = flow(n);
    load(i, opening_, f.inside, f.remote, n);
  }
  return run();
}

void Workshop::restore_esp(std::uint32_t first, std::uint32_t last) {
  const auto addresses = static_cast<std::uint32_t>(generation_.nat_addresses.count());
  for (std::uint32_t n = first; n < last; ++n) {
    const Flow f = flow(n);
    nat_[n] = {kPool + (f.inside.ip & 0xFFFFFF) % addresses, 0};
    StateRecord record;
    record.kind = StateRecord::Kind::kEspSession;
    record.client = wire::Be32::of(f.inside.ip);
    record.nat_ip = wire::Be32::of(nat_[n].ip);
    record.server = wire::Be32::of(f.remote.ip);
    record.spi_out = wire::Be32::of(spi_of(kEspOutbound, n));
    record.spi_in = wire::Be32::of(spi_of(kEspInbound, n));
    if (!restore_state(*shard_, record)) fail(fmt::format("no room for ESP session {}", n));
  }
  finish_restoring(*shard_);
}

std::uint64_t Workshop::open(std::uint32_t first, std::uint32_t last) {
  std::uint64_t clocks = 0;
  // A million tunnels by IKE are another benchmark: these come as after a restart.
  if (config_.kind == Kind::kEsp) restore_esp(first, last);
  for (std::uint32_t n = first; n < last; n += kBurst) {
    const std::size_t at = next_;
    const std::uint64_t sent_before = sent_;
    clocks += open_burst(n, std::min(kBurst, last - n));
    if (sent_ != sent_before + kBurst) fail("a flow did not open");
    for (unsigned i = 0; i < kBurst; ++i) {
      rte_mbuf* mbuf = ring_[(at + i) % kRing];
      const auto* frame = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
      const std::uint32_t number = number_of(frame, config_.kind);
      if (number < nat_.capacity()) nat_[number] = source_of(frame, config_.kind);
    }
    // The answer finds the inbound next hop of every session; with the acknowledgment of that a TCP
    // connection is open.
    device_ = kOutside;
    for (unsigned i = 0; i < kBurst; ++i) {
      const std::uint32_t m = std::min(n + i, last - 1);
      load(i, answering_, flow(m).remote, nat_[m], m);
    }
    static_cast<void>(run());
    if (config_.kind != Kind::kTcp) continue;
    device_ = kInside;
    for (unsigned i = 0; i < kBurst; ++i) {
      const std::uint32_t m = std::min(n + i, last - 1);
      load(i, outbound_, flow(m).inside, flow(m).remote, m);
    }
    static_cast<void>(run());
  }
  return clocks;
}

void Workshop::verify(std::uint32_t sample) {
  Sequence sequence(1);
  for (std::uint32_t done = 0; done < sample; done += kBurst) {
    for (const bool outbound : {true, false}) {
      const std::size_t at = next_;
      const std::uint64_t before = sent_;
      if (outbound)
        burst_outbound(sequence, config_.flows);
      else
        burst_inbound(sequence, config_.flows);
      static_cast<void>(run());
      if (sent_ != before + kBurst) fail("packets of known flows did not come out");
      for (unsigned i = 0; i < kBurst; ++i) {
        rte_mbuf* mbuf = ring_[(at + i) % kRing];
        const auto* frame = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
        const std::uint32_t n = number_of(frame, config_.kind);
        const Flow f = flow(n);
        const Expected expected =
            outbound ? Expected{config_.kind,
                                kOutsideGatewayMac,
                                kOutsideMac,
                                nat_[n],
                                f.remote,
                                kSentTtl - 1,
                                n}
                     : Expected{config_.kind, kInsideGatewayMac, kInsideMac, f.remote,
                                f.inside,     kSentTtl - 1,      n};
        const std::string fault = check_frame(frame, mbuf->pkt_len, expected);
        if (!fault.empty())
          fail(fmt::format("flow {} {}: wrong {}", n, outbound ? "outbound" : "inbound", fault));
        if (nat_[n].ip < kPool || nat_[n].ip >= kPool + generation_.nat_addresses.count())
          fail(fmt::format("flow {}: its NAT address is none of the pool's", n));
      }
    }
  }
}

}  // namespace lsn::bench
