#include "link_flows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <thread>

#include "results.hpp"

namespace lsn::bench {
namespace {

/// One in so many of the packets that come back is checked byte for byte.
constexpr unsigned kCheckEvery = 64;
/// New flows that are unanswered at a time, and when one is sent again: more than a box can refuse
/// within that time, so that they do not keep it waiting.
constexpr std::uint32_t kWindow = 8192;
constexpr double kAskAgain = 0.005;
/// At a link with a window, a packet that is under way for so long counts as lost.
constexpr double kLost = 0.01;
/// After so long without any answer the box has failed.
constexpr double kGiveUp = 3;
/// The nap of a generator that sleeps: it wakes up some 50 us late.
constexpr std::chrono::microseconds kNap{50};
constexpr std::uint32_t kPoolFirst = 0xCB007100, kPoolLast = 0xCB0074FF;  // 203.0.113.0 on

}  // namespace

void Flows::make_frames() {
  const bool esp = kind_ == Kind::kEsp;
  for (const Side side : {kInside, kOutside}) {
    const std::uint8_t detail = !esp ? 0 : side == kInside ? kEspOutbound : kEspInbound;
    makers_[side].clear();
    for (const std::uint16_t size : {kImix[0], kImix[1], kImix.back()})
      makers_[side].push_back(link_.maker(kind_, side, detail, size));
  }
}

void Flows::learn(std::uint32_t number, const Endpoint& endpoint) {
  if (nat_.size() <= number) nat_.resize(number + 1);
  nat_[number] = endpoint;
}

void Flows::need(std::uint32_t flows) const {
  if (link_.translates() && nat_.size() < flows) throw std::runtime_error("open these flows first");
}

void Flows::write_outbound(std::uint8_t* frame, std::uint32_t n) const {
  const Flow flow = flow_of(n);
  maker_of(kInside, n).write(frame, flow.inside, flow.remote, n);
}

void Flows::write_inbound(std::uint8_t* frame, std::uint32_t n) const {
  const Flow flow = flow_of(n);
  maker_of(kOutside, n).write(frame, flow.remote, link_.translates() ? nat_[n] : flow.inside, n);
}

void Flows::prepare(Pending& pending, Side side, std::uint32_t flows, Flood* flood) {
  std::uint32_t numbers[kBurst];
  for (std::uint32_t& n : numbers) {
    n = sequence_.below(flows);
    if (side == kOutside && link_.translates()) __builtin_prefetch(&nat_[n]);
  }
  link_.prepare_each(
      pending, kBurst,
      [&](std::uint8_t* frame, unsigned i) {
        if (flood != nullptr && i % 2 != 0)
          flood->write(frame);
        else if (side == kInside)
          write_outbound(frame, numbers[i]);
        else
          write_inbound(frame, numbers[i]);
      },
      [&](unsigned i) { return size_of(numbers[i]); });
}

void Flows::take(Side side, const std::uint8_t* frame, std::uint32_t size, Tally& tally) {
  if (!is_ours(frame)) [[unlikely]] {
    ++tally.strange;
    return;
  }
  ++tally.received;
  if (++until_check_ % kCheckEvery == 0) check(side, frame, size, tally);
}

void Flows::check(Side side, const std::uint8_t* frame, std::uint32_t size, Tally& tally) const {
  ++tally.checked;
  const std::uint32_t n = number_of(frame, kind_);
  Flow flow = flow_of(n);
  if (kind_ == Kind::kEsp) flow.inside.port = flow.remote.port = 0;
  Expected expected;
  expected.kind = kind_;
  expected.number = n;
  expected.size = size_of(n);
  Endpoint ours = flow.inside;
  std::string fault;
  if (!link_.translates()) {
    // A forwarder may exchange the MAC addresses; all the rest is as it was sent.
    std::memcpy(expected.to.data(), frame, 6);
    std::memcpy(expected.from.data(), frame + 6, 6);
    expected.ttl = kSentTtl;
  } else {
    expected.to = Link::host_mac(side);
    expected.from = link_.box_mac(side);
    if (n >= nat_.size() || nat_[n].ip < kPoolFirst || nat_[n].ip > kPoolLast)
      fault = "flow";
    else if (side == kOutside)
      ours = nat_[n];
  }
  if (fault.empty()) {
    expected.source = side == kOutside ? ours : flow.remote;
    expected.destination = side == kOutside ? flow.remote : ours;
    fault = check_frame(frame, size, expected);
  }
  if (fault.empty()) return;
  if (tally.faults++ == 0)
    tally.first_fault =
        fmt::format("flow {}, {}: {}", n, side == kOutside ? "outbound" : "inbound", fault);
}

nlohmann::json Flows::open(std::uint32_t first, std::uint32_t last, std::uint32_t established,
                           double per_new, double rate) {
  struct Asked {
    std::uint32_t number;
    std::uint64_t at;
  };
  if (per_new > 0) need(established);
  if (nat_.size() < last) nat_.resize(last);
  link_.drain();
  Tally tally;
  std::deque<Asked> asked;
  std::vector<std::uint32_t> again;
  std::uint32_t next = first, open = 0;  // open: answered
  const auto window = link_.window() == 0 ? kWindow : static_cast<std::uint32_t>(link_.window());
  std::uint64_t old_received = 0, asked_again = 0, sent = 0;
  const auto taken = [&](Side side, const std::uint8_t* frame, std::uint32_t size) {
    if (is_ours(frame) && side == kOutside) {
      const std::uint32_t n = number_of(frame, kind_);
      if (n >= first && n < last) {
        if (nat_[n].ip == 0) {
          nat_[n] = source_of(frame, kind_);
          ++open;
        }
      } else {
        ++old_received;
      }
    }
    take(side, frame, size, tally);
  };

  const std::uint64_t begin = rte_rdtsc(), patience = clocks_of(kAskAgain);
  std::uint64_t answered_at = begin;
  Pending pending;
  double due = 0;  // bursts of established traffic
  while (open < last - first && link_.translates()) {
    const std::uint64_t now = rte_rdtsc();
    while (!asked.empty() &&
           (nat_[asked.front().number].ip != 0 || now - asked.front().at > patience)) {
      if (nat_[asked.front().number].ip == 0) again.push_back(asked.front().number);
      asked.pop_front();
    }
    if (pending.empty() && due >= 1) {
      prepare(pending, kInside, established, nullptr);
      due -= 1;
    } else if (pending.empty()) {
      std::uint32_t numbers[kBurst];
      unsigned count = 0;
      for (; count < kBurst && !again.empty(); ++asked_again) {
        numbers[count++] = again.back();
        again.pop_back();
      }
      const std::uint32_t unanswered = next - first - open;
      // Paced: those that are due by now.
      const std::uint32_t until = rate == 0 ? last
                                            : static_cast<std::uint32_t>(std::min<double>(
                                                  last, first + seconds_of(now - begin) * rate));
      for (; count < kBurst && next < until && unanswered + count < window; ++count)
        numbers[count] = next++;
      if (count != 0)
        link_.prepare(pending, count, [&](std::uint8_t* frame, unsigned i) {
          write_outbound(frame, numbers[i]);
          asked.push_back({numbers[i], now});
        });
      sent += count;
      due += per_new * count / kBurst;
    }
    link_.flush(kInside, pending);
    const std::uint32_t before = open;
    link_.receive(taken);
    if (open != before)
      answered_at = rte_rdtsc();
    else if (rte_rdtsc() - answered_at > clocks_of(kGiveUp))
      break;
  }
  Link::discard(pending);
  const double seconds = seconds_of(answered_at - begin);
  link_.run_until_idle(taken);
  const std::uint32_t missing = link_.translates() ? last - first - open : 0;
  if (missing == 0) answer(first, last);
  return {
      {"opened", open},
      {"seconds", seconds},
      {"mps", open / seconds / 1e6},
      {"established_mpps", static_cast<double>(old_received) / seconds / 1e6},
      {"asked_again", sent == 0 ? 0 : static_cast<double>(asked_again) / static_cast<double>(sent)},
      {"missing", missing},
      {"checked", tally.checked},
      {"faults", tally.faults},
      {"first_fault", tally.first_fault}};
}

/// One packet back for each flow, after which the box knows all about it.
void Flows::answer(std::uint32_t first, std::uint32_t last) {
  Tally tally;
  const auto taken = [&](Side side, const std::uint8_t* frame, std::uint32_t size) {
    take(side, frame, size, tally);
  };
  Pending pending;
  for (std::uint32_t next = first; next < last;) {
    const unsigned n = std::min(kBurst, last - next);
    link_.prepare(pending, n,
                  [&](std::uint8_t* frame, unsigned i) { write_inbound(frame, next + i); });
    next += n;
    while (!pending.empty()) {
      link_.flush(kOutside, pending);
      link_.receive(taken);
    }
  }
  link_.drain();
}

nlohmann::json Flows::run(const std::string& direction, std::uint32_t flows, double seconds,
                          Flood* flood) {
  const bool wanted[] = {direction != "inbound", direction != "outbound"};
  need(flows);
  link_.drain();
  Tally tally;
  const auto taken = [&](Side side, const std::uint8_t* frame, std::uint32_t size) {
    take(side, frame, size, tally);
  };
  Pending pending[2];
  std::uint64_t turns = 0, full = 0, sent = 0, flooded = 0;
  const std::uint64_t window = link_.window();
  std::uint64_t lost = 0, last_received = 0, progress = rte_rdtsc();
  // A tenth of the time to fill all queues and warm all caches.
  const std::uint64_t warm = rte_rdtsc() + clocks_of(seconds / 10);
  std::uint64_t begin = 0, received_before = 0, flooded_before = 0;
  std::uint64_t now = rte_rdtsc();
  const std::uint64_t end = now + clocks_of(seconds * 1.1);
  for (; now < end; now = rte_rdtsc()) {
    if (begin == 0 && now >= warm) {
      begin = now;
      received_before = tally.received;
      flooded_before = flooded;
      turns = full = 0;
    }
    for (int i = 0; i < 8; ++i) {
      ++turns;
      bool waited = false;
      for (const Side side : {kInside, kOutside}) {
        if (!wanted[side]) continue;
        if (window != 0 && sent - lost - tally.received >= window) {
          waited = true;
          continue;
        }
        Flood* mixed = flood != nullptr && flood->side == side ? flood : nullptr;
        if (pending[side].empty()) prepare(pending[side], side, flows, mixed);
        const unsigned from = pending[side].begin;
        const unsigned n = link_.flush(side, pending[side]);
        // Odd ones of a burst are the flood's.
        const unsigned floods = mixed == nullptr ? 0 : (from + n) / 2 - from / 2;
        flooded += floods;
        sent += n - floods;
        waited |= !pending[side].empty();
      }
      full += waited ? 1 : 0;
      link_.receive(taken);
    }
    if (window == 0) continue;
    if (tally.received != last_received) {
      last_received = tally.received;
      progress = now;
    } else if (now - progress > clocks_of(kLost)) {
      lost = sent - tally.received;
    }
  }
  const std::uint64_t packets = tally.received - received_before;
  const std::uint64_t flood_packets = flooded - flooded_before;
  const double time = seconds_of(now - begin);
  for (Pending& p : pending) Link::discard(p);
  link_.run_until_idle(taken);
  const double lost_share = 1 - static_cast<double>(tally.received) / static_cast<double>(sent);
  const double rate = static_cast<double>(packets) / time;
  return {{"received", packets},
          {"seconds", time},
          {"mpps", rate / 1e6},
          {"clocks", packets == 0 ? 0 : static_cast<double>(rte_get_tsc_hz()) / rate},
          {"flood_mpps", static_cast<double>(flood_packets) / time / 1e6},
          {"flood_sent", flooded},
          {"ring_full", static_cast<double>(full) / static_cast<double>(turns)},
          {"lost", lost_share},
          {"checked", tally.checked},
          {"faults", tally.faults},
          {"strange", tally.strange},
          {"first_fault", tally.first_fault}};
}

nlohmann::json Flows::latency(std::uint32_t flows, double gap, double seconds, bool sleeps) {
  need(flows);
  link_.drain();
  Tally tally;
  std::vector<std::uint64_t> sent_at(flows);
  std::vector<double> times;  // µs
  const auto taken = [&](Side side, const std::uint8_t* frame, std::uint32_t size) {
    take(side, frame, size, tally);
    const std::uint32_t n = is_ours(frame) ? number_of(frame, kind_) : flows;
    if (side != kOutside || n >= flows || sent_at[n] == 0) return;
    times.push_back(seconds_of(rte_rdtsc() - sent_at[n]) * 1e6);
    sent_at[n] = 0;
  };
  std::uint64_t sent = 0;
  const std::uint64_t begin = rte_rdtsc(), end = begin + clocks_of(seconds);
  const std::uint64_t nap = clocks_of(1e-6 * static_cast<double>(kNap.count()));
  std::uint64_t latest = begin;
  // Exponential gaps: a box cannot fall into step with them.
  const auto until_next = [&] {
    return clocks_of(-gap * std::log((sequence_.below(1U << 24) + 1) / double{1U << 24}));
  };
  Pending pending;
  for (std::uint64_t due = begin, now = begin; now < end; now = rte_rdtsc()) {
    if (now >= due) {
      const auto n = static_cast<std::uint32_t>(sent++ % flows);
      link_.prepare(pending, 1, [&](std::uint8_t* frame, unsigned) { write_outbound(frame, n); });
      due += until_next();
      latest = sent_at[n] = rte_rdtsc();
      while (!pending.empty()) link_.flush(kInside, pending);
    }
    link_.receive(taken);
    const std::uint64_t later = rte_rdtsc();
    const bool waits = times.size() != sent && later < latest + clocks_of(kLost);
    if (sleeps && !waits && due > later + 2 * nap) std::this_thread::sleep_for(kNap);
  }
  link_.run_until_idle(taken);
  if (times.empty()) throw std::runtime_error("nothing came back");
  std::sort(times.begin(), times.end());
  nlohmann::json all = nlohmann::json::array();
  if (sleeps) all = times;
  return {{"sent", sent},
          {"received", times.size()},
          {"times", std::move(all)},
          {"p50", percentile(times, 0.5)},
          {"p99", percentile(times, 0.99)},
          {"p999", percentile(times, 0.999)},
          {"max", times.back()},
          {"checked", tally.checked},
          {"faults", tally.faults},
          {"first_fault", tally.first_fault}};
}

}  // namespace lsn::bench
