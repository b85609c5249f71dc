#include "lsn/control/records/syslog_sink.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <span>
#include <utility>

#include "lsn/control/records/config_note.hpp"
#include "lsn/control/records/record_parts.hpp"

namespace lsn::control {

using std::chrono::steady_clock;

std::string SyslogSink::name_of(const RecordSyslogConfig& config) {
  return fmt::format("syslog {} {}", to_word(config.transport), config.server);
}

SyslogSink::SyslogSink(const RecordSyslogConfig& config)
    : name_(name_of(config)), writer_(config.format, config.facility) {
  const Endpoint server = parse_endpoint(config.server).value_or(Endpoint{});
  if (config.transport == SyslogTransport::kUdp) {
    datagrams_.emplace(name_, server);
    messages_.resize(DatagramOutlet::kAtOnce);
    return;
  }
  std::optional<TlsSettings> tls;
  if (config.transport == SyslogTransport::kTls) tls = TlsSettings{config.ca_file};
  stream_.emplace(name_, server, std::move(tls));
}

std::size_t SyslogSink::write(const RecordBatch& batch, std::size_t from) {
  return stream_ ? write_stream(batch, from) : write_datagrams(batch, from);
}

std::size_t SyslogSink::write_stream(const RecordBatch& batch, std::size_t from) {
  const auto deadline = steady_clock::now() + kPatience;
  std::size_t next = from;
  while (next < batch.records.size() && stream_->ready(deadline)) {
    StreamOutlet::Piece piece;
    piece.bytes.reserve(kPiece);
    while (next < batch.records.size()) {
      message_.clear();
      writer_.write(batch, batch.records[next], message_);
      if (!piece.bytes.empty() && piece.bytes.size() + message_.size() + 8 > kPiece) break;
      put(piece.bytes, std::uint64_t{message_.size()});
      piece.bytes += ' ';
      piece.bytes += message_;
      piece.ends.push_back(static_cast<std::uint32_t>(piece.bytes.size()));
      ++next;
    }
    piece.records = static_cast<std::uint32_t>(piece.ends.size());
    stream_->give(std::move(piece));
  }
  return next;
}

/// As much of the words, by so many bytes less, as ends behind a whole setting.
static std::string cut_words(std::string_view words, std::size_t less) {
  constexpr std::string_view kCut = "... (cut)";
  less += ConfigNote::kBetween.size() + kCut.size();
  const std::string_view kept = words.substr(0, words.size() - std::min(words.size(), less));
  const std::size_t end = kept.rfind(ConfigNote::kBetween);
  if (end == std::string_view::npos) return std::string(kCut);
  return fmt::format("{}{}{}", kept.substr(0, end), ConfigNote::kBetween, kCut);
}

void SyslogSink::write_datagram(const RecordBatch& batch, const Record& record, std::string& out) {
  writer_.write(batch, record, out);
  if (out.size() <= DatagramOutlet::kLongest) return;
  // A byte of words is a byte of the message at least.
  RecordBatch cut;
  cut.names = batch.names;
  cut.add(record, cut_words(batch.text(record), out.size() - DatagramOutlet::kLongest));
  if (cut_sequence_ != record.sequence)
    spdlog::warn(
        "records: {}: {} record {} is cut: it has {} bytes, and a datagram {} at most; TCP and TLS "
        "take all of it",
        name_, to_word(record.raw.kind), record.sequence, out.size(), DatagramOutlet::kLongest);
  cut_sequence_ = record.sequence;
  out.clear();
  writer_.write(cut, cut.records.front(), out);
}

std::size_t SyslogSink::write_datagrams(const RecordBatch& batch, std::size_t from) {
  const auto deadline = steady_clock::now() + kPatience;
  std::size_t next = from;
  while (next < batch.records.size()) {
    const std::size_t count = std::min(messages_.size(), batch.records.size() - next);
    for (std::size_t i = 0; i < count; ++i) {
      messages_[i].clear();
      write_datagram(batch, batch.records[next + i], messages_[i]);
    }
    const std::size_t sent = datagrams_->send(std::span(messages_).first(count), deadline);
    next += sent;
    if (sent < count) break;
  }
  return next;
}

void SyslogSink::tick(std::int64_t) {
  if (stream_) stream_->look(steady_clock::now() + kPatience);
}

void SyslogSink::finish() {
  if (stream_) stream_->finish(steady_clock::now() + kLastPatience);
}

}  // namespace lsn::control
