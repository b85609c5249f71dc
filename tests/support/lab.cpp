#include "support/lab.hpp"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "lsn/datapath/capture_tap.hpp"
#include "lsn/shared/restored_map.hpp"
#include "support/packet_checker.hpp"
#include "support/path_guard.hpp"

namespace lsn::test {

using namespace datapath;

namespace {

constexpr unsigned kBuffers = 8191;
constexpr unsigned kIndirectBuffers = 1023;
constexpr std::uint16_t kBufferRoom = RTE_PKTMBUF_HEADROOM + 2048;
constexpr std::size_t kPollBudget = 64;

rte_mempool* packet_buffers = nullptr;
rte_mempool* indirect_packet_buffers = nullptr;

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "lab: %s: %s\n", what, rte_strerror(rte_errno));
  std::abort();
}

/// One lcore that may run wherever this process may: EAL would bind it to one CPU.
std::string lcores() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  sched_getaffinity(0, sizeof cpus, &cpus);
  std::string list;
  for (int cpu = 0; cpu < CPU_SETSIZE && cpu < 128; ++cpu)
    if (CPU_ISSET(cpu, &cpus)) list += cat({list.empty() ? "" : ",", std::to_string(cpu)});
  return cat({"--lcores=0@(", list, ")"});
}

/// As a worker does it for a capture.
void show_handoffs(Shard& shard, const HandoffBuffer& buffer) {
  if (shard.capture == nullptr) return;
  const std::span<rte_mbuf* const> frames(buffer.packets.data(), buffer.count);
  shard.capture->handing_off(shard, frames);
  shard.capture->handed_off(shard, frames, frames.size());
}

}  // namespace

void start_eal() {
  static const bool started = [] {
    std::string arguments[] = {"lab",         "--no-huge",         "--no-pci",
                               "--no-shconf", "--no-telemetry",    "-m",
                               "256",         "--log-level=error", lcores()};
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) give_up("rte_eal_init");
    packet_buffers =
        rte_pktmbuf_pool_create("lab", kBuffers, 0, kBufferPrivateSize, kBufferRoom, SOCKET_ID_ANY);
    if (packet_buffers == nullptr) give_up("packet buffers");
    indirect_packet_buffers = rte_pktmbuf_pool_create("lab_indirect", kIndirectBuffers, 0,
                                                      kBufferPrivateSize, 0, SOCKET_ID_ANY);
    if (indirect_packet_buffers == nullptr) give_up("indirect packet buffers");
    return true;
  }();
  (void)started;
}

void Lab::ShardDeleter::operator()(Shard* shard) const {
  if (memory == nullptr) {
    delete shard;
    return;
  }
  shard->~Shard();
  memory->deallocate(shard, sizeof(Shard), alignof(Shard));
}

Lab::ShardPointer Lab::make_shard(const ShardConfig& config, state::ZeroedMemory* memory) {
  if (memory == nullptr) return {new Shard(config), {nullptr}};
  void* const place = memory->allocate(sizeof(Shard), alignof(Shard));
  return {new (place) Shard(config), {memory}};
}

Lab::Lab(const Config& config, const Options& options)
    : config_(config), options_(options), now_{options.start}, policer_(config.interfaces.size()) {
  start_eal();
  stores_.resize(options.shards);
  addresses_.resize(options.shards);
  for (unsigned id = 0; id < options.shards; ++id) {
    ShardConfig of_shard;
    of_shard.id = static_cast<ShardId>(id);
    of_shard.shards = options.shards;
    of_shard.max_sessions = options.max_sessions;
    of_shard.max_fragments = options.max_fragments;
    of_shard.alg = options.alg;
    of_shard.log_records = options.log_records;
    of_shard.fib = options.fib;
    for (unsigned i = 0; i < config.interfaces.size(); ++i)
      of_shard.links.push_back(
          {own_mac(i), config.interfaces[i].side, config.interfaces[i].kernel});
    of_shard.kernel_policer = &policer_;
    of_shard.devices = static_cast<std::uint16_t>(config.devices());
    of_shard.buffers = packet_buffers;
    of_shard.indirect_buffers = indirect_packet_buffers;
    of_shard.memory = options.memory != nullptr ? options.memory : &memory_;
    const std::uint64_t seed[4] = {options.seed, options.seed * 0x9E3779B97F4A7C15 + id, id, 0x1AB};
    std::memcpy(of_shard.seed.data(), seed, sizeof seed);
    of_shard.now = now_;
    shards_.push_back(make_shard(of_shard, options.shard_memory));
    for (unsigned i = 0; i < config.interfaces.size(); ++i)
      shards_.back()->ingress[config.interfaces[i].device][config.interfaces[i].vlan] =
          static_cast<InterfaceId>(i);
  }
  adopted_.resize(options.shards, 0);
  publish(config);
  for (unsigned id = 0; id < options.shards; ++id) adopt(id);
}

