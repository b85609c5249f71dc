// Static mappings: inside endpoints that the configuration binds to NAT endpoints, for good.
//
// A mapping is of one port of one protocol, or *whole*: of all ports of a protocol, each of which
// keeps its number, or of an address for all protocols (StaticScope::kAll, one-to-one NAT). It may
// hold for one destination only. The table is a part of the generation that never changes: built
// and checked by the control thread, read by workers when a session begins, so that established
// traffic does not know of it. Nothing in it says whether a mapping is in force: its NAT ports may
// still be another session's (datapath: lsn44/static_mapping.hpp).
//
// It is looked up from either side: a hash by the address leads to that address' mappings, which
// stand side by side in the order of protocol, port and destination. The rules of the configuration
// see to it that no two mappings fit one packet.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "lsn/shared/domain.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

/// The first three have the values of Protocol.
enum class StaticScope : std::uint8_t { kTcp, kUdp, kIcmp, kAll };

struct StaticMapping {
  wire::Ipv4Address inside_ip;
  wire::Ipv4Address nat_ip;
  wire::Ipv4Address destination;  ///< value 0: any
  std::uint16_t inside_port = 0;  ///< whole: 0
  std::uint16_t nat_port = 0;     ///< likewise
  StaticScope scope = StaticScope::kAll;
  bool is_whole = true;
  DomainId td = 0;  ///< of the inside address

  [[nodiscard]] InsideAddress inside() const { return {inside_ip, td}; }

  friend bool operator==(const StaticMapping&, const StaticMapping&) = default;
};

class StaticMappings {
 public:
  StaticMappings() = default;
  explicit StaticMappings(std::vector<StaticMapping> all) : all_(std::move(all)) {
    const auto by_inside = [](const StaticMapping& m) {
      return std::tuple(m.inside().number(), place(m, m.inside_port), m.nat_ip.value, m.nat_port);
    };
    const auto by_nat = [](const StaticMapping& m) {
      return std::tuple(m.nat_ip.value, place(m, m.nat_port), m.inside().number(), m.inside_port);
    };
    std::sort(all_.begin(), all_.end(),
              [&](const auto& a, const auto& b) { return by_inside(a) < by_inside(b); });
    of_nat_ = all_;
    std::sort(of_nat_.begin(), of_nat_.end(),
              [&](const auto& a, const auto& b) { return by_nat(a) < by_nat(b); });
    insides_ = Addresses(all_, [](const StaticMapping& m) { return m.inside(); });
    nats_ = Addresses(of_nat_, [](const StaticMapping& m) { return InsideAddress{m.nat_ip}; });
    has_one_to_one_ = std::any_of(all_.begin(), all_.end(), [](const StaticMapping& m) {
      return m.scope == StaticScope::kAll;
    });
  }

  [[nodiscard]] bool empty() const { return all_.empty(); }
  /// Whether some are for all protocols.
  [[nodiscard]] bool has_one_to_one() const { return has_one_to_one_; }
  /// In the order of subscribers.
  [[nodiscard]] const std::vector<StaticMapping>& all() const { return all_; }

  /// Those of one subscriber, of one NAT address.
  [[nodiscard]] std::span<const StaticMapping> of_subscriber(const InsideAddress& inside) const {
    return insides_.find(inside, all_);
  }
  [[nodiscard]] std::span<const StaticMapping> of_nat_address(wire::Ipv4Address nat) const {
    return nats_.find({nat}, of_nat_);
  }
  /// Whether one has a NAT address whole: then nothing dynamic begins there.
  [[nodiscard]] bool has_whole(wire::Ipv4Address nat) const {
    const auto of = of_nat_address(nat);
    for (const auto scope :
         {StaticScope::kTcp, StaticScope::kUdp, StaticScope::kIcmp, StaticScope::kAll})
      if (has_whole(of, scope)) return true;
    return false;
  }

  /// The mapping of an inside endpoint towards a remote address, of a NAT endpoint from one;
  /// nullptr: there is none. `scope`: a protocol with ports.
  [[nodiscard]] const StaticMapping* find_inside(StaticScope scope, const InsideAddress& inside,
                                                 std::uint16_t port,
                                                 wire::Ipv4Address remote) const {
    return find(of_subscriber(inside), scope, port, remote,
                [](const StaticMapping& m) { return m.inside_port; });
  }
  [[nodiscard]] const StaticMapping* find_nat(StaticScope scope, wire::Ipv4Address nat,
                                              std::uint16_t port, wire::Ipv4Address remote) const {
    return find(of_nat_address(nat), scope, port, remote,
                [](const StaticMapping& m) { return m.nat_port; });
  }
  /// Whether some mapping has that NAT endpoint, for whatever destination.
  [[nodiscard]] bool has_nat_endpoint(StaticScope scope, wire::Ipv4Address nat,
                                      std::uint16_t port) const {
    const auto of = of_nat_address(nat);
    const auto next = std::lower_bound(
        of.begin(), of.end(), place(scope, false, port, {}),
        [](const StaticMapping& m, std::uint64_t p) { return place(m, m.nat_port) < p; });
    return (next != of.end() && next->scope == scope && !next->is_whole &&
            next->nat_port == port) ||
           has_whole(of, scope) || has_whole(of, StaticScope::kAll);
  }
  /// find_inside() and find_nat() of a protocol without ports.
  [[nodiscard]] const StaticMapping* find_inside(const InsideAddress& inside,
                                                 wire::Ipv4Address remote) const {
    return find_whole(of_subscriber(inside), StaticScope::kAll, remote);
  }
  [[nodiscard]] const StaticMapping* find_nat(wire::Ipv4Address nat,
                                              wire::Ipv4Address remote) const {
    return find_whole(of_nat_address(nat), StaticScope::kAll, remote);
  }

