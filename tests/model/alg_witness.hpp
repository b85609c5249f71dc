// A witness that watches the NAT from outside and reports events that must never happen (design 9).
//
// It knows the true receiver of each packet from the world's marks, and from the wire when it came
// and left. Of the product's own state it uses the times at which turns ended, to tell an
// unavoidable misdelivery from one that must not be, and the gauges and tables for their bounds.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "model/alg_world.hpp"

namespace lsn::test::alg {

/// The results of some worlds.
struct Sums {
  std::uint64_t worlds = 0, tunnels = 0, packets = 0, forged = 0;
  std::uint64_t restarts = 0, ike_rekeys = 0, collisions = 0, given_up = 0;
  std::uint64_t wanted = 0, established = 0;            ///< tunnels
  std::uint64_t calm_wanted = 0, calm_established = 0;  ///< of worlds without loss and malice
  std::uint64_t carried = 0;  ///< tunnels of which a packet of the server's came to the NAT
  std::uint64_t calm_carried = 0, late_tunnels = 0;
  std::uint64_t failures = 0, phase_one_rekeys = 0, bursts = 0, idled_out = 0, came_back = 0;
  std::uint64_t nat_restarts = 0, reloads = 0, fragmented = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(Misdelivery::kCount)> misdelivered{};
  std::array<std::uint64_t, static_cast<std::size_t>(Misdelivery::kCount)> calm_misdelivered{};
  std::uint64_t ended_soon = 0;                 ///< misdeliveries that lasted for T at most
  std::uint64_t waited = 0;                     ///< exchanges whose first message had to wait
  std::uint64_t turns_came = 0, waited_ms = 0;  ///< of these
  std::uint64_t overlaps_checked = 0, overlaps_unclear = 0;
  std::array<std::uint64_t, shared::kCloseReasons> closed{};  ///< turns by reason

  void add(const Sums& other);
  /// Contended, consequence and lured: better rules would give fewer.
  [[nodiscard]] std::uint64_t misguided() const;
  [[nodiscard]] std::uint64_t calm_misdelivered_in_all() const;
  [[nodiscard]] std::string text() const;
};
static_assert(std::is_trivially_copyable_v<Sums>, "processes hand them over as bytes");

class Watch final : public Witness {
 public:
  explicit Watch(World& world);

  void came(const Seen& packet, Party from, const std::vector<Seen>& left) override;
  void left(const Seen& packet, Party to) override;
  void passed() override;
  void before_change() override;
  void restarted(Time restored) override;
  void reloading(unsigned addresses, bool has_profile) override;
  void reloaded() override;

  /// All is over, and all has expired: nothing must be left.
  void finish();

  [[nodiscard]] const std::vector<std::string>& faults() const { return faults_; }
  [[nodiscard]] const Sums& sums() const { return sums_; }
  /// The last events between that server and any client; of all servers, kNobody.
  void tell(std::uint32_t server) const;
  [[nodiscard]] std::uint32_t server_of_fault() const { return server_of_fault_; }

 private:
  /// A client and a server as the NAT should know them.
  struct Peer {
    Time restarted = kNever;
    Time latest_esp_out = kNever;
    Time latest_new_esp_out = kNever;  ///< on an SPI that was new within the last T
    struct Foreign {
      Time time;
      bool forged;
    };
    std::vector<Foreign> foreign;  ///< it got another client's packet: its place is taken
    /// When its known tunnels carried packets both ways, second after second.
    struct BothWays {
      Time since, until;
      Time latest[2];
    };
    std::vector<BothWays> both_ways;
    std::vector<std::uint32_t> unanswered;         ///< tunnels that its client sends on
    std::map<std::uint32_t, std::uint32_t> pairs;  ///< outbound SPIs with inbound ones, as logged
    [[nodiscard]] bool lacks_other_half() const {
      return std::ranges::any_of(pairs, [](const auto& pair) { return pair.second == 0; });
    }
    std::vector<Time> starts;  ///< possible begins of its turns
    std::vector<Time> ends;    ///< of its turns, by the product's own word
    Time deadline = kNever;    ///< the latest of these that was one
  };
  struct IkeSeen {
    bool heard[2] = {false, false};
    Time latest = kNever;
    Time arose = 0;  ///< again, without its former state
  };
  using GateKey = std::pair<Ip, std::uint32_t>;  ///< NAT address, server
  struct GateSeen {
    std::vector<std::uint32_t> waiting;         ///< exchanges
    std::deque<std::uint32_t> recent;           ///< exchanges whose first message has left
    std::map<std::uint32_t, Time> esp_refused;  ///< when, by client: it has a place, too
  };
  struct Note {
    Time time;
    std::uint32_t server;
    std::string text;
  };

