// A world of IPsec peers around a laboratory: clients behind the NAT, servers, the network between
// them, and malicious hosts; all of it in virtual time and from one seed.
//
// An event's way: a daemon sends a message (transmit: loss, duplication, delay), it comes to the
// NAT (at_nat: the laboratory's shards), each packet that leaves the NAT is read (Seen) and carried
// on to its destination address; there receive() acts as a daemon would. Witness is told of every
// packet that comes to the NAT or leaves it.
//
// Bodies of messages and ciphertexts are opaque to the product; the world writes into them which of
// its own records they are (Message, Tunnel). So the true receiver of a packet can be read from it,
// without any guess: the oracle shares nothing with the product.
//
//   Link      a client and a server that want tunnels: one connection of two daemons
//   IkeSa     their IKE SA; either side may have it and the other not (any more)
//   Exchange  one exchange: requests and answers in steps, retransmitted like daemons do
//   Tunnel    a pair of ESP SAs that a phase 2 exchange makes: one "tunnel" in all the sums
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "support/lab.hpp"
#include "support/packet_builder.hpp"

namespace lsn::test::alg {

/// Milliseconds since the world began. The product sees them in ticks of 10.
using Time = std::int64_t;
inline constexpr Time kNever = -1;
inline constexpr Time kSecond = 1000, kMinute = 60 * kSecond;

inline constexpr std::uint32_t kNobody = 0xFFFFFFFF;

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t operator()() { return engine_(); }
  std::uint64_t pick(std::uint64_t n) { return engine_() % n; }
  Time between(Time low, Time high) {
    return low + static_cast<Time>(pick(static_cast<std::uint64_t>(high - low + 1)));
  }
  /// In `n` of a million cases.
  bool chance(unsigned n) { return pick(1000000) < n; }
  bool flip() { return pick(2) == 0; }

 private:
  std::mt19937_64 engine_;
};

/// The behaviours of worlds beyond plain tunnels on a plain network. Each can be left out by its
/// name; the first three are cases that no NAT can know, generated on purpose.
enum class Behaviour : std::uint8_t {
  kLate,         ///< a server's first packet comes 2T or more after the turn
  kSameSpi,      ///< two clients choose the same SPI
  kForged,       ///< a host forges the server's address
  kFailures,     ///< phase 2 that is refused, unanswered, or not authenticated
  kPhaseOne,     ///< rekeys of phase 1 (IKEv1), reauthentication (IKEv2): the tunnels live on
  kConnections,  ///< several connections of a client to one server, from one port
  kBursts,       ///< more than eight Quick Modes at once
  kServerFirst,  ///< servers that speak first, long after the turn
  kIdleOut,      ///< ESP sessions idle out, dead peer detection keeps IKE
  kRestarts,     ///< of the NAT, with its state file and without it
  kReloads,      ///< addresses come and go, the profile goes and comes
  kFragments,    ///< of IKE
  kOffice,       ///< a client behind which many peers float
  kCount
};
inline constexpr std::size_t kBehaviours = static_cast<std::size_t>(Behaviour::kCount);
inline constexpr std::array<std::string_view, kBehaviours> kBehaviourNames = {
    "late",         "same-spi", "forged",   "failures", "phase-one", "connections", "bursts",
    "server-first", "idle-out", "restarts", "reloads",  "fragments", "office"};

class Behaviours {
 public:
  [[nodiscard]] bool has(Behaviour one) const { return on_[static_cast<std::size_t>(one)]; }
  void set(std::size_t one, bool on) { on_[one] = on; }

 private:
  std::array<bool, kBehaviours> on_{};
};

