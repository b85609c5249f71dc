// A segment as it is read: from the disk, with its index, plain or compressed.
//
// Blocks that the index has are read one by one; lines behind the last of them (a segment that is
// still written, or was killed) and segments without an index are made into blocks by reading them.
// Nothing here trusts the files: what is not whole or makes no sense is no block.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/file_descriptor.hpp"
#include "lsn/control/records/segment_index.hpp"

namespace lsn::control {

/// A whole file. Error: one line.
[[nodiscard]] std::expected<std::string, std::string> read_whole(const std::string& path);

class SegmentFile {
 public:
  /// Error: one line: it cannot be read.
  [[nodiscard]] static std::expected<SegmentFile, std::string> open(const std::string& path);

  [[nodiscard]] const std::vector<SegmentBlock>& blocks() const { return blocks_; }
  /// The lines of a block; fewer where the file is damaged.
  [[nodiscard]] std::string lines(const SegmentBlock& block) const;
  /// Whether a part of the file could not be read as lines.
  [[nodiscard]] bool damaged() const { return damaged_; }
  /// Blocks that had to be read because no index had them.
  [[nodiscard]] std::size_t indexed_now() const { return indexed_now_; }

 private:
  void index_rest(std::uint64_t from, std::uint64_t size);

  std::string path_;
  FileDescriptor file_;
  bool compressed_ = false;
  bool damaged_ = false;
  std::size_t indexed_now_ = 0;
  std::vector<SegmentBlock> blocks_;
};

/// Makes blocks of about a megabyte of lines: `see(offset, block)`. Returns the bytes of the whole
/// lines among `text`, all of which are in a block.
[[nodiscard]] std::uint64_t index_lines(std::string_view text, std::uint64_t offset,
                                        std::vector<SegmentBlock>& out);

}  // namespace lsn::control
