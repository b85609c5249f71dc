#include "link_tunnels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

namespace lsn::bench {
namespace {

constexpr std::uint16_t kIkePort = 500;
constexpr std::size_t kIke = kL4 + 8, kIkeHeader = 28;  // RFC 7296 section 3.1
constexpr std::uint16_t kIkeFrame = kIke + kIkeHeader;
constexpr std::uint32_t kInitiator = 0x1C0FFEE1,
                        kResponder = 0x5E54E400;  // upper halves of the SPIs
/// Tunnels that come up at a time, and when a step is repeated.
constexpr std::uint32_t kWindow = 512;
constexpr double kRepeat = 0.005;
constexpr double kGiveUp = 10;

}  // namespace

void Tunnels::write(std::uint8_t* frame, std::uint32_t n, const Step& step) const {
  const Flow flow = flow_of(n);
  if (step.exchange == 0) {
    const bool out = step.from == kInside;
    const FrameMaker maker = link_.maker(Kind::kEsp, step.from, out ? kEspOutbound : kEspInbound);
    if (out)
      maker.write(frame, flow.inside, flow.remote, n);
    else
      maker.write(frame, flow.remote, tunnels_[n].nat, n);
    put32(frame + kL4 + 4, 1);  // a new SA's first packet
    return;
  }
  const Endpoint client = {flow.inside.ip, kIkePort}, server = {flow.remote.ip, kIkePort};
  const Endpoint& from = step.from == kInside ? client : server;
  const Endpoint& to = step.from == kInside ? server : tunnels_[n].nat;
  std::memset(frame, 0, kIkeFrame);
  std::memcpy(frame, link_.box_mac(step.from).data(), 6);
  std::memcpy(frame + 6, Link::host_mac(step.from).data(), 6);
  put16(frame + 12, 0x0800);
  frame[kIp] = 0x45;
  put16(frame + kIp + 2, kIkeFrame - kIp);
  frame[kIpTtl] = kSentTtl;
  frame[kIpProtocol] = 17;
  put32(frame + kIpSource, from.ip);
  put32(frame + kIpDestination, to.ip);
  put16(frame + kIpChecksum, static_cast<std::uint16_t>(~folded(sum16(frame + kIp, 20))));
  put16(frame + kL4, from.port);
  put16(frame + kL4 + 2, to.port);
  put16(frame + kL4 + 4, kIkeFrame - kL4);
  std::uint8_t* ike = frame + kIke;
  put32(ike, kInitiator);
  put32(ike + 4, n);
  if (step.exchange != 34 || step.is_response) {
    put32(ike + 8, kResponder);
    put32(ike + 12, n);
  }
  ike[17] = 0x20;  // version 2.0
  ike[18] = step.exchange;
  ike[19] = step.is_response ? 0x20 : 0x08;  // flags: response, initiator
  put32(ike + 20, step.exchange == 34 ? 0 : 1);
  put32(ike + 24, kIkeHeader);
  const std::uint32_t sum =
      sum16(frame + kL4, kIkeFrame - kL4) + sum16(frame + kIpSource, 8) + 17 + (kIkeFrame - kL4);
  put16(frame + kL4 + 6, static_cast<std::uint16_t>(~folded(sum)));
}

void Tunnels::take(Side side, const std::uint8_t* frame, std::uint32_t size) {
  if (get16(frame + 12) != 0x0800) return;
  Step seen{other(side), 0, false};
  std::uint32_t n = 0;
  if (frame[kIpProtocol] == protocol_of(Kind::kEsp)) {
    n = number_of(frame, Kind::kEsp);
  } else if (frame[kIpProtocol] == 17 && size == kIkeFrame && get32(frame + kIke) == kInitiator) {
    n = get32(frame + kIke + 4);
    seen.exchange = frame[kIke + 18];
    seen.is_response = (frame[kIke + 19] & 0x20) != 0;
  } else {
    return;
  }
  if (n >= tunnels_.size()) return;
  Tunnel& tunnel = tunnels_[n];
  if (tunnel.arrived == kSteps.size()) return;
  const Step& due = kSteps[tunnel.arrived];
  if (seen.from != due.from || seen.exchange != due.exchange || seen.is_response != due.is_response)
    return;  // a repetition that was not needed
  // Inside everything must be the client's own; outside its NAT address stays the same.
  const Flow flow = flow_of(n);
  const Endpoint source =
      seen.exchange == 0 ? Endpoint{get32(frame + kIpSource), 0} : source_of(frame, Kind::kUdp);
  std::string fault;
  if (side == kInside) {
    if (get32(frame + kIpDestination) != flow.inside.ip)
      fault = "another client's";
    else if (seen.exchange != 0 && get16(frame + kL4 + 2) != kIkePort)
      fault = "another port";
  } else if (tunnel.arrived == 0) {
    tunnel.nat = source;
  } else if (source.ip != tunnel.nat.ip || (seen.exchange != 0 && source.port != tunnel.nat.port)) {
    fault = "another NAT endpoint";
  }
  if (!fault.empty() && faults_++ == 0)
    first_fault_ = fmt::format("tunnel {}, step {}: {}", n, tunnel.arrived, fault);
  if (++tunnel.arrived == kSteps.size()) {
    esp_.learn(n, {tunnel.nat.ip, 0});
    ++up_;
  } else {
    ready_.push_back(n);
  }
}

nlohmann::json Tunnels::open(std::uint32_t first, std::uint32_t last) {
  struct Sent {
    std::uint32_t number;
    std::uint8_t step;
    std::uint64_t at;
  };
  if (tunnels_.size() < last) tunnels_.resize(last);
  link_.drain();
  up_ = 0;
  std::deque<Sent> sent;
  std::vector<std::uint32_t> batch[2];
  Pending pending[2];
  std::uint32_t next = first;
  std::uint64_t repeated = 0;
  const std::uint64_t begin = rte_rdtsc(), patience = clocks_of(kRepeat);
  std::uint64_t progress = begin;
  const auto taken = [&](Side side, const std::uint8_t* frame, std::uint32_t size) {
    take(side, frame, size);
  };
  while (up_ < last - first) {
    const std::uint64_t now = rte_rdtsc();
    for (; next < last && next - first - up_ < kWindow; ++next) ready_.push_back(next);
    for (; !sent.empty() && (tunnels_[sent.front().number].arrived != sent.front().step ||
                             now - sent.front().at > patience);
         sent.pop_front())
      if (tunnels_[sent.front().number].arrived == sent.front().step) {
        ready_.push_back(sent.front().number);
        ++repeated;
      }
    for (const std::uint32_t n : ready_) batch[kSteps[tunnels_[n].arrived].from].push_back(n);
    ready_.clear();
    for (const Side side : {kInside, kOutside}) {
      std::vector<std::uint32_t>& waiting = batch[side];
      if (pending[side].empty() && !waiting.empty()) {
        // One size at a time: packets behind the first of the other size wait.
        const auto size_of = [&](std::uint32_t n) {
          return kSteps[tunnels_[n].arrived].exchange == 0 ? std::uint16_t{kFrameSize} : kIkeFrame;
        };
        const std::uint16_t size = size_of(waiting.front());
        const auto end = std::stable_partition(waiting.begin(), waiting.end(),
                                               [&](std::uint32_t n) { return size_of(n) == size; });
        const auto count =
            static_cast<unsigned>(std::min<std::ptrdiff_t>(kBurst, end - waiting.begin()));
        link_.prepare(
            pending[side], count,
            [&](std::uint8_t* frame, unsigned i) {
              const std::uint32_t n = waiting[i];
              write(frame, n, kSteps[tunnels_[n].arrived]);
              sent.push_back({n, tunnels_[n].arrived, now});
            },
            size);
        waiting.erase(waiting.begin(), waiting.begin() + count);
      }
      link_.flush(side, pending[side]);
    }
    const std::uint32_t before = up_;
    link_.receive(taken);
    if (up_ != before)
      progress = rte_rdtsc();
    else if (rte_rdtsc() - progress > clocks_of(kGiveUp))
      break;
  }
  const double seconds = seconds_of(rte_rdtsc() - begin);
  for (Pending& p : pending) Link::discard(p);
  link_.run_until_idle(taken);
  ready_.clear();
  return {{"opened", up_},
          {"seconds", seconds},
          {"mps", up_ / seconds / 1e6},
          {"repeated", repeated},
          {"missing", last - first - up_},
          {"faults", faults_},
          {"first_fault", first_fault_}};
}

}  // namespace lsn::bench
