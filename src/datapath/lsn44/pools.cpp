#include "lsn/datapath/lsn44/pools.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <span>

#include "lsn/state/bits.hpp"
#include "lsn/state/none.hpp"
#include "lsn/state/random.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// The slots of all groups' addresses that new sessions may use. Groups of the same pools have one
/// set.
void make_sets(const Generation& generation, ShardId shard, ShardAddresses& result) {
  std::map<std::vector<std::uint16_t>, std::uint32_t> known;
  for (const Group& group : generation.groups) {
    const auto [place, is_new] =
        known.emplace(group.pools, static_cast<std::uint32_t>(result.sets.size()));
    result.set_of_group.push_back(place->second);
    if (!is_new) continue;
    std::map<std::uint32_t, std::uint64_t> words;
    if (shard < group.addresses_of.size())
      for (const wire::Ipv4Address ip : group.usable_of(shard)) {
        const std::uint32_t slot =
            result.by_number[generation.nat_addresses.find(ip)->number]->slot;
        words[slot / 64] |= std::uint64_t{1} << slot % 64;
      }
    AddressSet& set = result.sets.emplace_back();
    for (const auto& [number, slots] : words) set.words.push_back({number, slots});
  }
}

/// The ports that static mappings want of one protocol at an address; nothing: none.
std::optional<state::PortSet> wanted_ports(std::span<const StaticMapping> mappings,
                                           Protocol protocol) {
  std::optional<state::PortSet> wanted;
  for (const StaticMapping& mapping : mappings) {
    if (mapping.scope != StaticScope::kAll && mapping.scope != scope_of(protocol)) continue;
    if (!wanted) wanted.emplace();
    if (mapping.is_whole)
      wanted->add_all();
    else
      wanted->add(mapping.nat_port);
  }
  return wanted;
}

}  // namespace

void note_full(ShardAddresses& addresses, const NatAddress& address, Protocol protocol) {
  const auto p = static_cast<std::size_t>(protocol);
  for (unsigned c = 0; c < state::kPortClasses; ++c)
    if (address.ports[p].is_full(c))
      addresses.full.set(p, c, address.slot);
    else
      addresses.full.clear(p, c, address.slot);
}

void reserve(const StaticReservation& reservation) {
  StaticPorts& of = reservation.address->statics[reservation.protocol];
  of = {reservation.wanted.get(), reservation.held};
  state::PortBitmap& ports = reservation.address->ports[reservation.protocol];
  for (std::uint32_t word = 0; word < state::PortSet::kWords; ++word) {
    const std::uint64_t wanted = of.wanted == nullptr ? 0 : of.wanted->word(word);
    const std::uint64_t held = of.held->word(word);
    if (wanted == held) continue;
    const std::uint64_t free = wanted & ~ports.taken_word(word);
    ports.take_word(word, free);
    ports.release_word(word, held & ~wanted);
    of.held->set_word(word, (held & wanted) | free);
  }
}

void FullAddresses::take_over(const FullAddresses& before,
                              const std::vector<std::uint32_t>& fresh) {
  for (std::size_t p = 0; p < full_.size(); ++p)
    for (unsigned c = 0; c < state::kPortClasses; ++c) {
      Words& words = full_[p][c];
      const Words& old = before.full_[p][c];
      std::copy_n(old.begin(), std::min(words.size(), old.size()), words.begin());
      for (const std::uint32_t slot : fresh) clear(p, c, slot);
    }
}

namespace {

/// A slot of the set that is not full; `full_of(number)`: the word of that number.
template <class FullOf>
std::uint32_t find_slot(const AddressSet& set, std::uint32_t random, FullOf&& full_of) {
  const auto size = static_cast<std::uint32_t>(set.words.size());
  std::uint32_t at = state::Random::scale(random, size);
  for (std::uint32_t n = 0; n < size; ++n, at = at + 1 == size ? 0 : at + 1) {
    const AddressSet::Word& word = set.words[at];
    const std::uint64_t room = word.slots & ~full_of(word.number);
    if (room == 0) continue;
    return word.number * 64 + state::any_bit(room, random * 0x9E3779B1u);
  }
  return state::kNone;
}

}  // namespace

std::uint32_t FullAddresses::find_with_room(const AddressSet& set, std::size_t protocol,
                                            unsigned classes, std::uint32_t random) const {
  const auto& full = full_[protocol];
  return find_slot(set, random, [&](std::uint32_t number) {
    std::uint64_t all_full = ~std::uint64_t{0};
    for (unsigned left = classes; left != 0; left &= left - 1)
      all_full &= full[static_cast<std::size_t>(std::countr_zero(left))][number];
    return all_full;
  });
}

std::uint32_t FullAddresses::find_with_block(const AddressSet& set, std::uint32_t random) const {
  return find_slot(set, random, [this](std::uint32_t number) { return no_block_[number]; });
}

