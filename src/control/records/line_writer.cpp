#include "lsn/control/records/line_writer.hpp"

#include <endian.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "lsn/control/records/record_parts.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::Dependence;
using shared::Direction;
using shared::LogEvent;
using shared::LogKind;
using shared::LogRecord;

void put_decimals(std::string& out, unsigned ms) {
  out += static_cast<char>('0' + ms / 100);
  out += static_cast<char>('0' + ms / 10 % 10);
  out += static_cast<char>('0' + ms % 10);
}

/// Words, in quotes; what would end them is left out.
void put_quoted(std::string& out, std::string_view words) {
  out += '"';
  for (const char c : words)
    if (c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20) out += c;
  out += '"';
}

/// The fields of a record behind its head, as `key=value`.
class TextFields {
 public:
  explicit TextFields(std::string& out) : out_(out) {}

  void word(std::string_view key, std::string_view value) {
    begin(key);
    put(out_, value);
  }
  void words(std::string_view key, std::string_view value) {
    begin(key);
    put_quoted(out_, value);
  }
  void number(std::string_view key, std::uint64_t value) {
    begin(key);
    put(out_, value);
  }
  void address(std::string_view key, wire::Be32 value) {
    begin(key);
    put(out_, value);
  }
  void hex(std::string_view key, std::uint64_t value, unsigned digits) {
    begin(key);
    put_hex(out_, value, digits);
  }

 private:
  void begin(std::string_view key) {
    out_ += ' ';
    put(out_, key);
    out_ += '=';
  }

  std::string& out_;
};

/// The same as members of a JSON object that has some already.
class JsonFields {
 public:
  explicit JsonFields(std::string& out) : out_(out) {}

  void word(std::string_view key, std::string_view value) {
    begin(key);
    put_quoted(out_, value);
  }
  void words(std::string_view key, std::string_view value) { word(key, value); }
  void number(std::string_view key, std::uint64_t value) {
    begin(key);
    put(out_, value);
  }
  void address(std::string_view key, wire::Be32 value) {
    begin(key);
    out_ += '"';
    put(out_, value);
    out_ += '"';
  }
  void hex(std::string_view key, std::uint64_t value, unsigned digits) {
    begin(key);
    out_ += '"';
    put_hex(out_, value, digits);
    out_ += '"';
  }

 private:
  void begin(std::string_view key) {
    put(out_, ",\"");
    put(out_, key);
    put(out_, "\":");
  }

  std::string& out_;
};

/// The same as parameters of a structured element, whose values are all in quotes (RFC 5424 section
/// 6.3.3).
class StructuredFields {
 public:
  explicit StructuredFields(std::string& out) : out_(out) {}

  void word(std::string_view key, std::string_view value) {
    begin(key);
    put(out_, value);
    out_ += '"';
  }
  void words(std::string_view key, std::string_view value) {
    begin(key);
    for (const char c : value) {
      if (c == '"' || c == '\\' || c == ']') out_ += '\\';
      if (static_cast<unsigned char>(c) >= 0x20) out_ += c;
    }
    out_ += '"';
  }
  void number(std::string_view key, std::uint64_t value) {
    begin(key);
    put(out_, value);
    out_ += '"';
  }
  void address(std::string_view key, wire::Be32 value) {
    begin(key);
    put(out_, value);
    out_ += '"';
  }
  void hex(std::string_view key, std::uint64_t value, unsigned digits) {
    begin(key);
    put_hex(out_, value, digits);
    out_ += '"';
  }

 private:
  void begin(std::string_view key) {
    out_ += ' ';
    put(out_, key);
    put(out_, "=\"");
  }

  std::string& out_;
};

void put_traffic(auto& out, const LogRecord& r) {
  out.number("packetsOut", r.totals.packets[Direction::kOutbound]);
  out.number("packetsIn", r.totals.packets[Direction::kInbound]);
  out.number("bytesOut", r.totals.bytes[Direction::kOutbound]);
  out.number("bytesIn", r.totals.bytes[Direction::kInbound]);
  out.number("durationMs", duration_ms(r));
  out.word("reason", to_word(r.reason));
}

