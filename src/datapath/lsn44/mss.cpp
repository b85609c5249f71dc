#include "lsn/datapath/lsn44/mss.hpp"

#include <algorithm>
#include <cstring>

#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/wire/checksum.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// Overwrites the number at a place of the header, which may be an odd one: the checksum goes by
/// the two words that it lies in then.
void replace(wire::TcpHeader& tcp, std::uint8_t* at, std::uint16_t number) {
  auto* const begin = reinterpret_cast<std::uint8_t*>(&tcp);
  // The header's size is a multiple of four: both words are within it.
  std::uint8_t* const words = begin + (at - begin) / 2 * 2;
  const std::size_t size = words == at ? 2 : 4;
  wire::Be16 before[2], after[2];
  std::memcpy(before, words, size);
  at[0] = static_cast<std::uint8_t>(number >> 8);
  at[1] = static_cast<std::uint8_t>(number);
  std::memcpy(after, words, size);
  wire::ChecksumDelta delta;
  for (std::size_t i = 0; i < size / 2; ++i) delta.replace(before[i], after[i]);
  tcp.checksum = delta.apply(tcp.checksum);
}

/// The smaller limit; 0 is none.
std::uint16_t smaller(std::uint16_t a, std::uint16_t b) {
  return a == 0 || (b != 0 && b < a) ? b : a;
}

/// Of the interfaces that a packet comes in and leaves by.
std::uint16_t interface_limit(Lsn44& shard, const Packet& packet, NeighbourId hop) {
  const Generation& generation = *shard.generation;
  const std::uint16_t limit = generation.interfaces[packet.interface].tcp_mss;
  return hop < kHairpinHop
             ? smaller(limit, generation.interfaces[shard.neighbours[hop].interface].tcp_mss)
             : limit;
}

}  // namespace

void lower_mss(wire::TcpHeader& tcp, std::uint16_t limit) {
  wire::for_each_tcp_option(tcp, [&](std::uint8_t kind, std::span<std::uint8_t> data) {
    if (kind != wire::kTcpOptionMss || data.size() != 2) return;
    if ((data[0] << 8 | data[1]) > limit) replace(tcp, data.data(), limit);
  });
}

void clamp_mss(Lsn44& shard, const Packet& packet, SessionId id, Direction direction) {
  const Generation& generation = *shard.generation;
  const Session& session = shard.lsn44.sessions[id];
  const SessionCold& cold = shard.lsn44.cold[id];
  std::uint16_t limit = interface_limit(shard, packet, session.hop[direction]);
  if (const Group* group = generation.group(shard.lsn44.subscribers[cold.subscriber].group))
    if (const auto port = policy_port(shard, session, cold))
      limit = smaller(limit, group->app(Protocol::kTcp, *port).tcp_mss);
  if (limit != 0) lower_mss(*reinterpret_cast<wire::TcpHeader*>(packet.l4), limit);
}

void clamp_mss(Lsn44& shard, const Packet& packet, NeighbourId hop) {
  const std::uint16_t limit = interface_limit(shard, packet, hop);
  if (limit != 0) lower_mss(*reinterpret_cast<wire::TcpHeader*>(packet.l4), limit);
}

}  // namespace lsn::datapath::lsn44