std::vector<shared::LogRecord> Lab::log_records() {
  std::vector<shared::LogRecord> all;
  for (const auto& shard : shards_)
    shard->log.take(options_.log_records, [&](const shared::LogRecord& r) { all.push_back(r); });
  return all;
}

Lab::~Lab() {
  shut_down();
}

void Lab::shut_down() {
  give_buffers();
  observe();
  for (const auto& shard : shards_) release_packets(*shard);
  shards_.clear();
}

std::string Lab::end_all() {
  give_buffers();
  hold_ = show_arp_ = false;
  silent_.clear();
  run_until_idle();
  flush({});
  for (const auto& shard : shards_) {
    shared::AlgFlush all;
    while (!all.finished) flush_alg(*shard, all, 1024);
  }
  std::string left = "never looked";
  // Neighbours are forgotten last, after some probes.
  for (int tries = 0; tries < 16 && !left.empty(); ++tries) {
    jump(400s);
    left = remains();
  }
  out_.clear();
  unanswered_.clear();
  if (left.empty() && !faults_.empty()) left = faults_.front();
  faults_.clear();
  return left;
}

void Lab::renew(const Config& config, Arrival arrival) {
  check_l4_ = true;
  static_cast<void>(log_records());
  options_.arrival = arrival;
  next_ = 0;
  // No shard needs a former generation, nor its map of shards.
  const std::uint64_t number = generations_.back()->number;
  auto fresh = test::build(config, options_.shards, nullptr, generations_.back()->displaced);
  fresh->number = number + 1;
  config_ = config;
  configs_.push_back(config);
  generations_.push_back(std::move(fresh));
  for (unsigned id = 0; id < options_.shards; ++id) {
    addresses_[id].push_back(stores_[id].prepare(*generations_.back(), static_cast<ShardId>(id)));
    adopt(id);
  }
  sweep();
  generations_.erase(generations_.begin(), generations_.end() - 1);
  configs_.erase(configs_.begin(), configs_.end() - 1);
  for (auto& of_shard : addresses_) of_shard.erase(of_shard.begin(), of_shard.end() - 1);
  std::fill(adopted_.begin(), adopted_.end(), 0);
  run_until_idle();
}

std::string Lab::remains() {
  const auto still = [](const char* what, std::uint64_t count) {
    return count == 0 ? std::string{} : cat({std::to_string(count), " ", what});
  };
  for (const auto& shard : shards_) {
    const lsn44::Tables& nat = shard->lsn44;
    const ipsec_alg::Tables& alg = shard->alg;
    for (const std::string& left : {
             still("sessions", nat.sessions.size()),
             still("mappings", nat.mappings.size()),
             still("permissions", nat.permissions.size()),
             still("subscribers", nat.subscribers.size()),
             still("gates", alg.gates.size()),
             still("peers", alg.peers.size()),
             still("IKE sessions", alg.ike_sessions.size()),
             still("ESP sessions", alg.esp_sessions.size()),
             still("waiters", alg.waiters.size()),
             still("flights", alg.flights.size()),
             still("held packets", alg.held.size()),
             still("pieces of held packets", alg.held_pieces.size()),
             still("datagrams", shard->reassembly.size()),
             still("subscribers counted", shard->counters.subscribers.get()),
         })
      if (!left.empty()) return left;
    for (std::size_t p = 0; p < kProtocols; ++p) {
      const ProtocolCounters& of = shard->counters.protocols[p];
      if (of.sessions.get() != 0) return still("sessions counted", of.sessions.get());
      if (of.mappings.get() != 0) return still("mappings counted", of.mappings.get());
    }
  }
  return still("buffers", buffers_in_use());
}

