#include "lsn/control/records/segment_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lsn/control/records/file_sink.hpp"
#include "lsn/control/records/record_line.hpp"
#include "lsn/control/records/segment_name.hpp"

namespace lsn::control {
namespace {

/// A block that says it is larger is none of ours.
constexpr std::uint64_t kLargestBlock = 64 << 20;
/// What is read at a time where there is no index.
constexpr std::size_t kReadAhead = 8 << 20;

std::string error_of(const std::string& path) {
  return fmt::format("{}: {}", path, strerror(errno));
}

/// Up to so many bytes from there; fewer at the end of the file.
std::string read_at(int fd, std::uint64_t offset, std::size_t bytes) {
  std::string text(bytes, '\0');
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t n =
        pread(fd, text.data() + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  text.resize(done);
  return text;
}

void index_line(std::string_view text, BlockBuilder& builder) {
  if (const auto line = RecordLine::parse(text))
    builder.add(indexed(*line), keys_of(*line).all());
  else
    builder.add_unreadable();
}

std::string decompressed(std::string_view frame, std::uint64_t raw) {
  std::string lines(raw, '\0');
  const std::size_t n = ZSTD_decompress(lines.data(), lines.size(), frame.data(), frame.size());
  lines.resize(ZSTD_isError(n) != 0 ? 0 : n);
  return lines;
}

}  // namespace

std::expected<std::string, std::string> read_whole(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (!file.valid() || fstat(file.get(), &info) != 0) return std::unexpected(error_of(path));
  return read_at(file.get(), 0, static_cast<std::size_t>(info.st_size));
}

std::uint64_t index_lines(std::string_view text, std::uint64_t offset,
                          std::vector<SegmentBlock>& out) {
  BlockBuilder builder;
  std::uint64_t begin = 0, end = 0;
  const auto finish = [&] {
    if (end != begin) out.push_back(builder.finish(offset + begin, end - begin));
    begin = end;
  };
  for (;;) {
    const std::size_t newline = text.find('\n', end);
    if (newline == std::string_view::npos) break;
    index_line(text.substr(end, newline - end), builder);
    end = newline + 1;
    if (end - begin >= FileSink::kBlock) finish();
  }
  finish();
  return end;
}

std::expected<SegmentFile, std::string> SegmentFile::open(const std::string& path) {
  SegmentFile segment;
  segment.path_ = path;
  segment.compressed_ = path.ends_with(kZstdEnding);
  segment.file_ = FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (!segment.file_.valid() || fstat(segment.file_.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return std::unexpected(error_of(path));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  std::uint64_t known = 0;
  if (const auto index = read_whole(path + std::string(kIndexEnding)))
    if (auto blocks = parse_index(*index))
      for (SegmentBlock& block : *blocks) {
        if (block.offset + block.stored > size || block.raw > kLargestBlock ||
            (!segment.compressed_ && block.raw != block.stored))
          break;
        known = block.offset + block.stored;
        segment.blocks_.push_back(std::move(block));
      }
  const std::size_t before = segment.blocks_.size();
  segment.index_rest(known, size);
  segment.indexed_now_ = segment.blocks_.size() - before;
  return segment;
}

void SegmentFile::index_rest(std::uint64_t from, std::uint64_t size) {
  while (!compressed_ && from < size) {
    const std::string text = read_at(file_.get(), from, std::min(kReadAhead, size - from));
    const std::uint64_t whole = index_lines(text, from, blocks_);
    if (whole == 0) {  // the beginning of a line that was being written, or no lines at all
      damaged_ = size - from > kLargestBlock;
      return;
    }
    from += whole;
  }
  if (!compressed_ || from >= size) return;
  const std::string rest = read_at(file_.get(), from, size - from);
  for (std::string_view left = rest; !left.empty();) {
    const std::size_t stored = ZSTD_findFrameCompressedSize(left.data(), left.size());
    if (ZSTD_isError(stored) != 0 || stored == 0) {
      damaged_ = true;
      return;
    }
    const unsigned long long raw = ZSTD_getFrameContentSize(left.data(), stored);
    if (raw <= kLargestBlock) {
      const std::string lines = decompressed(left.substr(0, stored), raw);
      BlockBuilder builder;
      for (std::size_t at = 0, next; (next = lines.find('\n', at)) != std::string::npos;
           at = next + 1)
        index_line(std::string_view(lines).substr(at, next - at), builder);
      SegmentBlock block = builder.finish(from, stored);
      block.raw = raw;
      blocks_.push_back(std::move(block));
    } else {
      damaged_ = true;
    }
    from += stored;
    left.remove_prefix(stored);
  }
}

std::string SegmentFile::lines(const SegmentBlock& block) const {
  std::string stored = read_at(file_.get(), block.offset, block.stored);
  return compressed_ ? decompressed(stored, block.raw) : stored;
}

}  // namespace lsn::control
