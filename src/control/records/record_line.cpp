#include "lsn/control/records/record_line.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

#include "lsn/control/records/config_note.hpp"
#include "lsn/control/records/record.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;

template <class Number>
bool read(std::string_view text, Number& number, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc{} && end == text.data() + text.size();
}

template <class Number>
bool read(std::string_view text, std::optional<Number>& number) {
  Number value{};
  if (!read(text, value)) return false;
  number = value;
  return true;
}

bool read_hex(std::string_view text, std::uint32_t& number) {
  return text.starts_with("0x") && read(text.substr(2), number, 16);
}

bool read_address(std::string_view text, wire::Ipv4Address& address) {
  const auto parsed = wire::parse_ipv4(text);
  if (parsed) address = *parsed;
  return parsed.has_value();
}

bool read_endpoint(std::string_view text, wire::Ipv4Address& address,
                   std::optional<std::uint16_t>& port) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return read_address(text, address);
  return read_address(text.substr(0, colon), address) && read(text.substr(colon + 1), port);
}

bool read_time(std::string_view text, std::int64_t& ms) {
  const auto parsed = parse_utc(text);
  if (parsed) ms = *parsed;
  return parsed.has_value();
}

bool read_kind(std::string_view word, LogKind& kind) {
  for (std::size_t k = 0; k < shared::kLogKinds; ++k)
    if (to_word(static_cast<LogKind>(k)) == word) {
      kind = static_cast<LogKind>(k);
      return true;
    }
  return false;
}

bool read_event(std::string_view word, LogKind kind, LogEvent& event) {
  for (const LogEvent each : {LogEvent::kCreated, LogEvent::kDeleted, LogEvent::kCompleted})
    if (event_word(kind, each) == word) {
      event = each;
      return true;
    }
  return false;
}

/// One named field. False: its value cannot be.
bool set_endpoint(RecordLine& r, std::string_view key, std::string_view value) {
  if (key == "subscrIP") return read_address(value, r.subscriber);
  if (key == "subscrPort") return read(value, r.subscriber_port);
  if (key == "natIP") return read_address(value, r.nat);
  if (key == "natPort") return read(value, r.nat_port);
  if (key == "firstPort") return read(value, r.first_port);
  if (key == "lastPort") return read(value, r.last_port);
  if (key == "destIP") return read_address(value, r.destination.emplace());
  if (key == "destPort") return read(value, r.destination_port);
  if (key == "spiOut") return read_hex(value, r.spi_out);
  if (key == "spiIn") return read_hex(value, r.spi_in);
  return true;  // packetsOut and its like, and what a later version may add
}

bool set(RecordLine& r, std::string_view key, std::string_view value) {
  if (key == "seq") return read(value, r.sequence);
  if (key == "td") return read(value, r.td);
  if (key == "durationMs") return read(value, r.duration_ms);
  if (key == "from") return read_time(value, r.lost_from_ms);
  const std::pair<std::string_view, std::string_view RecordLine::*> kWords[] = {
      {"group", &RecordLine::group},   {"client", &RecordLine::client},
      {"reason", &RecordLine::reason}, {"protocol", &RecordLine::protocol},
      {"text", &RecordLine::text},     {"kind", &RecordLine::lost_kind},
      {"node", &RecordLine::node}};
  for (const auto& [name, member] : kWords)
    if (key == name) {
      r.*member = value;
      return true;
    }
  return set_endpoint(r, key, value);
}

/// Words of a line, one after the other; one in quotes keeps its blanks and loses the quotes.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  /// Up to a blank, or up to `end` if that comes first.
  std::string_view next(char end = ' ') {
    std::string_view word;
    if (rest_.starts_with('"')) {
      const std::size_t close = rest_.find('"', 1);
      word = rest_.substr(1, close == std::string_view::npos ? close : close - 1);
      rest_.remove_prefix(close == std::string_view::npos ? rest_.size() : close + 1);
      if (rest_.starts_with(end)) rest_.remove_prefix(1);
      return word;
    }
    std::size_t stop = 0;
    while (stop < rest_.size() && rest_[stop] != end && rest_[stop] != ' ') ++stop;
    word = rest_.substr(0, stop);
    rest_.remove_prefix(std::min(rest_.size(), stop + 1));
    return word;
  }

 private:
  std::string_view rest_;
};

bool set_named(RecordLine& r, Words& words) {
  while (!words.empty()) {
    const std::string_view key = words.next('=');
    if (!set(r, key, words.next())) return false;
  }
  return true;
}

