// LSN44's hooks for an ALG (lsn44/alg_hooks.hpp), implemented by the only one that there is.

#include <algorithm>
#include <vector>

#include "lsn/datapath/ipsec_alg/attribution.hpp"
#include "lsn/datapath/ipsec_alg/clockwork.hpp"
#include "lsn/datapath/ipsec_alg/esp.hpp"
#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/inspect.hpp"
#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/ports.hpp"

namespace lsn::datapath::lsn44::alg_hooks {
namespace {

/// NAT addresses that are looked at for one on which no client talks to a server.
constexpr std::uint32_t kSpreadLimit = 1024;

const wire::Be16 kIkePort = wire::Be16::of(wire::kIkePort);
const wire::Be16 kNatTraversalPort = wire::Be16::of(wire::kNatTraversalPort);

/// Every shard has all floors (context.hpp).
IpsecAlg& alg_of(Lsn44& shard) {
  return static_cast<IpsecAlg&>(shard);
}
const IpsecAlg& alg_of(const Lsn44& shard) {
  return static_cast<const IpsecAlg&>(shard);
}

using ipsec_alg::find_profile;

}  // namespace

bool is_inspected(const Lsn44& shard, std::uint16_t group, Protocol protocol,
                  wire::Be16 server_port) {
  return protocol == Protocol::kUdp &&
         (server_port == kIkePort || server_port == kNatTraversalPort) &&
         find_profile(shard, group) != nullptr;
}

bool preserves_port(const Lsn44& shard, std::uint16_t group, wire::Be16 inside_port,
                    wire::Be16 server_port) {
  if (server_port != kIkePort || inside_port != kIkePort) return false;
  const AlgProfile* profile = find_profile(shard, group);
  return profile != nullptr && profile->ike_preserve_port;
}

void choose_address(Lsn44& lsn44, Subscriber& subscriber, const Group& group, wire::Be32 server) {
  IpsecAlg& shard = alg_of(lsn44);
  const AlgProfile* profile = find_profile(shard, subscriber.group);
  if (profile == nullptr || !profile->server_spread || subscriber.paired_ip.raw() != 0 ||
      group.deterministic != nullptr)
    return;
  if (group.is_drained(shard.id) && !lsn44::is_alive(subscriber)) return;
  const std::vector<wire::Ipv4Address>& all = group.usable_of(shard.id);
  const auto n = static_cast<std::uint32_t>(all.size());
  const std::uint32_t start = shard.random.below(n);
  for (std::uint32_t i = 0; i < std::min(n, kSpreadLimit); ++i) {
    const wire::Be32 nat_ip = all[(start + i) % n].be();
    if (ipsec_alg::find_gate(shard, nat_ip, server) != state::kNone ||
        !has_room_for_subscriber(*find_nat_address(shard, nat_ip), group))
      continue;
    pair_with(shard, subscriber, nat_ip);
    if (i != 0 || n > 1) ipsec_alg::count(shard, profile->id, AlgCounter::kAddressesSpread);
    return;
  }
}

Verdict inspect(Lsn44& shard, Packet& packet, SessionId id, Direction direction) {
  return ipsec_alg::inspect(alg_of(shard), packet, id, direction);
}

bool is_for_shared_port(const Lsn44& shard, const Packet& packet) {
  return ipsec_alg::is_for_port_keepers(alg_of(shard), packet);
}

SessionId demultiplex(Lsn44& shard, Packet& packet) {
  return ipsec_alg::demultiplex(alg_of(shard), packet);
}

SessionId demultiplex_quoted(Lsn44& shard, wire::Be32 nat_ip, wire::Be32 remote,
                             std::span<const std::uint8_t> datagram, std::size_t size) {
  return ipsec_alg::find_port_keeper(alg_of(shard), nat_ip, remote, datagram, size);
}

std::expected<SessionId, DropReason> attribute_outbound(Lsn44& shard, const Packet& packet,
                                                        std::uint16_t group) {
  return ipsec_alg::attribute_outbound(alg_of(shard), packet, group);
}

std::expected<SessionId, DropReason> attribute_inbound(Lsn44& shard, const Packet& packet) {
  return ipsec_alg::attribute_inbound(alg_of(shard), packet);
}

SessionId find_quoted_esp(const Lsn44& shard, Direction error, const InsideAddress& local,
                          wire::Be32 remote, wire::Be32 spi) {
  return ipsec_alg::find_quoted(alg_of(shard), error, local, remote, spi.raw());
}

EspNames esp_names(const Lsn44& shard, std::uint32_t esp) {
  const ipsec_alg::EspSession& session = alg_of(shard).alg.esp_sessions[esp];
  EspNames names;
  for (std::size_t d = 0; d < kDirections; ++d) names.spi[d] = wire::Be32::raw(session.spi[d]);
  return names;
}

bool keeps_mapping_alive(const Lsn44& lsn44, const Session& session) {
  if (session.protocol != Protocol::kUdp || session.remote_port != kIkePort) return false;
  const IpsecAlg& shard = alg_of(lsn44);
  const ipsec_alg::Tables& tables = shard.alg;
  const ipsec_alg::PeerId id =
      ipsec_alg::find_peer(shard, inside_of(shard, session), session.remote_ip);
  if (id == state::kNone) return false;
  const ipsec_alg::Peer& peer = tables.peers[id];
  for (ipsec_alg::IkeId ike = peer.ike_sessions.first; ike != state::kNone;
       ike = tables.ike_sessions[ike].of_peer.next)
    if (tables.ike_sessions[ike].inside_port == session.inside_port) return true;
  return peer.esp_count != 0 && peer.keeps_port(session.inside_port);
}

state::TickDuration esp_idle_timeout(const Lsn44& shard, std::uint32_t esp) {
  return ipsec_alg::esp_idle_timeout(alg_of(shard), esp);
}

void on_udp_session_end(Lsn44& shard, const Session& session) {
  if (session.remote_port == kIkePort) ipsec_alg::on_mapping_end(alg_of(shard), session);
}

void on_esp_session_end(Lsn44& shard, SessionId id, SessionEnd why) {
  ipsec_alg::on_session_end(alg_of(shard), id, why);
}

void on_subscriber_refreshed(Lsn44& shard, SubscriberId id) {
  ipsec_alg::refresh_client(alg_of(shard), id);
}

void on_subscriber_swept(Lsn44& shard) {
  ipsec_alg::release_unused(alg_of(shard));
}

}  // namespace lsn::datapath::lsn44::alg_hooks