  Peer& peer(std::uint32_t client, std::uint32_t server);
  Peer& peer_of(const Link& link) { return peer(link.client, link.server); }
  auto& mapping_of(const Link& link) { return mappings_[{link.client, link.server, link.port[0]}]; }
  IkeSeen& ike_seen(std::uint32_t ike);
  /// A message of it comes.
  IkeSeen& note_ike(std::uint32_t ike);
  [[nodiscard]] Time life_of(const IkeSeen& ike) const;
  /// So many IKE sessions that some may pass without being tracked (design 3).
  [[nodiscard]] bool is_at_limit(std::uint32_t client);
  [[nodiscard]] GateKey gate_of(const Link& link) const;
  [[nodiscard]] std::uint32_t client_of(Ip ip) const;
  [[nodiscard]] std::uint32_t server_of(Ip ip) const;

  void nat_t_came(const Seen& packet, const Link& link, Party from, bool passed);
  void ike_came(const Seen& packet, Party from, bool passed);
  void esp_came(const Seen& packet, Party from, bool passed);
  void phase_two_came(const Message& message, bool passed);
  void ike_left(const Seen& packet, Party to);
  void esp_left(const Seen& packet, Party to);
  /// On UDP 4500, from a server that does not know yet where the client is now.
  [[nodiscard]] bool is_for_old_mapping(const Seen& packet);
  void first_left(std::uint32_t exchange);
  void waited(std::uint32_t exchange);
  [[nodiscard]] Misdelivery classify(std::uint32_t tunnel, const Seen& packet,
                                     std::uint32_t receiver);
  /// A reload has taken the address, but not all shards have heard of it: one packet may still
  /// leave from it after another has not.
  [[nodiscard]] bool is_leaving(Ip source) const;
  /// A reload or a restart is so recent that shards may differ about it.
  [[nodiscard]] bool is_unsettled() const {
    return !losses_.empty() && world_.now() < losses_.back().at + kSecond;
  }
  /// All shards have the profile.
  [[nodiscard]] bool is_on() const { return has_profile_ && had_profile_; }
  void forget_what_went();
  [[nodiscard]] bool is_forgotten(const Tunnel& tunnel) const;
  [[nodiscard]] bool is_owed(const Tunnel& tunnel);
  [[nodiscard]] bool is_confused(const Tunnel& tunnel);
  [[nodiscard]] bool any_tunnel_beside(const Tunnel& tunnel, auto&& is_it) const;
  /// Design 5: its exchange came to nothing, as far as can be seen.
  [[nodiscard]] bool came_to_nothing(const Tunnel& tunnel);
  void went_on(Peer& peer, Party from);
  void misdelivered(const Seen& packet, std::uint32_t receiver);
  /// The longest wait of a client with so many before it.
  [[nodiscard]] Time longest_wait(std::size_t ahead) const;
  /// The NAT has lost all that it learnt after `kept` of that client, or of all (kNobody).
  void forget(Time kept, std::uint32_t client);
  void expect_source(std::uint32_t client, Ip source);
  void look_at_tables();
  void take_events();

  /// The drops since the last call.
  [[nodiscard]] std::string drops();
  void fault(std::uint32_t server, const std::string& what);
  void note(std::uint32_t server, std::string text);
  [[nodiscard]] std::string name_of(const Message& message) const;

  World& world_;
  Sums sums_;
  std::vector<std::string> faults_;
  std::deque<Note> notes_;
  std::uint32_t server_of_fault_ = kNobody;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Peer> peers_;
  std::vector<IkeSeen> ikes_;
  std::map<GateKey, GateSeen> gates_;
  /// The state that the NAT keeps, and since when without a gap.
  struct Kept {
    Time since = kNever, kept_until = kNever;
    void keep(Time now, Time lasts) {
      if (now >= kept_until) since = now;
      kept_until = std::max(kept_until, now + lasts);
    }
  };
  struct Source : Kept {
    Ip ip;
  };
  std::map<std::uint32_t, Source> sources_;  ///< by client
  struct Mapping : Kept {
    Endpoint nat;
    bool is_answered = false;
  };
  /// Of UDP 500, by client, server, the client's port.
  std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint16_t>, Mapping> mappings_;
  std::map<std::uint32_t, Endpoint> mappings_4500_;  ///< the latest, by link; these idle out
  struct Loss {
    std::uint32_t client;  ///< kNobody: all of them
    Time kept, at;
  };
  std::vector<Loss> losses_;
  bool has_profile_ = true;
  bool had_profile_ = true;  ///< and some shards may still have it, or not have it yet
  unsigned addresses_ = ~0u;
  Time reloaded_at_ = kNever;        ///< the latest reload began
  bool is_reloading_ = false;        ///< not all shards have it
  bool for_old_mapping_ = false;     ///< the latest packet was
  std::set<std::uint32_t> strayed_;  ///< messages to where their client is no more, or not yet
  Ip came_to_;                       ///< whereto the last one from a server was addressed
  Time looked_ = 0;
  std::array<std::uint64_t, shared::kDropReasons> dropped_{};
  bool remembers_;  ///< notes, for a failure's replay
};

}  // namespace lsn::test::alg