std::int64_t Lab::unaccounted() {
  std::uint64_t made = 0, fates = 0;
  for (const auto& shard : shards_) {
    const Counters& c = shard->counters;
    made += c.arp_requests_sent.get() + c.arp_replies_sent.get() + c.icmp_errors_sent.get() +
            c.resets_sent.get() + c.echo_replies.get() + c.fragments_sent.get();
    fates += c.consumed.get() + c.fragmented.get();
    for (const Counter& drops : c.drops) fates += drops.get();
    fates += shard->alg.held.size();  // waits, but not in a buffer
  }
  return came_ + static_cast<std::int64_t>(made) - gone_ - static_cast<std::int64_t>(fates) -
         static_cast<std::int64_t>(buffers_in_use() - hoard_.size());
}

std::size_t Lab::buffers_in_use() {
  start_eal();
  return rte_mempool_in_use_count(packet_buffers) +
         rte_mempool_in_use_count(indirect_packet_buffers);
}

Mac Lab::mac_of(Ip host) {
  return {0x02,
          0x00,
          static_cast<std::uint8_t>(host.value >> 24),
          static_cast<std::uint8_t>(host.value >> 16),
          static_cast<std::uint8_t>(host.value >> 8),
          static_cast<std::uint8_t>(host.value)};
}

Mac Lab::own_mac(unsigned interface) {
  return {0x06, 0xFF, 0x00, 0x00, 0x00, static_cast<std::uint8_t>(interface)};
}

// ── packets ─────────────────────────────────────────────────────────────────────────────────────

unsigned Lab::arrive() {
  if (options_.arrival == Arrival::kFirst) return std::exchange(next_, 0u);
  const unsigned shard = next_;
  next_ = (next_ + 1) % shards();
  return shard;
}

void Lab::introduce(unsigned interface, Ip host) {
  const InterfaceConfig& on = config_.interfaces.at(interface);
  receive(on.device, ethernet(kBroadcast, mac_of(host), kTypeArp,
                              arp(kArpRequest, mac_of(host), host, {}, on.ip()), on.vlan));
}

rte_mbuf* Lab::buffer_of(const Bytes& frame, const Reception& how) {
  const std::size_t room = kBufferRoom - RTE_PKTMBUF_HEADROOM;
  const std::size_t segment = how.segment != 0 ? how.segment : room;
  rte_mbuf* first = nullptr;
  rte_mbuf* last = nullptr;
  std::size_t at = 0;
  do {
    rte_mbuf* mbuf = rte_pktmbuf_alloc(packet_buffers);
    if (mbuf == nullptr) give_up("no buffer for a test's packet");
    const std::size_t size = std::min(segment, frame.size() - at);
    // The former content of a buffer must not be read.
    std::memset(mbuf->buf_addr, 0xDB, mbuf->buf_len);
    char* data = rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(size));
    if (size != 0) std::memcpy(data, frame.data() + at, size);
    at += size;
    if (first == nullptr) {
      first = mbuf;
    } else {
      last->next = mbuf;
      ++first->nb_segs;
      first->pkt_len += static_cast<std::uint32_t>(size);
    }
    last = mbuf;
  } while (at < frame.size());
  first->ol_flags = how.flags;
  first->vlan_tci = static_cast<std::uint16_t>(how.stripped_vlan);
  return first;
}

void Lab::deliver(unsigned shard, unsigned device, rte_mbuf* mbuf) {
  shards_[shard]->now = now_;
  ++came_;
  const PathGuard guard;
  process_received(*shards_[shard], static_cast<std::uint16_t>(device), {&mbuf, 1});
}