void put_spis(auto& out, const LogRecord& r) {
  out.hex("spiOut", r.spi_out.host(), 8);
  out.hex("spiIn", r.spi_in.host(), 8);
  if (r.initiator == 0) return;
  out.hex("ikeInitiator", be64toh(r.initiator), 16);
  out.hex("ikeResponder", be64toh(r.responder), 16);
}

/// Of MAPPING, SESSION, ALG SESSION, BLOCK and BINDING.
void put_subscriber(auto& out, const LogRecord& r) {
  const bool has_protocol = is_flow(r) || r.kind == LogKind::kAlgSession;
  if (has_protocol) out.word("protocol", shared::name_of(r.protocol));
  out.address("subscrIP", r.subscriber);
  if (is_flow(r)) out.number("subscrPort", r.subscriber_port.host());
  out.address("natIP", r.nat_ip);
  if (is_flow(r)) out.number("natPort", r.nat_port.host());
  if (r.kind == LogKind::kBlock) {
    out.number("firstPort", r.nat_port.host());
    out.number("lastPort", r.last_port.host());
  }
  if (has_destination(r)) out.address("destIP", r.remote_ip);
  if (has_destination_port(r)) out.number("destPort", r.remote_port.host());
  if (r.kind == LogKind::kAlgSession) put_spis(out, r);
  if (has_traffic(r)) put_traffic(out, r);
}

void put_fields(auto& out, const RecordBatch& batch, const Record& record) {
  const LogRecord& r = record.raw;
  out.number("seq", record.sequence);
  if (const RecordNames::Group* const group = group_of(batch, record)) {
    out.words("group", group->name);
    if (group->subscriber_info && is_of_subscriber(r)) out.words("client", group->client);
  }
  if (r.td != 0) out.number("td", r.td);
  if (r.kind == LogKind::kAlert) {
    out.word("alert", to_word(r.alert));
    out.number("count", r.totals.count);
  }
  if (record.text != kNoText) out.words("text", batch.text(record));
  if (is_of_subscriber(r)) put_subscriber(out, r);
}

/// The fields of LOST, but the number.
void put_loss(auto& out, const Record& record, std::string_view from) {
  out.word("kind", record.lost_kind == LogKind::kLost ? "any" : to_word(record.lost_kind));
  out.word("from", from);
  out.word("cause", record.worker == kNoWorker ? "sink" : "ring");
}

/// Of compact text: "-" where there is none.
void put_destination(std::string& out, const LogRecord& r) {
  if (!has_destination(r))
    out += '-';
  else if (has_destination_port(r))
    put(out, r.remote_ip, r.remote_port);
  else
    put(out, r.remote_ip);
}

void put_endpoints(std::string& out, const LogRecord& r) {
  put(out, r.subscriber);
  if (is_flow(r)) {
    out += ':';
    put(out, std::uint64_t{r.subscriber_port.host()});
  }
  out += ' ';
  put(out, r.nat_ip);
  if (is_flow(r) || r.kind == LogKind::kBlock) {
    out += ':';
    put(out, std::uint64_t{r.nat_port.host()});
  }
  if (r.kind == LogKind::kBlock) {
    out += '-';
    put(out, std::uint64_t{r.last_port.host()});
  }
  out += ' ';
  put_destination(out, r);
}

}  // namespace

void LineWriter::write(const RecordBatch& batch, const Record& record, std::string& out) {
  if (format_ == RecordFormat::kJson)
    write_json(batch, record, out);
  else if (is_compact(batch, record))
    write_compact(batch, record, out);
  else
    write_text(batch, record, out);
  out += '\n';
}

