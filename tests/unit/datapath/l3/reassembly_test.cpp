#include "lsn/datapath/l3/reassembly.hpp"

#include <map>
#include <random>
#include <set>

#include "unit/datapath/bench.hpp"

namespace lsn::datapath::bench {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const auto kOverlap = Verdict::drop(DropReason::kFragmentOverlap);
const auto kMalformed = Verdict::drop(DropReason::kFragmentMalformed);
const auto kTooMany = Verdict::drop(DropReason::kFragmentTooMany);
const auto kTableFull = Verdict::drop(DropReason::kFragmentTableFull);
const auto kTimeout = DropReason::kFragmentTimeout;
const auto kDisplaced = DropReason::kFragmentDisplaced;

enum class End : std::uint8_t { kMore, kLast };

class ReassemblyTest : public Workbench {
 protected:
  ReassemblyTest() { generation.fragment_timeout = seconds{2}; }

  static Ip datagram(unsigned id = 1) {
    return {.source = "192.0.2.7", .destination = "8.8.8.8", .id = id};
  }
  static Bytes frame(Ip header, unsigned offset, unsigned size, End end) {
    header.offset = offset;
    header.more_fragments = end == End::kMore;
    return ethernet(kInsideMac, "02:bb:00:00:00:07", 0x0800, header.with(counting(size, offset)));
  }

  /// Gives a fragment to the room; what it does not keep is freed. `ports`: in and out.
  Verdict accept(const Bytes& bytes, FragmentPorts& ports) {
    Packet packet = received(0, bytes);
    packet.handoffs = 3;
    const Verdict verdict = shard->reassembly.accept(*shard, packet, ports);
    if (verdict != Verdict::consumed()) free(packet);
    return verdict;
  }
  Verdict accept(const Ip& header, unsigned offset, unsigned size, End end) {
    FragmentPorts ports{0x1111, 0x2222};
    return accept(frame(header, offset, size, end), ports);
  }
  /// ... of datagram 1.
  Verdict accept(unsigned offset, unsigned size, End end = End::kMore) {
    return accept(datagram(), offset, size, end);
  }