/// The rules of a world.
struct Rules {
  // the product
  unsigned shards = 1, nat_addresses = 1;
  Arrival arrival = Arrival::kFirst;
  Time gate_timeout = 30 * kSecond, ike_timeout = 60 * kMinute, esp_timeout = 60 * kMinute;
  unsigned hold = 64, fresh = 256, candidates = 4;
  bool require_ike = false, spread = true;
  // the peers
  unsigned clients = 4, servers = 2;
  Time rekey = 60 * kSecond;   ///< mean age of a tunnel when it is rekeyed
  Time length = 20 * kMinute;  ///< until no peer begins anything any more
  unsigned restarts = 0;       ///< of a million rekeys: it is a restart instead
  unsigned idle = 0;           ///< of a million tunnels: silent for a while
  Time idle_for = 0;
  unsigned failures = 0;      ///< of a million phase 2 exchanges
  unsigned hopeless = 0;      ///< of a million links: never authenticated
  unsigned phase_one = 0;     ///< of a million rekeys: of phase 1 first
  unsigned connections = 0;   ///< of a million links: there is a second one
  unsigned bursts = 0;        ///< of a million IKEv1 SAs: many Quick Modes at once
  unsigned server_first = 0;  ///< of a million tunnels: it speaks first, after up to ten turns
  unsigned idle_out = 0;      ///< of a million tunnels
  unsigned fragmented = 0;    ///< of a million messages
  bool office = false;
  // the operator's actions: mean times between, 0: never
  Time nat_restarts = 0, reloads = 0;
  // the network, of a million packets
  unsigned loss = 0, duplicates = 0, reordered = 0, stray = 0;
  Time longest_delay = 0;  ///< of strays
  // cases that no NAT can know, of a million tunnels
  unsigned late = 0, same_spi = 0;
  bool spoofer = false;
  unsigned malicious = 0;  ///< clients

  [[nodiscard]] bool is_lossless() const {
    return loss == 0 && duplicates == 0 && reordered == 0 && stray == 0;
  }
  /// No loss, malice or idleness, and the NAT keeps its state.
  [[nodiscard]] bool is_calm() const {
    return is_lossless() && malicious == 0 && !spoofer && idle == 0 && late == 0 && same_spi == 0 &&
           hold != 0 && server_first == 0 && idle_out == 0 && nat_restarts == 0 && reloads == 0;
  }
  [[nodiscard]] static Rules any(Random& random, const Behaviours& behaviours);
  /// `addresses`: which of nat_addresses the pool has, as bits.
  [[nodiscard]] Config config(unsigned addresses, bool has_profile) const;
  [[nodiscard]] std::string text() const;
};

enum class Party : std::uint8_t { kClient, kServer };
[[nodiscard]] constexpr std::size_t at(Party party) {
  return static_cast<std::size_t>(party);
}
[[nodiscard]] constexpr Party other(Party party) {
  return party == Party::kClient ? Party::kServer : Party::kClient;
}

/// How a daemon retransmits: waits first, first * factor / 10, ... and gives up.
struct Patience {
  Time first = kSecond;
  unsigned factor = 20;  ///< in tenths
  unsigned tries = 5;
  Time longest = 30 * kSecond;
};

struct Link {
  std::uint32_t client = 0, server = 0;
  unsigned version = 2;
  bool nat_traversal = false;
  bool hopeless = false;                ///< the server never authenticates the client
  std::uint16_t port[2] = {500, 4500};  ///< the client's, before and after it floats
  Time half_way = 10;                   ///< between the NAT and the server
  Patience patience[2];
  std::uint32_t ike[2] = {kNobody, kNobody};     ///< the latest that a side has
  std::uint32_t newest[2] = {kNobody, kNobody};  ///< tunnel
  Endpoint learned;                              ///< the client as the server knows it, phase 1
  unsigned life = 0;                             ///< counts restarts of the client
  std::vector<std::uint32_t> tunnels, ikes;      ///< all that there were
};

struct IkeSa {
  std::uint32_t link = 0;
  std::uint64_t spi[2] = {0, 0};  ///< initiator, responder
  Party initiator = Party::kClient;
  bool alive[2] = {false, false};
  std::uint32_t next_id[2] = {0, 0};
  bool busy[2] = {false, false};  ///< IKEv2: its own request is not answered
  // what the witness notes
  std::uint32_t unanswered = 0;  ///< exchanges that were admitted and are not answered
  std::uint32_t answered = 0;    ///< answers that left the NAT
  bool has_auth = false;         ///< an IKE_AUTH was begun
};