void LineWriter::put_time(std::int64_t ms, std::string& out) {
  const std::int64_t second = ms / 1000;
  if (second != second_) {
    second_ = second;
    date_ = fmt::format("{:%FT%T}", std::chrono::sys_seconds{std::chrono::seconds{second}});
  }
  out += date_;
  out += '.';
  put_decimals(out, static_cast<unsigned>(ms % 1000));
  out += 'Z';
}

void LineWriter::write_text(const RecordBatch& batch, const Record& record, std::string& out) {
  put_time(record.at_ms, out);
  out += ' ';
  put(out, batch.names->node);
  put(out, record.worker == kNoWorker ? " -" : " w");
  if (record.worker != kNoWorker) put(out, std::uint64_t{record.worker});
  out += ' ';
  write_words(batch, record, out);
}

void LineWriter::write_words(const RecordBatch& batch, const Record& record, std::string& out) {
  const LogRecord& r = record.raw;
  put(out, to_word(r.kind));
  out += ' ';
  TextFields fields(out);
  if (r.kind == LogKind::kLost) {
    put(out, r.totals.count);
    std::string from;
    put_time(record.from_ms, from);
    return put_loss(fields, record, from);
  }
  put(out, event_word(r.kind, r.event));
  put_fields(fields, batch, record);
}

void LineWriter::write_compact(const RecordBatch& batch, const Record& record, std::string& out) {
  constexpr shared::ByLogKind<char> kLetters{'M', 'S', 'E', 'B', 'P', 'A', 'C', 'L'};
  const LogRecord& r = record.raw;
  put(out, static_cast<std::uint64_t>(record.at_ms));
  out += ' ';
  put(out, batch.names->node);
  out += ' ';
  put(out, std::uint64_t{record.worker});
  out += ' ';
  out += kLetters[r.kind];
  out += r.event == LogEvent::kCreated ? '+' : r.event == LogEvent::kDeleted ? '-' : '*';
  out += ' ';
  put(out, record.sequence);
  out += ' ';
  const RecordNames::Group& group = *batch.names->group(record);
  put_quoted(out, group.name);
  out += ' ';
  put(out, is_flow(r) || r.kind == LogKind::kAlgSession ? shared::name_of(r.protocol) : "-");
  out += ' ';
  put_endpoints(out, r);
  // What not every line has is named, as in the long form.
  TextFields fields(out);
  if (r.kind == LogKind::kAlgSession) put_spis(fields, r);
  if (has_traffic(r)) {
    for (const Direction d : {Direction::kOutbound, Direction::kInbound}) {
      out += ' ';
      put(out, r.totals.packets[d]);
      out += '/';
      put(out, r.totals.bytes[d]);
    }
    out += ' ';
    put(out, duration_ms(r));
    out += ' ';
    put(out, to_word(r.reason));
  }
  if (r.td != 0) fields.number("td", r.td);
  if (group.subscriber_info) fields.words("client", group.client);
}

void LineWriter::write_json(const RecordBatch& batch, const Record& record, std::string& out) {
  const LogRecord& r = record.raw;
  put(out, "{\"time\":\"");
  put_time(record.at_ms, out);
  out += '"';
  JsonFields fields(out);
  fields.word("node", batch.names->node);
  if (record.worker != kNoWorker) fields.number("worker", record.worker);
  fields.word("record", to_word(r.kind));
  if (r.kind == LogKind::kLost) {
    fields.number("lost", r.totals.count);
    std::string from;
    put_time(record.from_ms, from);
    put_loss(fields, record, from);
  } else {
    fields.word("event", event_word(r.kind, r.event));
    put_fields(fields, batch, record);
  }
  out += '}';
}

void LineWriter::write_parameters(const RecordBatch& batch, const Record& record,
                                  std::string& out) {
  const LogRecord& r = record.raw;
  StructuredFields fields(out);
  if (r.kind == LogKind::kLost) {
    fields.number("lost", r.totals.count);
    std::string from;
    put_time(record.from_ms, from);
    return put_loss(fields, record, from);
  }
  fields.word("event", event_word(r.kind, r.event));
  put_fields(fields, batch, record);
}

}  // namespace lsn::control
