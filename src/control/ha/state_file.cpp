#include "lsn/control/ha/state_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <tuple>
#include <unordered_map>

namespace lsn::control {
namespace {

using Kind = StateRecord::Kind;

static_assert(std::endian::native == std::endian::little);

constexpr std::array<char, 8> kMagic = {'L', 'S', 'N', 'S', 'T', 'A', 'T', 'E'};

struct [[gnu::packed]] Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kStateFileVersion;
  std::uint32_t record_size;
};
static_assert(sizeof(Header) == 16);

/// A StateRecord as it lies in the file. Addresses, ports and SPIs in host order.
struct [[gnu::packed]] Stored {
  std::uint8_t kind;
  std::uint8_t gone;
  std::uint8_t version;
  std::uint8_t answered;
  std::uint8_t keeps_port;
  std::uint8_t shard;
  std::uint16_t inside_port;
  std::uint16_t nat_port;
  std::uint8_t exchange;  ///< its kind
  std::uint8_t from_server;
  std::uint32_t place;
  std::uint32_t client;
  std::uint32_t nat_ip;
  std::uint32_t server;
  std::uint64_t last_seen;  ///< seconds since 1970
  union {
    struct {
      std::uint64_t initiator;
      std::uint64_t responder;
    } ike;
    struct {
      std::uint32_t spi_out;
      std::uint32_t spi_in;
      std::uint64_t none;
    } esp;
    struct {
      std::uint64_t initiator;
      std::uint32_t message_id;
      std::uint32_t latest_request;
    } of_ike;
  };
  std::uint16_t td;  ///< of the client; since version 3, like what follows
  std::uint16_t reserved;
  std::uint32_t checksum;
};
static_assert(sizeof(Stored) == 60);

/// A record of that version: its content, which lacks the end of the present one's, and a checksum
/// behind it.
constexpr std::size_t content_of(std::uint32_t version) {
  return version < 3 ? offsetof(Stored, td) : offsetof(Stored, checksum);
}

std::uint32_t checksum_of(const Stored& stored, std::size_t content = content_of(3)) {
  return static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(&stored), static_cast<uInt>(content)));
}

/// Reads a record of that version; false: it is damaged.
bool read_record(const char* bytes, std::uint32_t version, Stored& stored) {
  const std::size_t content = content_of(version);
  stored = {};
  std::memcpy(&stored, bytes, content);
  std::uint32_t checksum;
  std::memcpy(&checksum, bytes + content, sizeof checksum);
  return checksum == checksum_of(stored, content);
}

Stored store(const StateRecord& record, std::uint64_t now) {
  Stored s{};
  s.kind = static_cast<std::uint8_t>(record.kind);
  s.gone = record.gone ? 1 : 0;
  s.version = record.version;
  s.answered = record.answered ? 1 : 0;
  s.keeps_port = record.keeps_port ? 1 : 0;
  s.shard = record.shard;
  s.inside_port = record.inside_port.host();
  s.nat_port = record.nat_port.host();
  s.place = record.place;
  s.td = record.td;
  s.client = record.client.host();
  s.nat_ip = record.nat_ip.host();
  s.server = record.server.host();
  s.last_seen = now - std::min<std::uint64_t>(now, record.idle_seconds);
  if (record.kind == Kind::kEspSession) {
    s.esp.spi_out = record.spi_out.host();
    s.esp.spi_in = record.spi_in.host();
  } else if (record.kind == Kind::kExchange) {
    s.exchange = record.exchange;
    s.from_server = record.from_server ? 1 : 0;
    s.of_ike.initiator = record.initiator;
    s.of_ike.message_id = record.message_id;
    s.of_ike.latest_request = record.latest_request;
  } else {
    s.ike.initiator = record.initiator;
    s.ike.responder = record.responder;
  }
  s.checksum = checksum_of(s);
  return s;
}

