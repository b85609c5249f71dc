// IKE datagrams: no bytes make the parser read past their end, and its result holds for the
// message.
#include "lsn/wire/ike.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

void check(std::span<const std::uint8_t> bytes, std::size_t size) {
  using namespace lsn::wire;
  const auto message = parse_ike(bytes, size);
  if (!message) return;
  require(bytes.size() >= 28, "a message has a header");
  require(message->version == 1 || message->version == 2, "the major version is 1 or 2");
  require(message->initiator != kNoIkeSpi, "the initiator SPI is not zero");
  require(message->fragment || (message->fragment_number == 0 && message->fragment_id == 0),
          "only a fragment has a number");
  require(!message->is_response() || message->version == 2, "only IKEv2 has a response flag");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // On the heap, to the byte: the sanitizer sees a step beside it.
  const std::vector<std::uint8_t> copy(data, data + size);
  check(copy, size);
  check(copy, size + 1000);  // the first IP fragment of a larger datagram
  if (const auto behind = lsn::wire::strip_non_esp_marker(copy)) check(*behind, behind->size());
  return 0;
}