std::unique_ptr<ShardAddresses> AddressStore::prepare(const Generation& generation, ShardId shard) {
  auto result = std::make_unique<ShardAddresses>();
  result->by_number.resize(generation.nat_addresses.count(), nullptr);
  std::vector<std::unique_ptr<NatAddress>> fresh;
  for (const auto& range : generation.nat_addresses.all()) {
    if (range.value.owner != shard) continue;
    const wire::Ipv4Address ip{range.first};
    const auto known = std::lower_bound(
        addresses_.begin(), addresses_.end(), ip,
        [](const std::unique_ptr<NatAddress>& a, wire::Ipv4Address b) { return a->ip < b; });
    // Also when it is in another pool now: its ports are taken until their sessions have ended.
    const bool has_blocks = generation.pools[range.value.pool].has_blocks;
    if (known != addresses_.end() && (*known)->ip == ip) {
      // No generation before this one looks at it.
      if (has_blocks && (*known)->blocks == nullptr)
        (*known)->blocks = std::make_unique<state::BlockMap>();
      result->by_number[range.value.number] = known->get();
      continue;
    }
    auto made = std::make_unique<NatAddress>();
    if (has_blocks) made->blocks = std::make_unique<state::BlockMap>();
    made->ip = ip;
    made->serial = ++last_serial_;
    if (free_slots_.empty()) {
      made->slot = slots_++;
    } else {
      made->slot = free_slots_.back();
      free_slots_.pop_back();
    }
    result->by_number[range.value.number] = made.get();
    fresh.push_back(std::move(made));
  }
  for (auto& made : fresh) addresses_.push_back(std::move(made));
  std::sort(addresses_.begin(), addresses_.end(),
            [](const auto& a, const auto& b) { return a->ip < b->ip; });
  result->by_slot.resize(slots_, nullptr);
  result->full = FullAddresses(slots_);
  for (NatAddress* address : result->by_number) {
    if (address == nullptr) continue;
    result->by_slot[address->slot] = address;
    if (address->serial > adopted_serial_) result->fresh_slots.push_back(address->slot);
  }
  make_sets(generation, shard, *result);
  prepare_statics(generation, *result);

  result->realloc.resize(generation.pools.size(), nullptr);
  if (queues_.size() < generation.pools.size()) queues_.resize(generation.pools.size());
  for (std::size_t id = 0; id < generation.pools.size(); ++id) {
    const Pool& pool = generation.pools[id];
    // A queue once created stays through all reloads: ports wait in it. maxPortReallocTmq bounds
    // the ports that are put in.
    if (queues_[id] == nullptr && pool.present && pool.port_realloc_timeout.count() != 0)
      queues_[id] = std::make_unique<ReallocQueue>(ReallocQueue::kMaxCapacity);
    result->realloc[id] = queues_[id].get();
  }
  return result;
}

void AddressStore::prepare_statics(const Generation& generation, ShardAddresses& result) {
  static const auto kAllPorts = [] {
    auto all = std::make_shared<state::PortSet>();
    all->add_all();
    return std::shared_ptr<const state::PortSet>(std::move(all));
  }();
  for (NatAddress* address : result.by_number) {
    if (address == nullptr) continue;
    const auto mappings = generation.statics == nullptr
                              ? std::span<const StaticMapping>{}
                              : generation.statics->of_nat_address(address->ip);
    if (mappings.empty() && !static_sets_.contains(address->serial)) continue;
    auto& sets = static_sets_[address->serial];
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
      StaticSets& set = sets[protocol];
      const auto wanted = wanted_ports(mappings, protocol);
      if (!wanted && set.held == nullptr) continue;
      if (set.held == nullptr) set.held = std::make_unique<state::PortSet>();
      auto before = set.wanted;
      if (!wanted)
        set.wanted = nullptr;
      else if (*wanted == *kAllPorts)
        set.wanted = kAllPorts;
      else if (set.wanted == nullptr || *set.wanted != *wanted)
        set.wanted = std::make_shared<const state::PortSet>(*wanted);
      if (set.wanted == before) continue;
      StaticReservation change{address, protocol, set.wanted, std::move(before), set.held.get()};
      // Nobody else knows an address that the shard has not had yet.
      if (address->serial > adopted_serial_)
        reserve(change);
      else
        result.statics.push_back(std::move(change));
    }
  }
}

void AddressStore::discard(const ShardAddresses& in_use) {
  std::vector<const NatAddress*> keep(in_use.by_number.begin(), in_use.by_number.end());
  std::sort(keep.begin(), keep.end());
  std::erase_if(addresses_, [&](const std::unique_ptr<NatAddress>& address) {
    if (std::binary_search(keep.begin(), keep.end(), address.get())) {
      adopted_serial_ = std::max(adopted_serial_, address->serial);
      return false;
    }
    free_slots_.push_back(address->slot);
    static_sets_.erase(address->serial);
    return true;
  });
}

}  // namespace lsn::datapath::lsn44