  /// What waited for a datagram's first fragment.
  std::vector<Bytes> waiting(const Ip& header) {
    const Packet first = received(0, frame(header, 0, 8, End::kMore));
    std::vector<Bytes> frames;
    while (rte_mbuf* mbuf = shard->reassembly.take_waiting(*shard, first)) {
      EXPECT_EQ(origin_of(mbuf).interface, 0);
      EXPECT_EQ(origin_of(mbuf).handoffs, 3);
      EXPECT_EQ(origin_of(mbuf).kind, HandoffKind::kSteer);
      frames.push_back(bytes_of(mbuf));
      rte_pktmbuf_free(mbuf);
    }
    free(first);
    return frames;
  }
  /// A datagram's first fragment has passed.
  void settle(const Ip& header, unsigned identification = 7) {
    const Packet first = received(0, frame(header, 0, 8, End::kMore));
    shard->reassembly.passed(*shard, first,
                             wire::Be16::of(static_cast<std::uint16_t>(identification)));
    free(first);
  }
  /// A later fragment of a stranger of its own, to one of three NAT addresses.
  void accept_from_outside(unsigned number) {
    Ip header{
        .source = "10.9." + std::to_string(number / 250) + "." + std::to_string(number % 250 + 1),
        .destination = "198.51.100." + std::to_string(8 + number % 3)};
    header.offset = 80;
    Packet packet = received(1, ethernet(kOutsideMac, kGateway, 0x0800, header.with(counting(80))));
    FragmentPorts ports;
    EXPECT_EQ(shard->reassembly.accept(*shard, packet, ports), Verdict::consumed());
  }
  void expect_remembered(unsigned datagrams) {
    EXPECT_EQ(shard->reassembly.size(), datagrams);
    EXPECT_EQ(shard->counters.fragments_waiting.get(), datagrams);
  }
};

TEST_F(ReassemblyTest, TheFirstFragmentGoesOnAndTheOthersGetItsPorts) {
  FragmentPorts first{0x1234, 0xABCD};
  EXPECT_EQ(accept(frame(datagram(), 0, 800, End::kMore), first), Verdict::next());
  EXPECT_THAT(waiting(datagram()), IsEmpty());
  expect_remembered(1);
  FragmentPorts second;
  EXPECT_EQ(accept(frame(datagram(), 800, 800, End::kMore), second), Verdict::next());
  EXPECT_EQ(second.local, 0x1234);
  EXPECT_EQ(second.remote, 0xABCD);
  FragmentPorts last;
  EXPECT_EQ(accept(frame(datagram(), 1600, 13, End::kLast), last), Verdict::next());
  EXPECT_EQ(last.local, 0x1234);
  EXPECT_EQ(last.remote, 0xABCD);
  expect_remembered(0);
  EXPECT_EQ(drops(), 0u);
}

TEST_F(ReassemblyTest, ThoseThatComeBeforeTheFirstOneWaitAndFollowItAsTheyCame) {
  EXPECT_EQ(accept(1600, 13, End::kLast), Verdict::consumed());
  EXPECT_EQ(accept(800, 800), Verdict::consumed());
  expect_remembered(1);
  EXPECT_EQ(accept(0, 800), Verdict::next());
  EXPECT_THAT(waiting(datagram()), ElementsAre(frame(datagram(), 1600, 13, End::kLast),
                                               frame(datagram(), 800, 800, End::kMore)));
  expect_remembered(0);
}

TEST_F(ReassemblyTest, InEveryOrderEachFragmentPassesOnceAndTheDatagramIsForgotten) {
  std::vector<unsigned> order = {0, 1, 2, 3, 4};
  do {
    std::vector<unsigned> passed;
    for (const unsigned i : order) {
      const End end = i == 4 ? End::kLast : End::kMore;
      const Verdict verdict = accept(i * 40, i == 4 ? 3 : 40, end);
      if (verdict == Verdict::next()) passed.push_back(i * 40);
      if (i != 0) continue;
      for (const Bytes& bytes : waiting(datagram()))
        passed.push_back((at16(bytes, 20) & 0x1FFF) * 8);
    }
    std::sort(passed.begin(), passed.end());
    ASSERT_THAT(passed, ElementsAre(0u, 40u, 80u, 120u, 160u));
    expect_remembered(0);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(drops(), 0u);
}

TEST_F(ReassemblyTest, ADatagramIsNamedByAddressesProtocolAndIdentification) {
  std::vector<Ip> names(5, datagram());
  names[1].source = "192.0.2.8";
  names[2].destination = "8.8.4.4";
  names[3].protocol = 50;
  names[4].id = 2;
  for (const Ip& name : names) EXPECT_EQ(accept(name, 40, 40, End::kMore), Verdict::consumed());
  expect_remembered(5);
  for (const Ip& name : names) {
    FragmentPorts ports{static_cast<std::uint16_t>(name.id), 0};
    EXPECT_EQ(accept(frame(name, 0, 40, End::kMore), ports), Verdict::next());
    EXPECT_THAT(waiting(name), ElementsAre(frame(name, 40, 40, End::kMore)));
  }
}

TEST_F(ReassemblyTest, WhatWaitsRemembersWhereItCameFrom) {
  Packet packet = received(1, ethernet(kOutsideMac, "02:aa:00:00:00:fe", 0x0800,
                                       Ip{.source = "10.9.1.1",
                                          .destination = "198.51.100.9",
                                          .more_fragments = true,
                                          .offset = 80}
                                           .with(counting(40)),
                                       100));
  packet.hairpin = true;
  packet.handoffs = 5;
  FragmentPorts ports;
  ASSERT_EQ(shard->reassembly.accept(*shard, packet, ports), Verdict::consumed());
  EXPECT_EQ(origin_of(packet.mbuf).interface, 2);
  EXPECT_EQ(origin_of(packet.mbuf).handoffs, 5);
  EXPECT_EQ(origin_of(packet.mbuf).kind, HandoffKind::kHairpin);
}

// ---------------------------------------------------------------- what cannot be

TEST_F(ReassemblyTest, ImpossibleFragmentsAreRefusedAndNotRemembered) {
  EXPECT_EQ(accept(80, 0), kMalformed);
  EXPECT_EQ(accept(80, 0, End::kLast), kMalformed);
  for (const unsigned size : {1u, 7u, 9u, 39u, 41u}) {  // a middle ends on a unit
    EXPECT_EQ(accept(0, size), kMalformed) << size;
    EXPECT_EQ(accept(80, size), kMalformed) << size;
  }
  expect_remembered(0);
}

TEST_F(ReassemblyTest, NoFragmentReachesBeyondTheLargestDatagram) {
  // 65,535 bytes with a header of 20: the last byte is number 65,514 of the payload.
  EXPECT_EQ(accept(65512, 4, End::kLast), kMalformed);
  EXPECT_EQ(accept(65512, 8), kMalformed);
  EXPECT_EQ(accept(65528, 100, End::kLast), kMalformed);
  EXPECT_EQ(accept(65512, 3, End::kLast), Verdict::consumed());
  Ip options = datagram(2);
  options.options = hex("94 04 0000");
  EXPECT_EQ(accept(options, 65504, 8, End::kLast), kMalformed);
  EXPECT_EQ(accept(options, 65504, 7, End::kLast), Verdict::consumed());
  expect_remembered(2);
}

TEST_F(ReassemblyTest, TcpsHeaderMustBeInTheFirstFragmentWhole) {
  Ip tcp_datagram = datagram();
  tcp_datagram.protocol = 6;
  EXPECT_EQ(accept(tcp_datagram, 0, 8, End::kMore), kMalformed);
  EXPECT_EQ(accept(tcp_datagram, 0, 16, End::kMore), kMalformed);
  EXPECT_EQ(accept(tcp_datagram, 8, 40, End::kMore), kMalformed);  // RFC 1858 section 3.2
  EXPECT_EQ(accept(tcp_datagram, 8, 40, End::kLast), kMalformed);
  expect_remembered(0);
  EXPECT_EQ(accept(tcp_datagram, 0, 24, End::kMore), Verdict::next());
  EXPECT_EQ(accept(tcp_datagram, 24, 8, End::kMore), Verdict::next());
  // UDP's is 8 bytes long.
  EXPECT_EQ(accept(datagram(2), 0, 8, End::kMore), Verdict::next());
  EXPECT_EQ(accept(datagram(2), 8, 8, End::kMore), Verdict::next());
}

// ---------------------------------------------------------------- overlaps

TEST_F(ReassemblyTest, AfterAnOverlapNothingOfTheDatagramPassesUntilItsTimeIsOver) {
  EXPECT_EQ(accept(0, 80), Verdict::next());
  EXPECT_EQ(accept(72, 80), kOverlap);
  EXPECT_EQ(accept(80, 80), kOverlap);
  EXPECT_EQ(accept(160, 80, End::kLast), kOverlap);
  EXPECT_EQ(accept(0, 80), kOverlap);
  expect_remembered(1);
  live(seconds(3));
  expect_remembered(0);
  EXPECT_EQ(accept(0, 80), Verdict::next());
}

TEST_F(ReassemblyTest, EveryKindOfOverlapIsSeen) {
  struct Case {
    const char* what;
    unsigned offset, size;
  };
  // [80, 160) and [240, 320) are there.
  for (const Case& c : std::initializer_list<Case>{{"the same", 80, 80},
                                                   {"its begin", 80, 8},
                                                   {"its end", 152, 8},
                                                   {"within", 96, 16},
                                                   {"around", 72, 96},
                                                   {"from before", 40, 48},
                                                   {"from behind", 152, 40},
                                                   {"both", 152, 96},
                                                   {"the second's begin", 200, 48},
                                                   {"around both", 40, 400},
                                                   {"from zero", 0, 88}}) {
    make_shard(8);
    accept(80, 80);
    accept(240, 80);
    EXPECT_EQ(accept(c.offset, c.size), kOverlap) << c.what;
  }
  for (const Case& c : std::initializer_list<Case>{
           {"before", 72, 8}, {"between", 160, 80}, {"in the gap", 168, 8}, {"behind", 320, 8}}) {
    make_shard(8);
    accept(80, 80);
    accept(240, 80);
    EXPECT_EQ(accept(c.offset, c.size), Verdict::consumed()) << c.what;
  }
}

TEST_F(ReassemblyTest, AnOverlapDropsWhatWaits) {
  EXPECT_EQ(accept(80, 80), Verdict::consumed());
  EXPECT_EQ(accept(160, 80), Verdict::consumed());
  EXPECT_EQ(accept(0, 88), kOverlap);  // a first fragment that reaches into the second
  EXPECT_EQ(dropped(DropReason::kFragmentOverlap), 2u);  // and the one that we freed
  EXPECT_THAT(waiting(datagram()), IsEmpty());
  EXPECT_EQ(rte_mempool_avail_count(pool_.get()), kBuffers);
}

TEST_F(ReassemblyTest, ADatagramHasOneEnd) {
  EXPECT_EQ(accept(datagram(1), 0, 80, End::kMore), Verdict::next());
  EXPECT_EQ(accept(datagram(1), 160, 80, End::kLast), Verdict::next());
  EXPECT_EQ(accept(datagram(1), 240, 80, End::kMore), kOverlap);  // behind the end

  EXPECT_EQ(accept(datagram(2), 0, 80, End::kMore), Verdict::next());
  EXPECT_EQ(accept(datagram(2), 160, 80, End::kMore), Verdict::next());
  EXPECT_EQ(accept(datagram(2), 80, 40, End::kLast), kOverlap);  // before what is known

  EXPECT_EQ(accept(datagram(3), 0, 80, End::kMore), Verdict::next());
  EXPECT_EQ(accept(datagram(3), 160, 80, End::kLast), Verdict::next());
  EXPECT_EQ(accept(datagram(3), 320, 80, End::kLast), kOverlap);  // another one
}

// ---------------------------------------------------------------- bounds

TEST_F(ReassemblyTest, WhatWaitsTooLongIsDroppedAndCounted) {
  EXPECT_EQ(accept(80, 80), Verdict::consumed());
  pass(state::TickDuration{150});
  EXPECT_EQ(accept(160, 80), Verdict::consumed());  // does not begin the time anew
  live(state::TickDuration{40});
  EXPECT_EQ(drops(), 0u);
  expect_remembered(1);
  live(state::TickDuration{20});
  EXPECT_EQ(dropped(kTimeout), 2u);
  EXPECT_EQ(drops(), 2u);
  expect_remembered(0);
  // The first one comes too late: for it, nothing has waited.
  EXPECT_EQ(accept(0, 80), Verdict::next());
  EXPECT_THAT(waiting(datagram()), IsEmpty());
}

TEST_F(ReassemblyTest, TheTimeIsTheConfiguredOne) {
  generation.fragment_timeout = seconds{30};
  accept(80, 80);
  live(seconds{29});
  expect_remembered(1);
  live(seconds{2});
  expect_remembered(0);
}

TEST_F(ReassemblyTest, PortsAreNotRememberedBeyondTheTime) {
  EXPECT_EQ(accept(0, 80), Verdict::next());
  live(seconds{3});
  EXPECT_EQ(drops(), 0u);
  EXPECT_EQ(accept(80, 80), Verdict::consumed());
}

TEST_F(ReassemblyTest, InAFullTableTheOldestThatIsNotSettledMakesRoom) {
  make_shard(16);
  EXPECT_EQ(accept(datagram(1), 0, 80, End::kMore), Verdict::next());
  settle(datagram(1));
  for (unsigned id = 2; id <= 16; ++id)
    EXPECT_EQ(accept(datagram(id), 80, 80, End::kMore), Verdict::consumed());
  expect_remembered(16);
  EXPECT_EQ(drops(), 0u);
  EXPECT_EQ(accept(datagram(17), 80, 80, End::kMore), Verdict::consumed());
  EXPECT_EQ(accept(datagram(18), 0, 80, End::kMore), Verdict::next());
  EXPECT_EQ(dropped(kDisplaced), 2u);  // 2 and 3
  expect_remembered(16);
  EXPECT_EQ(accept(datagram(1), 80, 80, End::kMore), Verdict::next()) << "it was settled";
  EXPECT_EQ(accept(datagram(4), 0, 80, End::kMore), Verdict::next());
  EXPECT_EQ(waiting(datagram(4)).size(), 1u);
}

TEST_F(ReassemblyTest, WhereAllAreSettledTheOldestMakesRoomAsWell) {
  make_shard(16);
  for (unsigned id = 1; id <= 17; ++id) {
    EXPECT_EQ(accept(datagram(id), 0, 80, End::kMore), Verdict::next());
    settle(datagram(id));
  }
  expect_remembered(16);
  EXPECT_EQ(accept(datagram(2), 80, 80, End::kMore), Verdict::next());
  EXPECT_EQ(drops(), 0u) << "nothing of it waited";
}

TEST_F(ReassemblyTest, ThoseFromOutsideHaveHalfOfTheRoomAndMakeRoomForThoseFromInside) {
  make_shard(256);
  for (unsigned i = 0; i < 1000; ++i) accept_from_outside(i);
  // The bound of one NAT address comes first: three of them have 32 each.
  expect_remembered(96);
  EXPECT_EQ(dropped(kDisplaced), 1000u - 96u);
  for (unsigned id = 1; id <= 16; ++id)
    EXPECT_EQ(accept(datagram(id), 80, 80, End::kMore), Verdict::consumed());
  expect_remembered(112);
}

TEST_F(ReassemblyTest, OneSubscriberHasASixteenthOfTheRoom) {
  make_shard(512);
  for (unsigned id = 1; id <= 100; ++id) accept(datagram(id), 80, 80, End::kMore);
  expect_remembered(32);
  EXPECT_EQ(dropped(kDisplaced), 68u);
  // Its settled ones have another sixteenth, no more.
  for (unsigned id = 101; id <= 200; ++id) {
    EXPECT_EQ(accept(datagram(id), 0, 80, End::kMore), Verdict::next());
    settle(datagram(id));
  }
  expect_remembered(63);  // one made room when it was open
  EXPECT_EQ(accept(datagram(200), 80, 80, End::kMore), Verdict::next());
  EXPECT_EQ(accept(datagram(101), 80, 80, End::kMore), Verdict::consumed()) << "forgotten";
}

TEST_F(ReassemblyTest, WithoutAnyRoomEveryFragmentIsRefused) {
  make_shard(0);
  EXPECT_EQ(accept(datagram(1), 80, 80, End::kMore), kTableFull);
  EXPECT_EQ(accept(datagram(1), 0, 80, End::kMore), kTableFull);
}

TEST_F(ReassemblyTest, EveryFragmentLearnsWhatItsDatagramLeavesWith) {
  FragmentPorts ports{1, 2, {}};
  EXPECT_EQ(accept(frame(datagram(), 0, 80, End::kMore), ports), Verdict::next());
  settle(datagram(), 0xABCD);
  FragmentPorts later;
  EXPECT_EQ(accept(frame(datagram(), 80, 80, End::kMore), later), Verdict::next());
  EXPECT_EQ(later.identification, wire::Be16::of(0xABCD));
}

TEST_F(ReassemblyTest, NoMoreThan64FragmentsOfADatagramWait) {
  for (unsigned i = 1; i <= 64; ++i) EXPECT_EQ(accept(i * 8, 8), Verdict::consumed());
  EXPECT_EQ(accept(65 * 8, 8), kTooMany);
  EXPECT_EQ(accept(0, 8), Verdict::next());
  EXPECT_EQ(waiting(datagram()).size(), 64u);
  EXPECT_EQ(accept(65 * 8, 8), Verdict::next());  // it had not been noted
}

TEST_F(ReassemblyTest, NoMoreThanFourFragmentsForEachPossibleDatagramWaitInAll) {
  make_shard(4);
  for (unsigned i = 1; i <= 16; ++i) EXPECT_EQ(accept(i * 8, 8), Verdict::consumed());
  EXPECT_EQ(accept(17 * 8, 8), kTooMany) << "no datagram makes room for itself";
  expect_remembered(1);
  EXPECT_EQ(accept(datagram(2), 8, 8, End::kMore), Verdict::consumed());
  EXPECT_EQ(dropped(kDisplaced), 16u);
  expect_remembered(1);
  EXPECT_EQ(accept(datagram(3), 0, 8, End::kMore), Verdict::next());  // needs not wait
}

TEST_F(ReassemblyTest, NoMoreThan64HolesOfADatagramAreRemembered) {
  EXPECT_EQ(accept(0, 8), Verdict::next());
  for (unsigned i = 1; i < 64; ++i) EXPECT_EQ(accept(i * 16, 8), Verdict::next());
  EXPECT_EQ(accept(64 * 16, 8), kTooMany);
  EXPECT_EQ(accept(8, 8), Verdict::next());  // closes one
  EXPECT_EQ(accept(64 * 16, 8), Verdict::next());
}

TEST_F(ReassemblyTest, ARoundOfHousekeepingKeepsItsBudget) {
  make_shard(1024);  // of which one subscriber has 64
  for (unsigned id = 1; id <= 60; ++id) accept(datagram(id), 80, 80, End::kMore);
  pass(seconds{3});
  std::uint64_t before = 0;
  for (int round = 0; shard->reassembly.size() != 0; ++round) {
    ASSERT_LT(round, 20);
    shard->reassembly.advance(*shard, 10);
    EXPECT_LE(dropped(kTimeout) - before, 10u);
    before = dropped(kTimeout);
  }
  EXPECT_EQ(before, 60u);
}

TEST_F(ReassemblyTest, AtTheEndWhatWaitsIsFreed) {
  for (unsigned id = 1; id <= 20; ++id)
    for (unsigned i = 1; i <= 3; ++i) accept(datagram(id), i * 80, 80, End::kMore);
  shard->reassembly.clear(*shard);
  expect_remembered(0);
  EXPECT_EQ(rte_mempool_avail_count(pool_.get()), kBuffers);
}

// ---------------------------------------------------------------- any sequence

/// What the rules say, in the simplest way: a set of units per datagram.
class Reference {
 public:
  Verdict accept(unsigned id, unsigned offset, unsigned size, End end) {
    Datagram& d = datagrams_[id];
    if (d.poisoned) return kOverlap;
    bool overlaps = false;
    for (unsigned unit = offset / 8; unit < (offset + size + 7) / 8; ++unit) {
      overlaps |= d.units.contains(unit) || unit >= d.end;
      d.units.insert(unit);
    }
    if (end == End::kLast) {
      const unsigned last = (offset + size + 7) / 8;
      overlaps |= (d.end != kOpen && d.end != last) || *d.units.rbegin() >= last;
      d.end = last;
    }
    if (overlaps) {
      d.poisoned = true;
      d.waiting = 0;
      return kOverlap;
    }
    if (offset == 0) d.known = true;
    const bool next = d.known;
    if (!next) ++d.waiting;
    return next ? Verdict::next() : Verdict::consumed();
  }
  /// How many follow the first one.
  unsigned release(unsigned id) { return std::exchange(datagrams_[id].waiting, 0); }
  void settle(unsigned id) {
    const auto d = datagrams_.find(id);
    if (d != datagrams_.end() && !d->second.poisoned && d->second.waiting == 0 &&
        d->second.units.size() == d->second.end)
      datagrams_.erase(d);
  }
  [[nodiscard]] std::size_t size() const { return datagrams_.size(); }

 private:
  static constexpr unsigned kOpen = 1 << 20;
  struct Datagram {
    std::set<unsigned> units;
    unsigned end = kOpen;
    bool known = false, poisoned = false;
    unsigned waiting = 0;
  };
  std::map<unsigned, Datagram> datagrams_;
};

// Each begins with a shard of its own, which takes AddressSanitizer most of a second.
#if defined(__SANITIZE_ADDRESS__)
constexpr int kRounds = 50;
#else
constexpr int kRounds = 300;
#endif

TEST_F(ReassemblyTest, AnySequenceOfFragmentsIsJudgedAsTheRulesSay) {
  std::mt19937 random(20260729);
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  for (int round = 0; round < kRounds; ++round) {
    make_shard(16);
    Reference reference;
    // Mostly fragments of a sensible division, sometimes any.
    const unsigned unit = 8 * (1 + below(4)), count = 2 + below(10), wild = below(3) == 0 ? 6 : 40;
    for (int step = 0; step < 60; ++step) {
      const unsigned id = 1 + below(4);
      unsigned offset = below(count) * unit;
      End end = offset == (count - 1) * unit ? End::kLast : End::kMore;
      unsigned size = end == End::kLast ? 1 + below(unit) : unit;
      if (below(wild) == 0) {
        offset = below(24) * 8;
        end = offset != 0 && below(3) == 0 ? End::kLast : End::kMore;
        size = end == End::kLast ? 1 + below(60) : 8 * (1 + below(6));
      }
      const Verdict expected = reference.accept(id, offset, size, end);
      ASSERT_EQ(accept(datagram(id), offset, size, end), expected)
          << "round " << round << " step " << step << ": " << id << ", " << offset << "+" << size;
      if (offset == 0 && expected == Verdict::next()) {
        ASSERT_EQ(waiting(datagram(id)).size(), reference.release(id));
      }
      reference.settle(id);
      ASSERT_EQ(shard->reassembly.size(), reference.size());
      ASSERT_EQ(shard->counters.fragments_waiting.get(), reference.size());
    }
  }
}

}  // namespace
}  // namespace lsn::datapath::bench
