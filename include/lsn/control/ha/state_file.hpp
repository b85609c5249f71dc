// The file of the state that a restart must not lose (dataplane.stateFile; design 6): a header,
// then records of fixed size, each with its checksum. A record replaces the earlier one of the same
// thing or takes it away, so changes are appended; a whole new file takes the old one's place by
// rename.
//
// All numbers are little-endian.
//   header   8 bytes "LSNSTATE", 4 version, 4 size of a record
//   record   56 bytes content (52 before version 3), 4 CRC-32 (zlib's) of it
// A torn end, after a process was killed in the middle of a write, costs that record only; so does
// a damaged one. commit() and append() come back when their records are on the disk, and a new file
// takes the old one's place only when it is complete: they wait for the disk, on a thread that may
// (journal.hpp).
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "lsn/control/file_descriptor.hpp"
#include "lsn/control/lock_file.hpp"
#include "lsn/shared/records.hpp"

namespace lsn::control {

using shared::StateRecord;

/// Version 2 has exchanges, version 3 traffic domains. Files of the earlier ones are read as well:
/// they have none.
inline constexpr std::uint32_t kStateFileVersion = 3;
inline constexpr std::uint32_t kOldestStateFileVersion = 1;

/// Held while the file is used: of two processes that write it, each would lose the other's
/// records. Error: another lsnd has it. If no lock can be made, no file can be either: the journal
/// reports that.
[[nodiscard]] std::expected<LockFile, std::string> lock_state_file(const std::string& path);

struct StoredState {
  /// The latest of everything that is there, idle_seconds of now. A client has one NAT address:
  /// that of its latest record; records that contradict it are left out.
  std::vector<StateRecord> records;
  std::size_t damaged = 0;  ///< records that are not readable
};

/// Reads a file; `now`: seconds since 1970. A file that does not exist is an empty one. The error
/// names the fault of the whole file.
[[nodiscard]] std::expected<StoredState, std::string> read_state_file(const std::string& path,
                                                                      std::uint64_t now);

/// Writes one. Every function returns an error's text, or nothing.
class StateFileWriter {
 public:
  explicit StateFileWriter(std::string path) : path_(std::move(path)) {}

  /// Begins a new file beside the present one, which goes on to be appended to.
  [[nodiscard]] std::expected<void, std::string> begin();
  /// Into the new file.
  [[nodiscard]] std::expected<void, std::string> add(std::span<const StateRecord> records,
                                                     std::uint64_t now);
  /// The new file takes the present one's place.
  [[nodiscard]] std::expected<void, std::string> commit();
  /// Gives the new file up.
  void abandon();

  /// To the present file. Nothing happens before the first commit().
  [[nodiscard]] std::expected<void, std::string> append(std::span<const StateRecord> records,
                                                        std::uint64_t now);

 private:
  [[nodiscard]] std::expected<void, std::string> write(const FileDescriptor& file,
                                                       std::span<const StateRecord> records,
                                                       std::uint64_t now) const;
  [[nodiscard]] std::string new_path() const { return path_ + ".new"; }

  std::string path_;
  FileDescriptor present_;
  FileDescriptor next_;
};

}  // namespace lsn::control