std::vector<Frame> Lab::receive(unsigned device, const Bytes& frame, const Reception& how) {
  deliver(arrive(), device, buffer_of(frame, how));
  return run_until_idle();
}

std::vector<Frame> Lab::send(unsigned interface, const Bytes& ip_packet, const Reception& how) {
  const InterfaceConfig& on = config_.interfaces.at(interface);
  const Bytes frame =
      ethernet(own_mac(interface), mac_of(source_of(ip_packet).ip), kTypeIpv4, ip_packet, on.vlan);
  return receive(on.device, frame, how);
}

std::vector<Frame> Lab::burst(unsigned interface, const std::vector<Bytes>& ip_packets) {
  const InterfaceConfig& on = config_.interfaces.at(interface);
  std::vector<rte_mbuf*> mbufs;
  for (const Bytes& packet : ip_packets)
    mbufs.push_back(buffer_of(
        ethernet(own_mac(interface), mac_of(source_of(packet).ip), kTypeIpv4, packet, on.vlan),
        {}));
  Shard& shard = *shards_[arrive()];
  shard.now = now_;
  came_ += static_cast<std::int64_t>(mbufs.size());
  {
    const PathGuard guard;
    process_received(shard, static_cast<std::uint16_t>(on.device), mbufs);
  }
  return run_until_idle();
}

Frame Lab::frame_to(unsigned interface, Ip neighbour, const Bytes& ip_packet) const {
  const InterfaceConfig& on = config_.interfaces.at(interface);
  return {on.device,
          ethernet(mac_of(neighbour), own_mac(interface), kTypeIpv4, ip_packet, on.vlan)};
}

bool Lab::move_handoffs() {
  bool moved = false;
  for (unsigned from = 0; from < shards(); ++from) {
    for (unsigned to = 0; to < shards(); ++to) {
      HandoffBuffer& buffer = shards_[from]->handoff_buffers[to];
      if (buffer.count == 0) continue;
      if (from == to) faults_.push_back("a shard handed a packet over to itself");
      moved = true;
      const std::vector<rte_mbuf*> packets(buffer.packets.begin(),
                                           buffer.packets.begin() + buffer.count);
      show_handoffs(*shards_[from], buffer);
      buffer.count = 0;
      came_ += std::count_if(packets.begin(), packets.end(), [](rte_mbuf* packet) {
        return origin_of(packet).kind == HandoffKind::kArp;
      });
      shards_[to]->now = now_;
      const PathGuard guard;
      for (std::size_t i = 0; i < packets.size(); i += kBurst)
        process_handoff(*shards_[to], {packets.data() + i, std::min(kBurst, packets.size() - i)});
    }
  }
  return moved;
}

void Lab::carry_to_kernel(Shard& shard) {
  for (std::size_t c = 0; c < shard.kernel.size(); ++c) {
    KernelBuffer& buffer = shard.kernel[c];
    const std::vector<rte_mbuf*> packets(buffer.packets.begin(),
                                         buffer.packets.begin() + buffer.count);
    buffer.count = 0;
    for (rte_mbuf* const packet : packets) {
      set_fate(packet, kernel_refuses_ ? KernelFate::kRefused : KernelFate::kTaken);
      if (kernel_refuses_) continue;
      KernelFrame frame{origin_of(packet).interface, static_cast<KernelClass>(c),
                        Bytes(packet->pkt_len)};
      const void* const bytes = rte_pktmbuf_read(packet, 0, packet->pkt_len, frame.bytes.data());
      if (bytes != frame.bytes.data()) std::memcpy(frame.bytes.data(), bytes, frame.bytes.size());
      kernel_.push_back(std::move(frame));
    }
    take_back(shard, packets);
  }
}

std::vector<Frame> Lab::from_kernel(unsigned interface, const Bytes& frame) {
  rte_mbuf* const mbuf = buffer_of(frame, {});
  origin_of(mbuf) = {static_cast<InterfaceId>(interface), HandoffKind::kKernel, 0};
  Shard& shard = *shards_[arrive()];
  shard.now = now_;
  ++came_;
  {
    const PathGuard guard;
    send_from_kernel(shard, {&mbuf, 1});
  }
  return run_until_idle();
}