StateRecord load(const Stored& s, std::uint64_t now) {
  StateRecord record;
  record.kind = static_cast<Kind>(s.kind);
  record.gone = s.gone != 0;
  record.version = s.version;
  record.answered = s.answered != 0;
  record.keeps_port = s.keeps_port != 0;
  record.shard = s.shard;
  record.inside_port = wire::Be16::of(s.inside_port);
  record.nat_port = wire::Be16::of(s.nat_port);
  record.place = s.place;
  record.td = s.td;
  record.client = wire::Be32::of(s.client);
  record.nat_ip = wire::Be32::of(s.nat_ip);
  record.server = wire::Be32::of(s.server);
  const std::uint64_t last_seen = s.last_seen;  // a packed member has no address
  record.idle_seconds = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(now - std::min(now, last_seen), UINT32_MAX));
  if (record.kind == Kind::kEspSession) {
    record.spi_out = wire::Be32::of(s.esp.spi_out);
    record.spi_in = wire::Be32::of(s.esp.spi_in);
  } else if (record.kind == Kind::kExchange) {
    record.exchange = s.exchange;
    record.from_server = s.from_server != 0;
    record.initiator = s.of_ike.initiator;
    record.message_id = s.of_ike.message_id;
    record.latest_request = s.of_ike.latest_request;
  } else {
    record.initiator = s.ike.initiator;
    record.responder = s.ike.responder;
  }
  return record;
}

/// Records of the same thing have the same name.
using Name = std::tuple<Kind, std::uint64_t, std::uint32_t, std::uint64_t, std::uint64_t>;
std::uint64_t client_of(const StateRecord& r) {
  return shared::InsideAddress{wire::Ipv4Address{r.client}, r.td}.number();
}
Name key_of(const StateRecord& r) {
  const std::uint64_t client = client_of(r);
  switch (r.kind) {
    case Kind::kEspSession:
      return {r.kind, r.shard, r.place, 0, 0};
    case Kind::kIkeSession:
      return {r.kind, client, r.server.host(), r.initiator, 0};
    case Kind::kExchange:
      return {r.kind, client, r.server.host(), r.initiator,
              std::uint64_t{r.exchange} << 40 | std::uint64_t{r.from_server} << 32 | r.message_id};
    case Kind::kMapping:
      break;
  }
  return {r.kind, client, r.server.host(), r.inside_port.host(), 0};
}

bool is_kind(std::uint8_t kind) {
  return kind >= static_cast<std::uint8_t>(Kind::kMapping) &&
         kind <= static_cast<std::uint8_t>(Kind::kExchange);
}

std::string error_of(std::string_view what, const std::string& path) {
  return fmt::format("state file {}: {}: {}", path, what, strerror(errno));
}

std::expected<std::string, std::string> read_all(const std::string& path) {
  // open() of a FIFO would wait for its other end, and no signal would end that.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (file.get() < 0) {
    if (errno == ENOENT) return std::string();
    return std::unexpected(error_of("cannot be opened", path));
  }
  struct stat status;
  if (fstat(file.get(), &status) != 0) return std::unexpected(error_of("cannot be read", path));
  if (!S_ISREG(status.st_mode))
    return std::unexpected(fmt::format("state file {}: it is none: not a regular file", path));
  std::string bytes;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t n = read(file.get(), buffer.data(), buffer.size());
    if (n == 0) return bytes;
    if (n < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(error_of("cannot be read", path));
    }
    bytes.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