enum class Kind : std::uint8_t { kPhaseOne, kAuth, kQuick, kChild, kIkeRekey, kInfo };
[[nodiscard]] constexpr bool is_phase_two(Kind kind) {
  return kind != Kind::kPhaseOne && kind != Kind::kInfo;
}

/// The outcome of a phase 2 exchange.
enum class Outcome : std::uint8_t {
  kTunnel,
  kRefused,       ///< IKEv2: an error in the answer. IKEv1: an informational message, no answer
  kUnanswered,    ///< the responder ignores it
  kNotAuthentic,  ///< IKE_AUTH fails, with it the IKE SA
};

struct Exchange {
  std::uint32_t link = 0, ike = 0;
  Party initiator = Party::kClient;
  Kind kind = Kind::kInfo;
  unsigned life = 0;
  Outcome outcome = Outcome::kTunnel;
  bool is_beside = false;           ///< of phase 1: the IKE SA that there is lives on
  std::uint32_t refuses = kNobody;  ///< kInfo: the exchange that comes to nothing
  std::uint32_t tunnel = kNobody;   ///< that it makes
  std::uint32_t old = kNobody;      ///< that it replaces
  std::uint32_t new_ike = kNobody;  ///< kIkeRekey
  unsigned steps = 1, step = 0;     ///< requests in all; answered so far
  unsigned responded = 0;           ///< requests that the responder has seen
  std::uint32_t first_id = 0;       ///< message ID of the first request
  std::uint32_t request = kNobody, answer = kNobody, third = kNobody;  ///< the latest messages
  unsigned tries = 0, answer_tries = 0;
  bool done = false, failed = false, confirmed = false;
  bool aggressive = false, intermediate = false;
  // what the witness notes
  Time first_left = kNever;     ///< its first message left the NAT
  Time known_since = kNever;    ///< the same; again when the NAT had forgotten it
  Time latest_left = kNever;    ///< a request of it that had not left before
  Time answered_left = kNever;  ///< the first answer left the NAT
  unsigned requests_left = 0, answers_left = 0;
  std::uint32_t place = 0;  ///< IkeSa::answered when it was answered
  bool counts_unanswered = false;
  bool is_unwatched = false;    ///< a message of it left while not all shards had the profile
  Time blocked_since = kNever;  ///< its first message came, and did not pass
  Time waits_since = kNever, waits_until = kNever, last_asked = kNever;
};

struct Message {
  std::uint32_t exchange = kNobody;
  unsigned step = 0;
  Party from = Party::kClient;
  bool is_answer = false, is_third = false;
  std::uint32_t sender = 0;  ///< of no exchange: the malicious client
  unsigned fragments = 1;
  std::uint64_t received = 0;  ///< the fragments that have come, as bits
  bool left = false;           ///< the NAT has forwarded it
  Bytes payload;               ///< if it is in one piece
};

/// Why an inbound packet came to a client that had not chosen its SPI.
enum class Misdelivery : std::uint8_t {
  kNone,
  // no NAT can know these: generated on purpose
  kLate,
  kSameSpi,
  kForged,
  kConsequence,  ///< the owner's place had been taken by another misdelivered packet
  kContended,    ///< both clients were owed an SPI, and the receiver had sent on its own already
  kLured,        ///< as kContended, and the receiver is malicious
  kForgotten,    ///< the NAT had lost its state: a restart without a file, no profile
  kOutlived,     ///< its session (on UDP 4500: its mapping) had idled out
  // never
  kWrong,
  kCount
};