void Lab::collect() {
  for (const auto& shard : shards_) {
    if (!hold_kernel_) carry_to_kernel(*shard);
    for (unsigned device = 0; device < shard->tx.size(); ++device) {
      TxBuffer& buffer = shard->tx[device];
      if (shard->capture != nullptr && buffer.count != 0) {
        const std::span<rte_mbuf* const> frames(buffer.packets.data(), buffer.count);
        shard->capture->sending(*shard, static_cast<std::uint16_t>(device), frames);
        shard->capture->sent(*shard, frames, frames.size(), DropReason::kTxFull);
      }
      for (std::uint32_t i = 0; i < buffer.count; ++i) {
        rte_mbuf* mbuf = buffer.packets[i];
        if (rte_mbuf_check(mbuf, 1, nullptr) != 0)
          faults_.push_back("a broken buffer chain was sent");
        Frame frame{device, Bytes(mbuf->pkt_len)};
        if (!frame.bytes.empty()) {
          const void* bytes = rte_pktmbuf_read(mbuf, 0, mbuf->pkt_len, frame.bytes.data());
          if (bytes != frame.bytes.data())
            std::memcpy(frame.bytes.data(), bytes, frame.bytes.size());
        }
        rte_pktmbuf_free(mbuf);
        ++gone_;
        inspect(frame);
        unanswered_.push_back(std::move(frame));
      }
      buffer.count = 0;
    }
    end_captured_burst(*shard);
  }
}

/// All of a burst was sent and handed off.
void Lab::end_captured_burst(Shard& shard) {
  if (shard.capture == nullptr) return;
  for (const HandoffBuffer& buffer : shard.handoff_buffers) show_handoffs(shard, buffer);
  shard.capture->end_burst(shard);
}

std::vector<Frame> Lab::run_until_idle() {
  for (;;) {
    collect();
    if (!unanswered_.empty()) {
      const Frame frame = std::move(unanswered_.front());
      unanswered_.pop_front();
      const bool is_arp = link_of(frame.bytes).type == kTypeArp;
      if (!is_arp || show_arp_ || get16(frame.bytes, link_of(frame.bytes).size + 6) == kArpReply)
        out_.push_back(frame);
      if (is_arp) answer(frame);
      continue;
    }
    if (hold_ || !move_handoffs()) break;
  }
  observe();
  return std::exchange(out_, {});
}

void Lab::answer(const Frame& frame) {
  const Link link = link_of(frame.bytes);
  const ByteView request = ByteView{frame.bytes}.subspan(link.size);
  if (get16(request, 6) != kArpRequest) return;
  const Ip target{get32(request, 24)};
  const Ip sender{get32(request, 14)};
  // The NAT's own announcements have no answer.
  if (target == sender || silent_.contains(target)) return;
  const Bytes reply =
      ethernet(link.source, mac_of(target), kTypeArp,
               arp(kArpReply, mac_of(target), target, link.source, sender), link.vlan);
  deliver(arrive(), frame.device, buffer_of(reply, {}));
}

// ── checks of frames that leave ─────────────────────────────────────────────────────────────────

int Lab::interface_of(const Frame& frame) const {
  const Link link = link_of(frame.bytes);
  for (std::size_t i = 0; i < config_.interfaces.size(); ++i)
    if (config_.interfaces[i].device == frame.device && config_.interfaces[i].vlan == link.vlan)
      return static_cast<int>(i);
  return -1;
}

void Lab::fault(const Frame& frame, const std::string& what) {
  faults_.push_back(cat({what, ": ", summary_of_frame(frame.bytes), "\n", hexdump(frame.bytes)}));
}