  friend bool operator==(const StaticMappings& a, const StaticMappings& b) {
    return a.all_ == b.all_;
  }

 private:
  /// Where a mapping stands among those of its address.
  [[nodiscard]] static std::uint64_t place(StaticScope scope, bool is_whole, std::uint16_t port,
                                           wire::Ipv4Address destination) {
    return std::uint64_t{static_cast<std::uint8_t>(scope)} << 56 |
           std::uint64_t{is_whole ? 1U : 0U} << 48 | std::uint64_t{port} << 32 | destination.value;
  }
  [[nodiscard]] static std::uint64_t place(const StaticMapping& m, std::uint16_t port) {
    return place(m.scope, m.is_whole, port, m.destination);
  }

  /// Whether one of them is whole, for whatever destination.
  [[nodiscard]] static bool has_whole(std::span<const StaticMapping> of, StaticScope scope) {
    const auto next = std::lower_bound(
        of.begin(), of.end(), place(scope, true, 0, {}),
        [](const StaticMapping& m, std::uint64_t p) { return place(m, m.nat_port) < p; });
    return next != of.end() && next->scope == scope && next->is_whole;
  }

  template <class PortOf>
  [[nodiscard]] static const StaticMapping* at(std::span<const StaticMapping> of,
                                               std::uint64_t wanted, PortOf&& port_of) {
    const auto found = std::lower_bound(
        of.begin(), of.end(), wanted,
        [&](const StaticMapping& m, std::uint64_t p) { return place(m, port_of(m)) < p; });
    return found != of.end() && place(*found, port_of(*found)) == wanted ? &*found : nullptr;
  }

  template <class PortOf>
  [[nodiscard]] static const StaticMapping* find(std::span<const StaticMapping> of,
                                                 StaticScope scope, std::uint16_t port,
                                                 wire::Ipv4Address remote, PortOf&& port_of) {
    if (of.empty()) return nullptr;
    for (const wire::Ipv4Address destination : {remote, wire::Ipv4Address{}})
      if (const auto* m = at(of, place(scope, false, port, destination), port_of)) return m;
    if (const auto* m = find_whole(of, scope, remote)) return m;
    return find_whole(of, StaticScope::kAll, remote);
  }
  [[nodiscard]] static const StaticMapping* find_whole(std::span<const StaticMapping> of,
                                                       StaticScope scope,
                                                       wire::Ipv4Address remote) {
    for (const wire::Ipv4Address destination : {remote, wire::Ipv4Address{}})
      if (const auto* m = at(of, place(scope, true, 0, destination),
                             [](const StaticMapping&) { return std::uint16_t{0}; }))
        return m;
    return nullptr;
  }

  /// Where each address' mappings stand: a hash table, at most half full.
  class Addresses {
   public:
    Addresses() = default;
    template <class AddressOf>
    Addresses(const std::vector<StaticMapping>& sorted, AddressOf&& address_of) {
      if (sorted.empty()) return;
      std::uint32_t distinct = 0;
      for (std::size_t i = 0; i < sorted.size(); ++i)
        if (i == 0 || address_of(sorted[i]) != address_of(sorted[i - 1])) ++distinct;
      bits_ = static_cast<unsigned>(std::bit_width(2 * std::uint64_t{distinct} - 1));
      slots_.resize(std::size_t{1} << bits_);
      for (std::uint32_t i = 0; i < sorted.size();) {
        std::uint32_t end = i + 1;
        while (end < sorted.size() && address_of(sorted[end]) == address_of(sorted[i])) ++end;
        std::size_t at = hash(address_of(sorted[i]));
        while (slots_[at].count != 0) at = (at + 1) & (slots_.size() - 1);
        slots_[at] = {address_of(sorted[i]), i, end - i};
        i = end;
      }
    }

    [[nodiscard]] std::span<const StaticMapping> find(
        const InsideAddress& address, const std::vector<StaticMapping>& sorted) const {
      if (slots_.empty()) return {};
      for (std::size_t at = hash(address); slots_[at].count != 0;
           at = (at + 1) & (slots_.size() - 1))
        if (slots_[at].address == address) return {&sorted[slots_[at].first], slots_[at].count};
      return {};
    }

   private:
    struct Slot {
      InsideAddress address;
      std::uint32_t first = 0;
      std::uint32_t count = 0;  ///< 0: the slot is free
    };
    [[nodiscard]] std::size_t hash(const InsideAddress& address) const {
      return (address.address.value ^ std::uint32_t{address.td} << 20) * 0x9E3779B1U >>
             (32 - bits_);
    }

    std::vector<Slot> slots_;
    unsigned bits_ = 1;
  };

  std::vector<StaticMapping> all_;     ///< by subscriber
  std::vector<StaticMapping> of_nat_;  ///< the same by NAT address
  Addresses insides_, nats_;
  bool has_one_to_one_ = false;
};

}  // namespace lsn::shared