bool read_text(std::string_view line, RecordLine& r) {
  Words words(line);
  if (!read_time(words.next(), r.at_ms)) return false;
  r.node = words.next();
  const std::string_view worker = words.next();
  if (worker != "-" && (!worker.starts_with('w') || !read(worker.substr(1), r.worker)))
    return false;
  if (!read_kind(words.next(), r.kind)) return false;
  const std::string_view event = words.next();
  if (r.kind == LogKind::kLost ? !read(event, r.lost) : !read_event(event, r.kind, r.event))
    return false;
  return set_named(r, words);
}

bool read_code(std::string_view code, RecordLine& r) {
  constexpr std::string_view kLetters = "MSEBP";
  constexpr std::string_view kSigns = "+-*";
  if (code.size() != 2) return false;
  const std::size_t kind = kLetters.find(code[0]), event = kSigns.find(code[1]);
  if (kind == std::string_view::npos || event == std::string_view::npos) return false;
  r.kind = static_cast<LogKind>(kind);
  r.event = static_cast<LogEvent>(event);
  return true;
}

bool read_nat(std::string_view text, RecordLine& r) {
  if (r.kind != LogKind::kBlock) return read_endpoint(text, r.nat, r.nat_port);
  const std::size_t colon = text.find(':'), hyphen = text.find('-');
  return colon != std::string_view::npos && hyphen != std::string_view::npos && colon < hyphen &&
         read_address(text.substr(0, colon), r.nat) &&
         read(text.substr(colon + 1, hyphen - colon - 1), r.first_port) &&
         read(text.substr(hyphen + 1), r.last_port);
}

bool read_compact(std::string_view line, RecordLine& r) {
  Words words(line);
  if (!read(words.next(), r.at_ms)) return false;
  r.node = words.next();
  if (!read(words.next(), r.worker) || !read_code(words.next(), r) ||
      !read(words.next(), r.sequence))
    return false;
  r.group = words.next();
  if (const std::string_view protocol = words.next(); protocol != "-") r.protocol = protocol;
  if (!read_endpoint(words.next(), r.subscriber, r.subscriber_port) || !read_nat(words.next(), r))
    return false;
  if (const std::string_view to = words.next();
      to != "-" && !read_endpoint(to, r.destination.emplace(), r.destination_port))
    return false;
  // Behind: out/out in/in ms reason of an end, and named fields.
  while (!words.empty()) {
    const std::string_view word = words.next('=');
    if (word.empty()) return false;
    if (word[0] >= '0' && word[0] <= '9') {
      if (word.find('/') == std::string_view::npos) {
        if (!read(word, r.duration_ms)) return false;
        r.reason = words.next();
      }
    } else if (!set(r, word, words.next())) {
      return false;
    }
  }
  return true;
}

bool read_json_member(RecordLine& r, std::string_view key, std::string_view value) {
  if (key == "time") return read_time(value, r.at_ms);
  if (key == "worker") return read(value, r.worker);
  if (key == "record") return read_kind(value, r.kind);
  if (key == "event") return read_event(value, r.kind, r.event);
  if (key == "lost") return read(value, r.lost);
  return set(r, key, value);
}

/// An object of strings without escapes and of numbers, as LineWriter writes it.
bool read_json(std::string_view line, RecordLine& r) {
  if (!line.ends_with('}')) return false;
  line = line.substr(1, line.size() - 2);
  bool has_time = false, has_kind = false;
  while (!line.empty()) {
    if (!line.starts_with('"')) return false;
    const std::size_t close = line.find('"', 1);
    if (close == std::string_view::npos || close + 2 > line.size() || line[close + 1] != ':')
      return false;
    const std::string_view key = line.substr(1, close - 1);
    line.remove_prefix(close + 2);
    std::size_t length = 0;
    std::string_view value;
    if (line.starts_with('"')) {
      const std::size_t end = line.find('"', 1);
      if (end == std::string_view::npos) return false;
      value = line.substr(1, end - 1);
      length = end + 1;
    } else {
      length = std::min(line.find(','), line.size());
      value = line.substr(0, length);
    }
    if (!read_json_member(r, key, value)) return false;
    has_time = has_time || key == "time";
    has_kind = has_kind || key == "record";
    line.remove_prefix(length);
    if (!line.empty() && line[0] != ',') return false;
    if (!line.empty()) line.remove_prefix(1);
  }
  return has_time && has_kind;
}

/// So many digits.
bool read_digits(std::string_view& text, std::size_t count, unsigned& number) {
  if (text.size() < count || !read(text.substr(0, count), number)) return false;
  for (const char c : text.substr(0, count))
    if (c < '0' || c > '9') return false;
  text.remove_prefix(count);
  return true;
}