void Lab::inspect(const Frame& frame) {
  const Link link = link_of(frame.bytes);
  const int index = interface_of(frame);
  if (index < 0) return fault(frame, "no interface has that VLAN on the device");
  const InterfaceConfig& on = config_.interfaces[static_cast<std::size_t>(index)];
  if (link.source != own_mac(static_cast<unsigned>(index)))
    fault(frame, "the source is not our hardware address");
  const bool outside = on.side == Side::kOutside;
  const ByteView rest = ByteView{frame.bytes}.subspan(std::min(link.size, frame.bytes.size()));
  if (link.type == kTypeArp) {
    const Ip sender{get32(rest, 14)};
    if (sender != on.ip() &&
        !(outside && on.network().contains(sender) &&
          any_config([&](const Config& c) { return c.is_nat_address(sender); })))
      fault(frame, "ARP from an address that is not ours there");
    if (frame.bytes.size() < 60) fault(frame, "a frame below Ethernet's smallest");
    return;
  }
  if (link.type != kTypeIpv4) return fault(frame, "neither IPv4 nor ARP");
  if (const auto wrong = fault_of_ip(rest)) return fault(frame, *wrong);
  if (rest.size() > on.mtu) fault(frame, "larger than the MTU");
  const Ip source = source_of(rest).ip;
  const Ip destination = destination_of(rest).ip;
  const bool ours = config_.interface_of(source) >= 0;
  const bool nat = any_config([&](const Config& c) { return c.is_nat_address(source); });
  const bool from_client = any_config([&](const Config& c) { return c.is_client(source); });
  const bool untranslated =
      any_config([&](const Config& c) { return c.is_bypassed(source, destination); });
  if (outside && from_client && !ours && !untranslated) fault(frame, "a client's address outside");
  if (outside && !ours && !nat && !untranslated) fault(frame, "a foreign source outside");
  const bool to_client_there =
      any_config([&](const Config& c) { return c.is_client(destination, on.td); });
  if (!outside && !ours && !to_client_there) fault(frame, "delivered to no client of that domain");
  if (check_l4_)
    if (const auto wrong = fault_of_l4(rest)) fault(frame, *wrong);
}

// ── time ────────────────────────────────────────────────────────────────────────────────────────

void Lab::set_now(state::Ticks now) {
  now_ = now;
  for (const auto& shard : shards_) shard->now = now;
}

std::vector<Frame> Lab::housekeep(std::size_t budget) {
  for (const auto& shard : shards_) {
    shard->now = now_;
    const PathGuard guard;
    datapath::housekeep(*shard, budget);
  }
  return run_until_idle();
}

std::vector<Frame> Lab::advance(std::chrono::milliseconds time) {
  std::vector<Frame> all;
  const auto end = now_ + std::chrono::duration_cast<state::TickDuration>(time);
  while (now_ != end) {
    set_now(now_ + state::TickDuration{std::min(10, end - now_)});
    for (int poll = 0; poll < 4; ++poll) {
      const std::vector<Frame> sent = housekeep(kPollBudget);
      all.insert(all.end(), sent.begin(), sent.end());
    }
  }
  return all;
}

std::vector<Frame> Lab::jump(std::chrono::milliseconds time) {
  set_now(now_ + std::chrono::duration_cast<state::TickDuration>(time));
  return housekeep(std::size_t{1} << 30);
}

// ── configuration ───────────────────────────────────────────────────────────────────────────────

void Lab::publish(const Config& config) {
  config_ = config;
  configs_.push_back(config);
  generations_.push_back(test::build(config, options_.shards,
                                     generations_.empty() ? nullptr : generations_.back().get()));
  for (unsigned id = 0; id < options_.shards; ++id)
    addresses_[id].push_back(stores_[id].prepare(*generations_.back(), static_cast<ShardId>(id)));
}

void Lab::adopt(unsigned shard) {
  adopted_[shard] = generations_.size() - 1;
  shards_[shard]->now = now_;
  adopt_generation(*shards_[shard], generations_.back().get(), addresses_[shard].back().get());
}

