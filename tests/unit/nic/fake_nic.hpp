// A NIC of which only the distribution of received packets is there, behind rte_ethdev's functions.
//
// This executable defines them instead of DPDK's library: what is called in the product comes here.
// A FakeNic has the habits of a driver of DPDK 22.11 as they are read in its source (`where` names
// file and line): when it takes key and table, what it forgets at a start, what it takes and does
// not do. receive() is the hardware: Toeplitz by the key that has come to it, then its table.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lsn::test {

struct Habits {
  const char* driver = "net_fake";
  const char* where = "";
  std::uint16_t table = 128;  ///< entries; 0: none
  std::uint8_t key_size = 40;
  std::uint64_t types = 0;
  unsigned queues = 64;
  bool delivers_hash = true;

  enum class When { kConfigure, kStart } reads_key = When::kStart;
  std::size_t reads_key_bytes = 40;       ///< whatever length it is told
  std::size_t least_key = 0;              ///< a shorter one: its own instead, and nothing said
  std::size_t only_key = 0;               ///< another length: -EINVAL
  bool ignores_second_key = false;        ///< of a second configuration
  bool has_key_functions = true;          ///< rss_hash_update(), rss_hash_conf_get()
  bool tells_table_when_started = false;  ///< before, there is none
  bool table_needs_start = false;         ///< -EIO before
  bool start_makes_table = true;          ///< a table of its own at each start
  bool configure_makes_table = false;
  std::uint64_t forced_types = 0;  ///< hashed whether told or not
  bool hashes_fragments = true;
  bool destination_first = false;  ///< no NIC does; for what must be noticed
  bool addresses_later = false;    ///< 64 bits of zeros in front of them; for what must be noticed
  bool refuses_table = false;
  std::uint16_t table_when_started = 0;  ///< another size then, until it is told one (net_mlx5)
  bool takes_any_size = false;           ///< and has that size from then on
};

/// A received packet, as far as its distribution goes.
struct Received {
  std::uint32_t source = 0, destination = 0;
  enum class Kind { kTcp, kUdp, kSctp, kOther, kFragment } kind = Kind::kUdp;
  std::uint16_t source_port = 0, destination_port = 0;
};

class FakeNic {
 public:
  explicit FakeNic(Habits habits);
  ~FakeNic();
  FakeNic(const FakeNic&) = delete;
  FakeNic& operator=(const FakeNic&) = delete;

  [[nodiscard]] rte_eth_dev_info info() const;
  int configure(unsigned queues, const rte_eth_conf& conf);
  int start();
  void stop();

  /// The queue, and the hash if it has made one.
  struct Way {
    unsigned queue;
    std::optional<std::uint32_t> hash;
  };
  [[nodiscard]] Way receive(const Received& packet) const;

  // What rte_ethdev's functions do.
  int hash_update(const rte_eth_rss_conf& conf);
  int hash_get(rte_eth_rss_conf& conf) const;
  int table_update(const rte_eth_rss_reta_entry64* groups, std::uint16_t size);
  int table_query(rte_eth_rss_reta_entry64* groups, std::uint16_t size) const;

  unsigned table_updates = 0;

 private:
  void read_key(const std::uint8_t* key, std::size_t length);
  void make_table();

  Habits habits_;
  bool started_ = false;
  bool configured_ = false;
  bool rss_ = false;
  unsigned queues_ = 1;
  rte_eth_conf conf_{};  ///< with the pointer to the key, as ethdev keeps it
  std::vector<std::uint8_t> key_;
  std::uint64_t types_ = 0;
  std::vector<std::uint16_t> table_;
};

/// The driver behind port 0.
[[nodiscard]] FakeNic& present_nic();

}  // namespace lsn::test
