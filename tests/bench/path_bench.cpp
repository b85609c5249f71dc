// The cost of the packet path on one core, without a device: clocks per packet and per stage, new
// sessions, expiry, memory.
//
//   bench_path                        all tables, 1 to 1 M sessions
//   bench_path --sessions 1000 --only established
//   bench_path --pages small          without huge pages
//
// 64-byte packets in bursts of 32, each of a random flow. A burst is written into buffers that go
// round, as a driver would, and only its processing is timed, from process_received() to full
// transmit buffers. Before anything is measured a sample of flows is checked byte for byte: a fast
// wrong answer is none.
#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <stdexcept>

#include "environment.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/datapath/parse.hpp"
#include "lsn/datapath/pipeline.hpp"
#include "results.hpp"
#include "workshop.hpp"

namespace lsn::bench {
namespace {

using namespace datapath;

constexpr unsigned kBurst = Workshop::kBurst;

struct Options {
  std::vector<std::uint32_t> sessions = {1, 1'000, 64'000, 1'000'000};
  std::string pages = "large";
  std::vector<std::string> only;
  std::vector<std::string> traffic;
  unsigned runs = 5;
  unsigned batches = 200;
  unsigned cpu = 0;
  std::string json;

  [[nodiscard]] bool wants(const std::string& table) const {
    return only.empty() || std::find(only.begin(), only.end(), table) != only.end();
  }
  [[nodiscard]] bool wants_traffic(const std::string& name) const {
    return traffic.empty() || std::find(traffic.begin(), traffic.end(), name) != traffic.end();
  }
  [[nodiscard]] state::Pages page_kind() const {
    return pages == "small" ? state::Pages::kSmall : state::Pages::kLarge;
  }
};

constexpr unsigned kBurstsPerBatch = 64;

std::string millions(double clocks_each) {
  return fmt::format("{:.2f}", static_cast<double>(rte_get_tsc_hz()) / clocks_each / 1e6);
}

// ── established traffic ─────────────────────────────────────────────────────────────────────────

enum class Traffic : std::uint8_t { kOutbound, kInbound, kBoth, kUnknown, kSpoofed };

void write_burst(Workshop& shop, Traffic traffic, unsigned turn, Sequence& sequence) {
  if (traffic == Traffic::kUnknown)
    shop.burst_unknown(sequence);
  else if (traffic == Traffic::kSpoofed)
    shop.burst_spoofed(sequence, shop.flows());
  else if (traffic == Traffic::kInbound || (traffic == Traffic::kBoth && turn % 2 != 0))
    shop.burst_inbound(sequence, shop.flows());
  else
    shop.burst_outbound(sequence, shop.flows());
}

/// One run: the median batch, in clocks per packet.
double run_established(Workshop& shop, Traffic traffic, Sequence& sequence, unsigned batches) {
  std::vector<double> results;
  const std::uint64_t before = shop.sent();
  std::uint64_t packets = 0;
  for (unsigned batch = 0; batch < batches; ++batch) {
    std::uint64_t sum = 0;
    for (unsigned b = 0; b < kBurstsPerBatch; ++b) {
      write_burst(shop, traffic, b, sequence);
      sum += shop.run();
    }
    packets += kBurstsPerBatch * kBurst;
    results.push_back(static_cast<double>(sum) / (kBurstsPerBatch * kBurst));
  }
  const bool refused = traffic == Traffic::kUnknown || traffic == Traffic::kSpoofed;
  if (shop.sent() - before != (refused ? 0 : packets))
    throw std::runtime_error("packets were lost, or let through, while they were measured");
  return median(std::move(results));
}

// ── stages ──────────────────────────────────────────────────────────────────────────────────────

enum Stage : std::uint8_t { kParse, kFind, kTranslate, kSend, kStages };

/// A burst through the stages of pipeline.cpp, one after the other, each between two readings of
/// the clock. Translation includes sending; sending alone is measured once more on the result.
void run_staged(Workshop& shop, Traffic traffic, std::array<std::uint64_t, kStages>& sums) {
  Shard& shard = shop.shard();
  std::array<Packet, kBurst> packets;
  std::array<state::FlowKey, kBurst> keys;
  std::array<std::uint32_t, kBurst> hashes;
  std::array<lsn44::SessionId, kBurst> ids;
  const auto mbufs = shop.packets();
  const bool out = traffic == Traffic::kOutbound;
  const state::FlowTable& table = out ? shard.lsn44.outbound : shard.lsn44.inbound;

  shop.settle_memory();
  const std::uint64_t begin = rte_rdtsc();
  for (unsigned i = 0; i < kBurst; ++i) {
    if (i + 4 < kBurst) rte_prefetch0(rte_pktmbuf_mtod(mbufs[i + 4], void*));
    std::uint64_t mark = 0;
    if (!parse_frame(shard, shop.device(), mbufs[i], packets[i], mark).is_next() ||
        !parse_ip(packets[i], mark, 0).is_next())
      throw std::runtime_error("a packet was not understood");
    keys[i] = packets[i].key;
    hashes[i] = packets[i].hash = shard.lsn44.outbound.hash(keys[i]);
  }
  const std::uint64_t parsed = rte_rdtsc();
  for (const std::uint32_t hash : hashes) table.prefetch(hash);
  table.find_bulk(keys.data(), hashes.data(), kBurst, ids.data());
  for (unsigned i = 0; i < kBurst; ++i)
    if (ids[i] != state::kNone) shard.lsn44.sessions.prefetch(ids[i]);
  const std::uint64_t found = rte_rdtsc();
  for (unsigned i = 0; i < kBurst; ++i) {
    const Verdict verdict = out ? lsn44::forward<Direction::kOutbound>(shard, packets[i], ids[i])
                                : lsn44::forward<Direction::kInbound>(shard, packets[i], ids[i]);
    if (!verdict.is_next()) throw std::runtime_error("a packet was not forwarded");
  }
  const std::uint64_t translated = rte_rdtsc();

  // The same once more without translation: into buffers that are emptied for it.
  const std::size_t d = out ? 0 : 1;
  Neighbour* next[kBurst];
  for (unsigned i = 0; i < kBurst; ++i)
    next[i] = &shard.neighbours[shard.lsn44.sessions[ids[i]].hop[d]];
  TxBuffer& tx = shard.tx[out ? Workshop::kOutside : Workshop::kInside];
  tx.count = 0;
  const std::uint64_t again = rte_rdtsc();
  for (unsigned i = 0; i < kBurst; ++i)
    send_fast(shard, packets[i].mbuf, packets[i].ip, packets[i].size, *next[i]);
  const std::uint64_t sent = rte_rdtsc();
  shop.finish();

  sums[kParse] += parsed - begin;
  sums[kFind] += found - parsed;
  sums[kTranslate] += translated - found;
  sums[kSend] += sent - again;
}

std::array<double, kStages> run_stages(Workshop& shop, Traffic traffic, Sequence& sequence,
                                       unsigned batches) {
  std::array<std::vector<double>, kStages> results;
  for (unsigned batch = 0; batch < batches; ++batch) {
    std::array<std::uint64_t, kStages> sums{};
    for (unsigned b = 0; b < kBurstsPerBatch; ++b) {
      write_burst(shop, traffic, b, sequence);
      run_staged(shop, traffic, sums);
    }
    for (std::size_t s = 0; s < kStages; ++s)
      results[s].push_back(static_cast<double>(sums[s]) / (kBurstsPerBatch * kBurst));
  }
  std::array<double, kStages> medians;
  for (std::size_t s = 0; s < kStages; ++s) medians[s] = median(std::move(results[s]));
  medians[kTranslate] -= medians[kSend];
  return medians;
}

// ── the tables of established traffic ───────────────────────────────────────────────────────────

struct Case {
  const char* name;
  Kind kind;
  AppPolicy policy;
  bool cold_frames = false;
  std::uint32_t block_size = 0;
};

const Case kCases[] = {
    {"UDP", Kind::kUdp, {}},
    {"TCP", Kind::kTcp, {}},
    {"ICMP query", Kind::kIcmp, {}},
    {"UDP, endpoint-independent",
     Kind::kUdp,
     {Pooling::kRandom, Dependence::kEndpointIndependent, Dependence::kEndpointIndependent}},
    {"UDP, frames not in the cache", Kind::kUdp, {}, true},
    {"UDP, port blocks", Kind::kUdp, {}, false, 256},
    {"ESP", Kind::kEsp, {Pooling::kPaired, Dependence::kAddressPort, Dependence::kAddressPort}},
};

struct Patterns {
  Traffic traffic;
  const char* name;
};
constexpr Patterns kPatterns[] = {{Traffic::kOutbound, "outbound"},
                                  {Traffic::kInbound, "inbound"},
                                  {Traffic::kBoth, "both"},
                                  {Traffic::kUnknown, "to no session"},
                                  {Traffic::kSpoofed, "unknown SPI of a known server"}};

std::unique_ptr<Workshop> filled_workshop(const Options& options, const Case& what,
                                          std::uint32_t flows, rte_mempool* buffers) {
  auto shop = std::make_unique<Workshop>(WorkshopConfig{.max_sessions = capacity_for(flows),
                                                        .flows = flows,
                                                        .pages = options.page_kind(),
                                                        .policy = what.policy,
                                                        .kind = what.kind,
                                                        .cold_frames = what.cold_frames,
                                                        .block_size = what.block_size,
                                                        .buffers = buffers});
  static_cast<void>(shop->open(0, flows));
  shop->verify(std::min<std::uint32_t>(flows, 4096));
  return shop;
}

void established_and_stages(const Options& options, rte_mempool* buffers, Report& report) {
  Table established("Established traffic, clocks per packet: median of " +
                        std::to_string(options.runs) + " runs (lowest-highest); " + options.pages +
                        " pages",
                    {"traffic", "sessions", "outbound", "inbound", "both", "to no session",
                     "unknown SPI of a known server"});
  Table stages("Stages, clocks per packet (UDP); " + options.pages + " pages",
               {"direction", "sessions", "parse, hash", "find", "translate", "send",
                "find + translate", "whole path"});
  for (const Case& what : kCases) {
    if (!options.wants_traffic(what.name)) continue;
    for (const std::uint32_t flows : options.sessions) {
      const auto shop = filled_workshop(options, what, flows, buffers);
      Sequence sequence;
      std::map<Traffic, Runs> results;
      std::map<Traffic, std::array<Runs, kStages>> by_stage;
      const bool staged = &what == &kCases[0] && options.wants("stages");
      // Endpoint-independent filtering lets unsolicited hosts in: they would create sessions.
      const auto applies = [&what](Traffic traffic) {
        if (traffic == Traffic::kSpoofed) return what.kind == Kind::kEsp;
        return traffic != Traffic::kUnknown ||
               what.policy.filtering != Dependence::kEndpointIndependent;
      };
      for (const Patterns& p : kPatterns)  // warm
        if (applies(p.traffic))
          run_established(*shop, p.traffic, sequence, std::max(1U, options.batches / 10));
      for (unsigned run = 0; run < options.runs; ++run) {
        for (const Patterns& p : kPatterns)
          if (applies(p.traffic))
            results[p.traffic].add(run_established(*shop, p.traffic, sequence, options.batches));
        if (!staged) continue;
        for (const Traffic traffic : {Traffic::kOutbound, Traffic::kInbound}) {
          const auto medians = run_stages(*shop, traffic, sequence, options.batches);
          for (std::size_t s = 0; s < kStages; ++s) by_stage[traffic][s].add(medians[s]);
        }
      }
      std::vector<std::string> row = {what.name, count_text(flows)};
      for (const Patterns& p : kPatterns) {
        row.push_back(applies(p.traffic) ? clocks(results[p.traffic]) : "-");
        if (applies(p.traffic))
          report.add("established",
                     {{"traffic", what.name},
                      {"sessions", flows},
                      {"direction", p.name},
                      {"pages", options.pages}},
                     "clocks per packet", results[p.traffic]);
      }
      established.row(std::move(row));
      if (!staged) continue;
      for (const Traffic traffic : {Traffic::kOutbound, Traffic::kInbound}) {
        const char* direction = kPatterns[static_cast<std::size_t>(traffic)].name;
        const auto& runs = by_stage[traffic];
        std::vector<std::string> cells = {direction, count_text(flows)};
        static constexpr const char* kNames[] = {"parse", "find", "translate", "send"};
        for (std::size_t s = 0; s < kStages; ++s) {
          cells.push_back(fmt::format("{:.0f}", runs[s].mid()));
          report.add("stages",
                     {{"stage", kNames[s]},
                      {"sessions", flows},
                      {"direction", direction},
                      {"pages", options.pages}},
                     "clocks per packet", runs[s]);
        }
        cells.push_back(fmt::format("{:.0f}", runs[kFind].mid() + runs[kTranslate].mid()));
        cells.push_back(fmt::format("{:.0f}", results[traffic].mid()));
        stages.row(std::move(cells));
      }
    }
  }
  fmt::print("{}", established.text());
  if (options.wants("stages")) fmt::print("{}", stages.text());
  std::fflush(stdout);
}

// ── sessions that come and go ───────────────────────────────────────────────────────────────────

/// Sessions per tick while the clock of a lifecycle run goes: a million per second.
constexpr std::uint32_t kPerTick = 10'000;
constexpr std::uint32_t kPerBatch = 2048;
constexpr std::size_t kHousekeepBudget = 32;  // the worker's

struct Lifecycle {
  Runs create;         ///< filling the table
  Runs create_beside;  ///< with four bursts of established traffic between two of new ones
  Runs established;    ///< that traffic, alone
  Runs established_beside;
  Runs create_steady;  ///< one created for one that expires
  Runs expire_steady;
  Runs expire_all;  ///< all at once
};

/// Clocks per new session while flows [first, last) come, one batch after the other.
double create(Workshop& shop, std::uint32_t first, std::uint32_t last) {
  std::vector<double> results;
  for (std::uint32_t n = first; n < last; n += kPerBatch) {
    const std::uint32_t end = std::min(n + kPerBatch, last);
    results.push_back(static_cast<double>(shop.open(n, end)) / (end - n));
    shop.take_records();
    if (n / kPerTick != end / kPerTick) shop.pass(state::TickDuration{1});
  }
  return median(std::move(results));
}

struct Beside {
  double create;
  double established;
};

Beside create_beside(Workshop& shop, std::uint32_t first, std::uint32_t last,
                     std::uint32_t established, Sequence& sequence) {
  std::vector<double> created, forwarded;
  for (std::uint32_t n = first; n + kPerBatch <= last; n += kPerBatch) {
    std::uint64_t new_clocks = 0, old_clocks = 0;
    for (std::uint32_t at = n; at < n + kPerBatch; at += kBurst) {
      new_clocks += shop.open_burst(at, kBurst);
      for (int i = 0; i < 4; ++i) {
        shop.burst_outbound(sequence, established);
        old_clocks += shop.run();
      }
    }
    created.push_back(static_cast<double>(new_clocks) / kPerBatch);
    forwarded.push_back(static_cast<double>(old_clocks) / (4 * kPerBatch));
    if (n / kPerTick != (n + kPerBatch) / kPerTick) shop.pass(state::TickDuration{1});
  }
  return {median(std::move(created)), median(std::move(forwarded))};
}

std::uint64_t housekeep_once(Workshop& shop) {
  const std::uint64_t begin = rte_rdtsc();
  housekeep(shop.shard(), kHousekeepBudget);
  return rte_rdtsc() - begin;
}

/// The table is full of `count` sessions as old as their numbers say. Tick by tick, until all of
/// them have ended; for each a new one comes. In all, not of the median tick: it includes the timer
/// wheel's work for many sessions at a time.
Beside churn(Workshop& shop, std::uint32_t count) {
  std::uint64_t new_clocks = 0, end_clocks = 0;
  std::uint32_t ended = 0, made = 0;
  while (ended < count) {
    shop.pass(state::TickDuration{1});
    while (shop.shard().lsn44.session_wheel.is_behind(shop.shard().now)) {
      const std::uint32_t before = shop.sessions();
      end_clocks += housekeep_once(shop);
      ended += before - shop.sessions();
      for (; made + kBurst <= ended; made += kBurst)
        new_clocks += shop.open_burst(count + made, kBurst);
    }
  }
  return {static_cast<double>(new_clocks) / made, static_cast<double>(end_clocks) / ended};
}

/// All are due: clocks per session until the table is empty.
double expire_all(Workshop& shop) {
  shop.pass(Workshop::kSessionTimeout + std::chrono::seconds{1});
  std::vector<double> results;
  while (shop.sessions() != 0) {
    const std::uint32_t before = shop.sessions();
    std::uint64_t sum = 0;
    while (before - shop.sessions() < kPerBatch && shop.sessions() != 0)
      sum += housekeep_once(shop);
    results.push_back(static_cast<double>(sum) / (before - shop.sessions()));
  }
  return median(std::move(results));
}

/// What records cost a new session: none, MAPPING, MAPPING and SESSION.
void logging(const Options& options, rte_mempool* buffers, Report& report) {
  using shared::LogFlags;
  struct Logged {
    const char* name;
    unsigned flags;
  };
  constexpr Logged kAll[] = {{"none", 0},
                             {"logging", LogFlags::kMappings | LogFlags::kDeletions},
                             {"logging, sessionLogging",
                              LogFlags::kMappings | LogFlags::kSessions | LogFlags::kDeletions}};
  Table table("New sessions with records, clocks per session; " + options.pages + " pages",
              {"records", "sessions", "new", "more"});
  for (const std::uint32_t flows : options.sessions) {
    if (flows < 64'000) continue;
    std::array<Runs, std::size(kAll)> all;
    // In turn, so that what else the machine does meets all alike.
    for (unsigned run = 0; run < options.runs; ++run)
      for (std::size_t i = 0; i < std::size(kAll); ++i) {
        Workshop shop({.max_sessions = capacity_for(flows),
                       .flows = flows,
                       .pages = options.page_kind(),
                       .logging = static_cast<std::uint8_t>(kAll[i].flags),
                       .buffers = buffers});
        all[i].add(create(shop, 0, flows));
      }
    for (std::size_t i = 0; i < std::size(kAll); ++i) {
      table.row({kAll[i].name, count_text(flows), clocks(all[i]),
                 fmt::format("{:+.1f} %", 100 * (all[i].mid() / all[0].mid() - 1))});
      report.add("logging",
                 {{"records", kAll[i].name}, {"sessions", flows}, {"pages", options.pages}},
                 "clocks per session", all[i]);
    }
  }
  fmt::print("{}", table.text());
  std::fflush(stdout);
}

void lifecycle(const Options& options, rte_mempool* buffers, Report& report) {
  Table table("New sessions and expiry, clocks per session (M/s); " + options.pages + " pages",
              {"mapping", "sessions", "new", "new, beside established", "established beside",
               "established alone", "new, as many end", "expiry, as many begin", "expiry, all"});
  for (const Case* what : {&kCases[0], &kCases[3], &kCases[5]}) {
    if (!options.wants_traffic(what->name)) continue;
    for (const std::uint32_t flows : options.sessions) {
      if (flows < 64'000) continue;
      Lifecycle runs;
      for (unsigned run = 0; run < std::min(options.runs, 3U); ++run) {
        Sequence sequence;
        Workshop shop({.max_sessions = capacity_for(flows),
                       .flows = flows,
                       .pages = options.page_kind(),
                       .policy = what->policy,
                       .kind = what->kind,
                       .block_size = what->block_size,
                       .buffers = buffers});
        const std::uint32_t three_quarters = flows / 4 * 3;
        runs.create.add(create(shop, 0, three_quarters));
        const auto alone = [&] {
          std::vector<double> results;
          for (unsigned batch = 0; batch < options.batches; ++batch) {
            std::uint64_t sum = 0;
            for (unsigned b = 0; b < kBurstsPerBatch; ++b) {
              shop.burst_outbound(sequence, three_quarters);
              sum += shop.run();
            }
            results.push_back(static_cast<double>(sum) / (kBurstsPerBatch * kBurst));
          }
          return median(std::move(results));
        };
        runs.established.add(alone());
        const Beside beside = create_beside(shop, three_quarters, flows, three_quarters, sequence);
        runs.create_beside.add(beside.create);
        runs.established_beside.add(beside.established);
        if (flows >= 1'000'000) {
          const Beside steady = churn(shop, flows);
          runs.create_steady.add(steady.create);
          runs.expire_steady.add(steady.established);
        }
        runs.expire_all.add(expire_all(shop));
      }
      const auto cell = [](const Runs& r) {
        return r.empty() ? std::string("-")
                         : fmt::format("{:.0f} ({})", r.mid(), millions(r.mid()));
      };
      table.row({what->name, count_text(flows), cell(runs.create), cell(runs.create_beside),
                 fmt::format("{:.0f}", runs.established_beside.mid()),
                 fmt::format("{:.0f}", runs.established.mid()), cell(runs.create_steady),
                 cell(runs.expire_steady), cell(runs.expire_all)});
      const std::pair<const char*, const Runs*> all[] = {
          {"new", &runs.create},
          {"new beside established", &runs.create_beside},
          {"established beside new", &runs.established_beside},
          {"established alone", &runs.established},
          {"new, as many end", &runs.create_steady},
          {"expiry, as many begin", &runs.expire_steady},
          {"expiry of all", &runs.expire_all},
      };
      for (const auto& [name, r] : all)
        if (!r->empty())
          report.add("lifecycle",
                     {{"what", name},
                      {"mapping", what->name},
                      {"sessions", flows},
                      {"pages", options.pages}},
                     "clocks", *r);
    }
  }
  fmt::print("{}", table.text());
  std::fflush(stdout);
}

// ── reload ──────────────────────────────────────────────────────────────────────────────────────

constexpr std::size_t kStepBudget = 64;  // the worker's

/// How long the steps took, in clocks, in which a new generation is enforced.
struct Sweep {
  std::vector<double> steps;  ///< each with at most kStepBudget objects
  std::uint64_t ended = 0;
};

Sweep sweep(Workshop& shop) {
  Sweep result;
  for (GenerationSweep position; !position.finished;) {
    const std::uint64_t begin = rte_rdtsc();
    enforce_generation(shop.shard(), position, kStepBudget);
    result.steps.push_back(static_cast<double>(rte_rdtsc() - begin));
    result.ended = position.ended;
  }
  return result;
}

void reload(const Options& options, rte_mempool* buffers, Report& report) {
  constexpr std::uint32_t kNetworks = 1000, kAddresses = 4096;
  const double us = static_cast<double>(rte_get_tsc_hz()) / 1e6;
  Table table(
      fmt::format("A reload with {} subscriber networks and {} NAT addresses, what one poll "
                  "does, µs: median (p99.9); {} pages",
                  kNetworks, kAddresses, options.pages),
      {"sessions", "takes it over", fmt::format("looks through {} sessions", kStepBudget),
       fmt::format("ends {} sessions", kStepBudget), "first 32 packets after it",
       "32 packets later"});
  for (const std::uint32_t flows : options.sessions) {
    if (flows < 64'000) continue;
    Sequence sequence;
    Workshop shop({.max_sessions = capacity_for(flows),
                   .flows = flows,
                   .pages = options.page_kind(),
                   .networks = kNetworks,
                   .addresses = kAddresses,
                   .buffers = buffers});
    static_cast<void>(shop.open(0, flows));
    const auto burst = [&](std::uint32_t of) {
      shop.burst_outbound(sequence, of);
      return static_cast<double>(shop.run());
    };
    std::vector<double> adopt, first, later;
    for (unsigned run = 0; run < 200; ++run) {
      adopt.push_back(static_cast<double>(shop.reload(true)));
      first.push_back(burst(flows));
      // Until each of a few flows has been seen since the reload.
      for (unsigned i = 0; i < 8; ++i) burst(kBurst);
      later.push_back(burst(kBurst));
    }
    Sweep look = sweep(shop);
    adopt.push_back(static_cast<double>(shop.reload(false)));
    Sweep end = sweep(shop);
    if (shop.sessions() != 0 || end.ended != flows)
      throw std::runtime_error("a reload without clients left sessions");
    std::vector<std::string> cells = {count_text(flows)};
    const std::pair<const char*, std::vector<double>*> all[] = {{"takes it over", &adopt},
                                                                {"looks through", &look.steps},
                                                                {"ends", &end.steps},
                                                                {"first packets", &first},
                                                                {"later packets", &later}};
    for (const auto& [name, values] : all) {
      std::sort(values->begin(), values->end());
      const double middle = median(*values) / us, high = percentile(*values, 0.999) / us;
      cells.push_back(fmt::format("{:.2f} ({:.2f})", middle, high));
      for (const auto& [what, value] : {std::pair{"median", middle}, std::pair{"p99.9", high}}) {
        Runs runs;
        runs.add(value);
        report.add("reload",
                   {{"what", name}, {"of", what}, {"sessions", flows}, {"pages", options.pages}},
                   "µs", runs);
      }
    }
    table.row(std::move(cells));
  }
  fmt::print("{}", table.text());
  std::fflush(stdout);
}

// ── memory ──────────────────────────────────────────────────────────────────────────────────────

void memory(const Options& options, rte_mempool* buffers, Report& report) {
  Table table("Memory of all tables at 80 % load, bytes per session",
              {"mapping", "sessions", "in use", "address space", "in use, MB"});
  for (const Case* what : {&kCases[0], &kCases[3], &kCases[5]}) {
    if (!options.wants_traffic(what->name)) continue;
    for (const std::uint32_t flows : options.sessions) {
      if (flows < 64'000) continue;
      // Small pages, so that the memory in use is known to 4 KB.
      Workshop shop({.max_sessions = capacity_for(flows),
                     .flows = flows,
                     .pages = state::Pages::kSmall,
                     .policy = what->policy,
                     .kind = what->kind,
                     .block_size = what->block_size,
                     .buffers = buffers});
      static_cast<void>(shop.open(0, flows));
      Runs used, reserved;
      used.add(static_cast<double>(shop.memory().resident()) / flows);
      reserved.add(static_cast<double>(shop.memory().reserved()) / flows);
      table.row({what->name, count_text(flows), fmt::format("{:.0f}", used.mid()),
                 fmt::format("{:.0f}", reserved.mid()),
                 fmt::format("{:.0f}", static_cast<double>(shop.memory().resident()) / 1e6)});
      for (const auto& [name, runs] : {std::pair{"in use", &used}, {"address space", &reserved}})
        report.add("memory", {{"what", name}, {"mapping", what->name}, {"sessions", flows}},
                   "bytes per session", *runs);
    }
  }
  fmt::print("{}", table.text());
  std::fflush(stdout);
}

// ── the program ─────────────────────────────────────────────────────────────────────────────────

void start_eal(unsigned cpu) {
  static std::vector<std::string> words = {
      "bench_path",     "--no-huge",     "--no-pci", "--no-shconf",
      "--no-telemetry", "--log-level=1", "-m",       "64"};
  words.push_back(fmt::format("--lcores=0@{}", cpu));
  static std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0)
    throw std::runtime_error(std::string("DPDK does not start: ") + rte_strerror(rte_errno));
}

int run(const Options& options) {
  // Also if the kernel gives large pages to every process.
  if (options.pages == "small") prctl(PR_SET_THP_DISABLE, 1UL, 0UL, 0UL, 0UL);
  start_eal(options.cpu);
  rte_mempool* buffers = rte_pktmbuf_pool_create("buffers", 4095, 64, kBufferPrivateSize,
                                                 RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (buffers == nullptr) throw std::runtime_error("no memory for packet buffers");
  const nlohmann::json machine = environment();
  fmt::print("{}measured  CPU {}, 64-byte packets, bursts of {}, random flows\n", to_text(machine),
             options.cpu, kBurst);
  std::fflush(stdout);

  Report report;
  if (options.wants("established") || options.wants("stages"))
    established_and_stages(options, buffers, report);
  if (options.wants("lifecycle")) lifecycle(options, buffers, report);
  if (options.wants("logging")) logging(options, buffers, report);
  if (options.wants("reload")) reload(options, buffers, report);
  if (options.wants("memory")) memory(options, buffers, report);
  if (!options.json.empty()) {
    std::ofstream(options.json)
        << nlohmann::json{{"environment", machine}, {"cells", report.cells}}.dump(1) << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace lsn::bench

int main(int argc, char** argv) {
  using namespace lsn::bench;
  if (const std::string reason = unfit(); !reason.empty()) {
    fmt::print(stderr, "bench_path: {}; it says nothing about the product\n", reason);
    return 2;
  }
  Options options;
  options.cpu = default_cpu();
  CLI::App app("What the packet path costs on one core", "bench_path");
  app.add_option("--sessions", options.sessions, "numbers of sessions")->capture_default_str();
  app.add_option("--pages", options.pages, "of the tables")
      ->check(CLI::IsMember({"large", "small"}))
      ->capture_default_str();
  app.add_option("--only", options.only, "tables")
      ->check(CLI::IsMember({"established", "stages", "lifecycle", "logging", "reload", "memory"}));
  std::vector<std::string> kinds;
  for (const lsn::bench::Case& what : lsn::bench::kCases) kinds.emplace_back(what.name);
  app.add_option("--traffic", options.traffic, "kinds, all if none is given")
      ->check(CLI::IsMember(kinds));
  app.add_option("--runs", options.runs, "per cell")->capture_default_str();
  app.add_option("--batches", options.batches, "of 2048 packets per run")->capture_default_str();
  app.add_option("--cpu", options.cpu, "to measure on")->capture_default_str();
  app.add_option("--json", options.json, "file for the results");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_path: {}\n", error.what());
    return 1;
  }
}