struct Tunnel {
  std::uint32_t link = 0, exchange = 0;
  std::uint32_t spi[2] = {0, 0};  ///< by the side that chose it and receives on it
  unsigned life = 0;
  bool alive[2] = {false, false};
  bool installed[2] = {false, false};  ///< was alive once
  bool superseded = false;
  std::uint32_t sequence[2] = {0, 0};
  unsigned sent[2] = {0, 0}, received[2] = {0, 0};
  unsigned rounds = 2;
  bool server_first = false, late = false;
  bool is_parallel = false;              ///< one of many at once
  Time quiet = 0;                        ///< without packets for so long
  Time sleeps_until = kNever;            ///< its session idles out meanwhile
  unsigned received_before[2] = {0, 0};  ///< it slept
  Time asked = kNever;                   ///< the client's first packet
  // the witness's notes, by direction (the sender)
  Time first_came[2] = {kNever, kNever};
  Time last_left[2] = {kNever, kNever};
  unsigned left[2] = {0, 0};  ///< packets since its session changed
  Misdelivery misdelivery = Misdelivery::kNone;
  Time misdelivered = kNever, last_misdelivered = kNever;  ///< the first one, the latest
  std::uint32_t receiver = kNobody;
  Time received_since = kNever;  ///< by that receiver
  Time new_since = kNever;       ///< the client's SPI has been known since then
  bool is_answered = false;      ///< a packet of the server's came home, and that is not forgotten
  Time answered = kNever;        ///< the first such
  Time learnt = kNever;          ///< the server's SPI was, for its client
  Time one_way_since = kNever;   ///< its client talks, the server's answers are refused
};

/// A packet, as the world's own marks in it say.
struct Seen {
  enum class What : std::uint8_t { kForeign, kIke, kEsp } what = What::kForeign;
  bool on_4500 = false;
  Endpoint source, destination;
  std::uint32_t record = kNobody;  ///< Message or Tunnel
  std::uint32_t spi = 0;
  std::uint32_t sequence = 0;  ///< of IKE: the fragment's number, 0: in one piece
  std::uint32_t sender = 0;    ///< without a record: the malicious client
  bool wants_reply = false;
  [[nodiscard]] bool is_forged() const { return what == What::kEsp && record == kNobody; }
};
[[nodiscard]] Seen read(ByteView ip_packet);

class World;

/// The watcher of the NAT.
class Witness {
 public:
  virtual ~Witness() = default;
  /// Something came to the NAT and these packets left it; `from`: its sender.
  virtual void came(const Seen& packet, Party from, const std::vector<Seen>& left) = 0;
  /// A packet leaves, for any reason; `to`: the party on that side.
  virtual void left(const Seen& packet, Party to) = 0;
  /// Some time has passed.
  virtual void passed() = 0;
  /// The NAT is about to be killed or reloaded.
  virtual void before_change() = 0;
  /// It was killed and runs again. State from after `restored` (kNever: all) is forgotten.
  virtual void restarted(Time restored) = 0;
  /// From now on shards adopt a configuration with these addresses of the pool (as bits), with the
  /// profile or without it; until reloaded() some may not have.
  virtual void reloading(unsigned addresses, bool has_profile) = 0;
  virtual void reloaded() = 0;
};

class World {
 public:
  World(std::uint64_t seed, const Behaviours& behaviours);

  void attend(Witness& witness) { witness_ = &witness; }
  /// Runs until no event is left; false: `stop` said so.
  bool run(const std::function<bool()>& stop);
  /// Nothing comes for so long.
  void wait(Time time);

  [[nodiscard]] Time now() const { return now_; }
  [[nodiscard]] Lab& lab() { return *lab_; }
  Rules rules;

  std::vector<Link> links;
  std::vector<IkeSa> ike_sas;
  std::vector<Exchange> exchanges;
  std::vector<Message> messages;
  std::vector<Tunnel> tunnels;
  std::uint64_t packets = 0, forged = 0;
  std::uint64_t restarts = 0, ike_rekeys = 0, collisions = 0, given_up = 0;
  std::uint64_t failures = 0, phase_one_rekeys = 0, bursts = 0, idled_out = 0, came_back = 0;
  std::uint64_t nat_restarts = 0, reloads = 0, fragmented = 0;
  /// Tunnels by the SPI that the client chose.
  std::unordered_multimap<std::uint32_t, std::uint32_t> by_spi[2];

