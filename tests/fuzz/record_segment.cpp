// The files of records: reading any bytes as an index, a line or a segment ends, and a record that
// was read has the keys that the index finds it by.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "lsn/control/records/find.hpp"
#include "lsn/control/records/record_line.hpp"
#include "lsn/control/records/segment_file.hpp"
#include "lsn/control/records/segment_index.hpp"

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

void write(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// All lines of a segment, by its blocks.
void read_segment(const std::string& path) {
  using namespace lsn::control;
  const auto segment = SegmentFile::open(path);
  if (!segment) return;
  for (const SegmentBlock& block : segment->blocks()) {
    const std::string lines = segment->lines(block);
    for (std::size_t at = 0, next; (next = lines.find('\n', at)) != std::string::npos;
         at = next + 1)
      static_cast<void>(RecordLine::parse(std::string_view(lines).substr(at, next - at)));
  }
  FindQuestion question;
  question.nat = lsn::wire::Ipv4Address{0xCB007103};
  question.port = 40001;
  question.until_ms = 4'000'000'000'000;
  if (const auto answer = find_holders(question, {path}))
    static_cast<void>(to_text(question, *answer, Format::kJson));
}

}  // namespace

/// The first byte says what the rest is: a line, an index, a plain or a compressed segment, or an
/// index beside a segment (divided by the second byte).
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lsn::control;
  if (size < 2) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  static const std::string base = "/tmp/lsnd-fuzz-records-" + std::to_string(getpid());
  const std::string path = base + (data[0] % 5 == 3 ? ".log.zst" : ".log");
  switch (data[0] % 5) {
    case 0:
      if (const auto line = RecordLine::parse(rest)) {
        const auto keys = keys_of(*line);
        BlockBuilder builder;
        builder.add(indexed(*line), keys.all());
        const SegmentBlock block = builder.finish(0, rest.size());
        for (const SegmentKey key : keys.all()) require(block.may_have(key), "no key is forgotten");
      }
      return 0;
    case 1:
      if (const auto blocks = parse_index(rest)) {
        std::string again = index_head();
        for (const SegmentBlock& block : *blocks) again += index_entry(block);
        require(again.size() <= rest.size() && rest.starts_with(again),
                "an index that was read is written alike");
      }
      return 0;
    case 4: {
      const std::size_t cut = rest.size() * data[1] / 256;
      write(path, rest.substr(0, cut));
      write(path + ".idx", rest.substr(cut));
      break;
    }
    default:
      write(path, rest);
  }
  read_segment(path);
  unlink(path.c_str());
  unlink((path + ".idx").c_str());
  return 0;
}