bool skip(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

/// "Z", "+01:00" or "-01:00": how many minutes the clock is ahead of UTC.
std::optional<int> read_zone(std::string_view text) {
  if (text == "Z") return 0;
  const bool behind = text.starts_with('-');
  unsigned hours = 0, minutes = 0;
  if ((!skip(text, '+') && !skip(text, '-')) || !read_digits(text, 2, hours) || !skip(text, ':') ||
      !read_digits(text, 2, minutes) || !text.empty() || hours > 23 || minutes > 59)
    return std::nullopt;
  const int ahead = static_cast<int>(hours * 60 + minutes);
  return behind ? -ahead : ahead;
}

}  // namespace

std::optional<std::int64_t> parse_utc(std::string_view text) {
  unsigned y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0, ms = 0;
  if (!read_digits(text, 4, y) || !skip(text, '-') || !read_digits(text, 2, mo) ||
      !skip(text, '-') || !read_digits(text, 2, d) || !skip(text, 'T') ||
      !read_digits(text, 2, h) || !skip(text, ':') || !read_digits(text, 2, mi) ||
      !skip(text, ':') || !read_digits(text, 2, s))
    return std::nullopt;
  if (skip(text, '.') && !read_digits(text, 3, ms)) return std::nullopt;
  const auto ahead = read_zone(text);
  using namespace std::chrono;
  const year_month_day date{year{static_cast<int>(y)}, month{mo}, day{d}};
  if (!ahead || !date.ok() || h > 23 || mi > 59 || s > 60) return std::nullopt;
  const auto moment = sys_days{date} + hours{h} + minutes{static_cast<int>(mi) - *ahead} +
                      seconds{s} + milliseconds{ms};
  return moment.time_since_epoch().count();
}

std::optional<RecordLine> RecordLine::parse(std::string_view line) {
  RecordLine r;
  r.line = line;
  if (line.size() < 12) return std::nullopt;
  const bool good = line[0] == '{'   ? read_json(line, r)
                    : line[4] == '-' ? read_text(line, r)
                                     : read_compact(line, r);
  if (!good || r.at_ms < 0 || r.at_ms > kLatestMs) return std::nullopt;
  // Nothing is older than 1970.
  if (r.duration_ms && *r.duration_ms > static_cast<std::uint64_t>(r.at_ms)) return std::nullopt;
  return r;
}

IndexedLine::Says said_by(std::string_view text) {
  if (text.starts_with(kFollows)) return IndexedLine::Says::kLink;
  return text == kBegins ? IndexedLine::Says::kBegin : IndexedLine::Says::kAny;
}

IndexedLine indexed(const RecordLine& line) {
  IndexedLine all{
      .at_ms = line.at_ms,
      .node = line.node,
      .kind = line.kind,
      .event = line.event,
      .sequence = line.sequence,
      .says = line.kind == LogKind::kConfig ? said_by(line.text) : IndexedLine::Says::kAny};
  // Only workers number what they write one by one; more of them there are not.
  if (line.worker && is_of_workers(line.kind))
    all.worker = static_cast<std::uint8_t>(std::min<unsigned>(*line.worker, 0xFE));
  return all;
}

KeysOfRecord keys_of(const RecordLine& line) {
  KeysOfRecord keys;
  if (line.nat.value == 0) return keys;
  keys.add(address_key(line.nat));
  if (line.nat_port) keys.add(port_key(line.nat, *line.nat_port));
  if (line.kind == LogKind::kBlock) keys.add(block_key(line.nat));
  for (const std::uint32_t spi : {line.spi_out, line.spi_in})
    if (spi != 0) keys.add(spi_key(line.nat, spi));
  return keys;
}

KeysOfRecord keys_of(const shared::LogRecord& record) {
  KeysOfRecord keys;
  const wire::Ipv4Address nat{record.nat_ip};
  if (nat.value == 0) return keys;
  keys.add(address_key(nat));
  if (record.kind == LogKind::kMapping || record.kind == LogKind::kSession)
    keys.add(port_key(nat, record.nat_port.host()));
  if (record.kind == LogKind::kBlock) keys.add(block_key(nat));
  if (record.kind == LogKind::kAlgSession)
    for (const wire::Be32 spi : {record.spi_out, record.spi_in})
      if (spi.raw() != 0) keys.add(spi_key(nat, spi.host()));
  return keys;
}

}  // namespace lsn::control
