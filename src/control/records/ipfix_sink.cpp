#include "lsn/control/records/ipfix_sink.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

namespace lsn::control {

using std::chrono::steady_clock;

std::string IpfixSink::name_of(const RecordIpfixConfig& config) {
  return fmt::format("ipfix {} {}", to_word(config.transport), config.collector);
}

IpfixSink::IpfixSink(const RecordIpfixConfig& config)
    : writer_(config.domain, config.transport == IpfixTransport::kUdp ? kDatagram : kStreamMessage),
      refresh_(config.template_refresh) {
  const Endpoint collector = parse_endpoint(config.collector).value_or(Endpoint{});
  if (config.transport == IpfixTransport::kUdp) {
    datagrams_.emplace(name_of(config), collector);
    return;
  }
  const auto greeting = [this] {
    sequence_ = 0;
    std::string templates = writer_.templates();
    IpfixWriter::number(templates, 0);
    return templates;
  };
  const auto renew = [this](StreamOutlet::Piece& piece) {
    IpfixWriter::number(piece.bytes, sequence_);
    sequence_ += piece.records;
  };
  stream_.emplace(name_of(config), collector, std::nullopt, StreamOutlet::Hooks{greeting, renew});
}

std::size_t IpfixSink::write(const RecordBatch& batch, std::size_t from) {
  return stream_ ? write_stream(batch, from) : write_datagrams(batch, from);
}

std::size_t IpfixSink::write_stream(const RecordBatch& batch, std::size_t from) {
  const auto deadline = steady_clock::now() + kPatience;
  std::size_t next = from;
  while (next < batch.records.size() && stream_->ready(deadline)) {
    IpfixWriter::Message message = writer_.write(batch, next);
    passed_over_ += message.next - next - message.records;
    next = message.next;
    if (message.bytes.empty()) break;
    IpfixWriter::number(message.bytes, sequence_);
    sequence_ += message.records;
    const auto size = static_cast<std::uint32_t>(message.bytes.size());
    stream_->give({std::move(message.bytes), {size}, message.records});
  }
  return next;
}

bool IpfixSink::send_templates_if_due(Moment deadline) {
  const auto now = steady_clock::now();
  if (now < templates_due_) return true;
  std::string templates = writer_.templates();
  IpfixWriter::number(templates, sequence_);
  if (datagrams_->send(std::span(&templates, 1), deadline) == 0) return false;
  templates_due_ = now + refresh_;
  return true;
}

std::size_t IpfixSink::write_datagrams(const RecordBatch& batch, std::size_t from) {
  const auto deadline = steady_clock::now() + kPatience;
  if (!send_templates_if_due(deadline)) return from;
  std::vector<std::string> bytes;
  std::vector<IpfixWriter::Message> messages;
  std::size_t next = from;
  while (next < batch.records.size()) {
    bytes.clear();
    messages.clear();
    std::uint32_t sequence = sequence_;
    for (std::size_t at = next; at < batch.records.size() && bytes.size() < DatagramOutlet::kAtOnce;
         at = messages.back().next) {
      messages.push_back(writer_.write(batch, at));
      if (messages.back().bytes.empty()) break;
      IpfixWriter::number(messages.back().bytes, sequence);
      sequence += messages.back().records;
      bytes.push_back(std::move(messages.back().bytes));
    }
    const std::size_t sent = datagrams_->send(bytes, deadline);
    for (std::size_t i = 0; i < sent; ++i) {
      sequence_ += messages[i].records;
      passed_over_ += messages[i].next - next - messages[i].records;
      next = messages[i].next;
    }
    if (sent < bytes.size()) {
      for (std::size_t i = sent; i < messages.size(); ++i) writer_.take_back(messages[i]);
      break;
    }
    passed_over_ += messages.back().next - next;  // what is behind the last one of them
    next = messages.back().next;
  }
  return next;
}

void IpfixSink::tick(std::int64_t) {
  const auto deadline = steady_clock::now() + kPatience;
  if (stream_) return stream_->look(deadline);
  if (std::exchange(refusals_seen_, datagrams_->refusals()) != datagrams_->refusals())
    templates_due_ = {};
  static_cast<void>(send_templates_if_due(deadline));
}

void IpfixSink::finish() {
  if (stream_) stream_->finish(steady_clock::now() + kLastPatience);
}

}  // namespace lsn::control
