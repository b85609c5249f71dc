// Port blocks and deterministic NAT, as the configuration has them.
//
// A dynamic group has port blocks if its pools have portblockallocation ENABLED; a deterministic
// one has a block for each subscriber. Which block that is follows from the model alone: workers,
// `show lsn deterministicNat`, and `lsnctl deterministic` without a daemon all ask the map that is
// made here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/shared/deterministic.hpp"

namespace lsn::control {

/// portblocksize where 0 stands for the default and ports are given in blocks.
inline constexpr std::uint32_t kDefaultBlockSize = 256;

/// Ports in a block of the group; 0: it has no blocks.
[[nodiscard]] std::uint32_t port_block_size(const Model& model, const GroupConfig& group);

/// What an allocPolicy says of deterministic NAT.
[[nodiscard]] shared::BlockOrder block_order(AllocPolicy policy);

/// Of a group with nattype DETERMINISTIC and a block size of 64,512 at most.
[[nodiscard]] shared::DeterministicMap deterministic_map(const Model& model,
                                                         const GroupConfig& group);

/// The subscribers that share a NAT address, in the order of their blocks.
[[nodiscard]] std::vector<shared::InsideAddress> subscribers_at(const shared::DeterministicMap& map,
                                                                wire::Ipv4Address nat_ip);

/// "1024 subscribers on 7 addresses, blocks of 256 ports, 252 of an address: 1764 blocks, 740 free"
[[nodiscard]] std::string to_text(const shared::DeterministicMap& map);

}  // namespace lsn::control