std::expected<void, std::string> write_all(const FileDescriptor& file, std::string_view bytes,
                                           const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file.get(), bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(error_of("cannot be written", path));
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

std::expected<LockFile, std::string> lock_state_file(const std::string& path) {
  if (path.empty()) return LockFile();
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  auto lock = LockFile::take("state file", path);
  if (lock) return std::move(*lock);
  if (lock.error().is_taken) return std::unexpected(lock.error().text);
  return LockFile();
}

std::expected<StoredState, std::string> read_state_file(const std::string& path,
                                                        std::uint64_t now) {
  const auto bytes = read_all(path);
  if (!bytes) return std::unexpected(bytes.error());
  StoredState state;
  if (bytes->empty()) return state;
  Header header;
  if (bytes->size() < sizeof header)
    return std::unexpected(fmt::format("state file {}: {} bytes, a header has {}", path,
                                       bytes->size(), sizeof header));
  std::memcpy(&header, bytes->data(), sizeof header);
  if (header.magic != kMagic)
    return std::unexpected(fmt::format("state file {}: it is none: it begins otherwise", path));
  if (header.version < kOldestStateFileVersion || header.version > kStateFileVersion ||
      header.record_size != content_of(header.version) + sizeof(Stored::checksum))
    return std::unexpected(
        fmt::format("state file {}: version {}, this program reads versions {} to {}", path,
                    std::uint32_t{header.version}, kOldestStateFileVersion, kStateFileVersion));
  // The latest of everything, in the order in which things first came.
  std::map<Name, std::size_t> places;
  std::unordered_map<std::uint64_t, std::uint32_t> nat_ips;  // by client
  std::vector<StateRecord> all;
  std::size_t at = sizeof header;
  for (; at + header.record_size <= bytes->size(); at += header.record_size) {
    Stored stored;
    if (!read_record(bytes->data() + at, header.version, stored) || !is_kind(stored.kind)) {
      ++state.damaged;
      continue;
    }
    const StateRecord record = load(stored, now);
    const auto [place, is_new] = places.try_emplace(key_of(record), all.size());
    if (is_new)
      all.push_back(record);
    else
      all[place->second] = record;
    if (!record.gone) nat_ips[client_of(record)] = record.nat_ip.host();
  }
  if (at != bytes->size()) ++state.damaged;
  std::erase_if(all, [&](const StateRecord& record) {
    return record.gone || nat_ips[client_of(record)] != record.nat_ip.host();
  });
  // Mappings before the records that use them.
  std::stable_sort(all.begin(), all.end(),
                   [](const StateRecord& a, const StateRecord& b) { return a.kind < b.kind; });
  state.records = std::move(all);
  return state;
}

std::expected<void, std::string> StateFileWriter::write(const FileDescriptor& file,
                                                        std::span<const StateRecord> records,
                                                        std::uint64_t now) const {
  std::string bytes;
  bytes.reserve(records.size() * sizeof(Stored));
  for (const StateRecord& record : records) {
    const Stored stored = store(record, now);
    bytes.append(reinterpret_cast<const char*>(&stored), sizeof stored);
  }
  return write_all(file, bytes, path_);
}

std::expected<void, std::string> StateFileWriter::begin() {
  next_ = FileDescriptor(
      open(new_path().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (next_.get() < 0) return std::unexpected(error_of("cannot be opened", new_path()));
  Header header;
  header.record_size = sizeof(Stored);
  return write_all(next_, {reinterpret_cast<const char*>(&header), sizeof header}, new_path());
}

std::expected<void, std::string> StateFileWriter::add(std::span<const StateRecord> records,
                                                      std::uint64_t now) {
  return write(next_, records, now);
}

std::expected<void, std::string> StateFileWriter::commit() {
  if (fsync(next_.get()) != 0)
    return std::unexpected(error_of("cannot be brought to the disk", new_path()));
  if (rename(new_path().c_str(), path_.c_str()) != 0)
    return std::unexpected(error_of("cannot take the present one's place", new_path()));
  present_ = std::move(next_);
  // The name, too.
  const std::string directory = std::filesystem::path(path_).parent_path().string();
  const FileDescriptor opened(
      open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened.valid() || fsync(opened.get()) != 0)
    return std::unexpected(error_of("its directory cannot be brought to the disk", path_));
  return {};
}

void StateFileWriter::abandon() {
  next_ = FileDescriptor();
  unlink(new_path().c_str());
}

std::expected<void, std::string> StateFileWriter::append(std::span<const StateRecord> records,
                                                         std::uint64_t now) {
  if (present_.get() < 0 || records.empty()) return {};
  struct stat before;
  if (fstat(present_.get(), &before) != 0)
    return std::unexpected(error_of("cannot be written", path_));
  if (auto written = write(present_, records, now); !written) {
    // A part of a record would make everything behind it unreadable.
    static_cast<void>(!ftruncate(present_.get(), before.st_size));
    return written;
  }
  if (fdatasync(present_.get()) != 0)
    return std::unexpected(error_of("cannot be brought to the disk", path_));
  return {};
}

}  // namespace lsn::control
