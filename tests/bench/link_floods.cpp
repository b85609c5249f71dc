#include "link_floods.hpp"

namespace lsn::bench {
namespace {

constexpr std::uint32_t kPoolFirst = 0xCB007100, kPoolSize = 1024;  // 203.0.113.0 on
constexpr std::uint8_t kEspStray = 3;                               // SPIs of no tunnel
constexpr std::uint32_t kSubscribers = 1024;

/// A flood that began again where the last one did would repeat its packets, which have sessions
/// now.
std::uint64_t next_seed() {
  static std::uint64_t seed = 0;
  return seed += 0x9E3779B97F4A7C15;
}

/// Frames of one kind with addresses that a function draws.
template <class Draw>
class Drawn : public Flood {
 public:
  Drawn(const Link& link, Kind kind, Side from, std::uint8_t detail, Draw draw)
      : Flood(from), kind_(kind), maker_(link.maker(kind, from, detail)), draw_(std::move(draw)) {}

  void write(std::uint8_t* frame) override {
    const auto [from, to] = draw_(sequence_);
    maker_.write(frame, from, to, sequence_.below(1U << 28));
    // The ALG has the most work with a new SA's packets.
    if (kind_ == Kind::kEsp) put32(frame + kL4 + 4, 1);
  }

 private:
  Kind kind_;
  FrameMaker maker_;
  Draw draw_;
  Sequence sequence_{next_seed()};
};

template <class Draw>
std::unique_ptr<Flood> drawn(const Link& link, Kind kind, Side side, std::uint8_t detail,
                             Draw draw) {
  return std::make_unique<Drawn<Draw>>(link, kind, side, detail, std::move(draw));
}

struct Addresses {
  Endpoint from, to;
};
Endpoint anywhere(Sequence& random) {
  return {0x0B000000 + random.below(1U << 24), static_cast<std::uint16_t>(1 + random.below(65535))};
}
Endpoint of_pool(Sequence& random) {
  return {kPoolFirst + random.below(kPoolSize),
          static_cast<std::uint16_t>(1024 + random.below(64512))};
}

}  // namespace

std::unique_ptr<Flood> make_flood(const std::string& name, const Link& link, const Flows& tunnels) {
  const auto stray = [](Sequence& random) { return Addresses{anywhere(random), of_pool(random)}; };
  if (name == "tuples") return drawn(link, Kind::kUdp, kOutside, 0, stray);
  if (name == "spis") return drawn(link, Kind::kEsp, kOutside, kEspStray, stray);
  if (name == "server-spis") {
    if (tunnels.known() == 0) throw std::runtime_error("open tunnels first");
    return drawn(link, Kind::kEsp, kOutside, kEspStray, [&tunnels](Sequence& random) {
      const std::uint32_t n = random.below(tunnels.known());
      return Addresses{flow_of(n).remote, tunnels.nat_of(n)};
    });
  }
  if (name == "syn")
    return drawn(link, Kind::kTcp, kInside, kTcpSyn, [](Sequence& random) {
      const Endpoint from = {flow_of(random.below(kSubscribers)).inside.ip,
                             static_cast<std::uint16_t>(1024 + random.below(64512))};
      return Addresses{from, anywhere(random)};
    });
  throw std::runtime_error("no such flood: " + name);
}

}  // namespace lsn::bench