std::uint64_t Lab::sweep(std::size_t budget) {
  std::uint64_t ended = 0;
  for (unsigned id = 0; id < shards(); ++id) {
    GenerationSweep sweep;
    while (!sweep.finished) enforce_generation(*shards_[id], sweep, budget);
    ended += sweep.ended;
    stores_[id].discard(*addresses_[id].back());
  }
  if (generation().displaced != nullptr)
    generation().displaced->note_sweep_end(generation().number);
  return ended;
}

std::uint64_t Lab::reload(const Config& config, std::size_t budget) {
  publish(config);
  for (unsigned id = 0; id < shards(); ++id) adopt(id);
  return sweep(budget);
}

void Lab::drop_predecessors() {
  if (total(&Counters::displaced) != 0) return;
  auto next = std::make_unique<Generation>(*generations_.back());
  ++next->number;
  next->maps.resize(1);
  for (Group& group : next->groups) group.shortened = {};
  configs_.push_back(config_);
  generations_.push_back(std::move(next));
  for (unsigned id = 0; id < shards(); ++id) {
    addresses_[id].push_back(stores_[id].prepare(*generations_.back(), static_cast<ShardId>(id)));
    adopt(id);
  }
  sweep();
}

// ── tables ──────────────────────────────────────────────────────────────────────────────────────

std::vector<SessionRow> Lab::sessions(const SessionFilter& filter, std::uint32_t limit,
                                      std::size_t budget) {
  std::vector<SessionRow> rows;
  for (const auto& shard : shards_) {
    SessionPage page;
    page.filter = filter;
    page.limit = limit;
    while (!page.finished) {
      page.rows.clear();
      page.rows.reserve(limit);
      while (!page.finished && page.rows.size() < limit) list_sessions(*shard, page, budget);
      rows.insert(rows.end(), page.rows.begin(), page.rows.end());
    }
  }
  return rows;
}

std::vector<StateRecord> Lab::state(std::uint32_t limit, std::size_t budget) {
  std::vector<StateRecord> rows;
  for (const auto& shard : shards_) {
    StatePage page;
    page.limit = limit;
    while (!page.finished) {
      page.rows.clear();
      page.rows.reserve(limit);
      while (!page.finished && page.rows.size() < limit) list_state(*shard, page, budget);
      rows.insert(rows.end(), page.rows.begin(), page.rows.end());
    }
  }
  return rows;
}

std::uint64_t Lab::restore(const std::vector<StateRecord>& records) {
  if (auto map = map_of_restored(generation(), records)) {
    publish(config_);
    generations_.back()->maps.push_back(std::move(map));
    for (unsigned id = 0; id < shards(); ++id) adopt(id);
  }
  std::uint64_t restored = 0;
  for (const auto& shard : shards_) {
    for (const StateRecord& record : records) restored += restore_state(*shard, record) ? 1 : 0;
    finish_restoring(*shard);
  }
  sweep();
  return restored;
}

std::uint64_t Lab::flush(const SessionFilter& filter, std::size_t budget) {
  std::uint64_t flushed = 0;
  for (const auto& shard : shards_) {
    SessionFlush flush;
    flush.filter = filter;
    while (!flush.finished) flush_sessions(*shard, flush, budget);
    flushed += flush.flushed;
  }
  return flushed;
}

std::uint64_t Lab::drops(DropReason reason) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->counters.dropped(reason);
  return sum;
}

std::uint64_t Lab::session_count(Protocol protocol) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->counters.of(protocol).sessions.get();
  return sum;
}

std::uint64_t Lab::mapping_count(Protocol protocol) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->counters.of(protocol).mappings.get();
  return sum;
}

std::uint64_t Lab::subscribers() {
  return total(&Counters::subscribers);
}

void Lab::take_buffers(unsigned leave) {
  while (rte_mbuf* mbuf = rte_pktmbuf_alloc(packet_buffers)) hoard_.push_back(mbuf);
  for (; leave != 0 && !hoard_.empty(); --leave) {
    rte_pktmbuf_free(hoard_.back());
    hoard_.pop_back();
  }
}

void Lab::give_buffers() {
  for (rte_mbuf* mbuf : hoard_) rte_pktmbuf_free(mbuf);
  hoard_.clear();
}

}  // namespace lsn::test