  [[nodiscard]] Ip client_ip(std::uint32_t client) const { return Ip{"192.0.2.10"} + client; }
  [[nodiscard]] Ip server_ip(std::uint32_t server) const { return Ip{"198.18.0.1"} + server; }
  [[nodiscard]] Ip nat_ip(unsigned i) const { return Ip{"203.0.113.3"} + i; }
  [[nodiscard]] bool is_malicious(std::uint32_t client) const { return client >= rules.clients; }

 private:
  struct Event {
    Time time;
    std::uint64_t number;
    std::function<void()> action;
    bool operator<(const Event& o) const {
      return time != o.time ? time > o.time : number > o.number;
    }
  };

  void after(Time delay, std::function<void()> action);
  [[nodiscard]] bool is_over() const { return now_ >= rules.length; }
  [[nodiscard]] bool chance(unsigned n) { return random_.chance(n); }

  // the network
  void transmit(Party from, const Link& link, const IpPacket& packet);
  void at_nat(Party from, const Bytes& packet);
  void move_clock(Time to);
  void carry_on(std::vector<Frame> frames);
  void receive(Party at_party, const Seen& packet);

  // the operator
  void restart_nat();
  void reload();

  // daemons
  std::uint32_t add_link(std::uint32_t client, std::uint32_t server);
  void begin(std::uint32_t link);
  void begin_beside(std::uint32_t link, Party initiator, std::uint32_t old);
  void begin_again(std::uint32_t link, Time pause);
  std::uint32_t new_ike(std::uint32_t link, Party initiator);
  void negotiate(std::uint32_t link, Party initiator, Kind kind, std::uint32_t old = kNobody,
                 bool is_parallel = false);
  void refuse(std::uint32_t exchange);
  [[nodiscard]] Outcome any_outcome(const Link& link, Kind kind);
  void start(Exchange exchange);
  void request(std::uint32_t exchange);
  void retransmit(std::uint32_t exchange, unsigned step, Time pause);
  void retransmit_answer(std::uint32_t exchange, Time pause);
  std::uint32_t compose(std::uint32_t exchange, Party from, bool is_answer, bool is_third);
  void send(std::uint32_t message, const Endpoint* to = nullptr);
  void receive_request(const Message& message, const Seen& packet);
  void receive_answer(const Message& message);
  void finish(std::uint32_t exchange);
  void came_to_nothing(std::uint32_t exchange);
  void give_up(std::uint32_t exchange);
  void install(std::uint32_t tunnel, Party party);
  void supersede(std::uint32_t old, Party initiator);
  void bury(std::uint32_t tunnel);
  void schedule_rekey(std::uint32_t tunnel);
  void rekey(std::uint32_t tunnel, Party initiator);
  void check_liveness(std::uint32_t link, unsigned life);

  // ESP
  void talk(std::uint32_t tunnel, Party from, Time pause, unsigned tries);
  void send_esp(std::uint32_t tunnel, Party from, bool wants_reply);
  void receive_esp(Party at_party, const Seen& packet);
  void keep_alive(std::uint32_t tunnel);
  void sleep(std::uint32_t tunnel);
  void wake(std::uint32_t tunnel, Party from, Time pause, unsigned tries);

  // malicious hosts
  void spoof();
  void misbehave(std::uint32_t client, std::uint32_t server, std::uint64_t spi);

  Random random_;
  Lab::Options options_;
  std::unique_ptr<Lab> lab_;
  unsigned addresses_ = 0;  ///< of the pool now, as bits
  bool has_profile_ = true, is_reloading_ = false;
  Witness* witness_ = nullptr;
  Time now_ = 0;
  state::Ticks start_;
  std::uint64_t number_ = 0;
  std::vector<Event> events_;
};

}  // namespace lsn::test::alg
