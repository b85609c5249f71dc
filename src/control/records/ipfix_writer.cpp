#include "lsn/control/records/ipfix_writer.hpp"

#include <fixbuf/public.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string_view>

#include "lsn/control/records/record_parts.hpp"

namespace lsn::control {
namespace {

using shared::Direction;
using shared::LogAlert;
using shared::LogEvent;
using shared::LogKind;
using shared::LogReason;
using shared::LogRecord;

/// natEvent (IANA, RFC 8158 section 4.3).
enum class NatEvent : std::uint8_t {
  kSessionCreate = 4,
  kSessionDelete = 5,
  kBibCreate = 8,
  kBibDelete = 9,
  kPortsExhausted = 12,
  kQuotaExceeded = 13,
  kBindingCreate = 14,
  kBindingDelete = 15,
  kBlockAllocation = 16,
  kBlockDeallocation = 17,
  kThreshold = 18,
};
/// natQuotaExceededEvent (RFC 8158 section 4.5).
constexpr std::uint32_t kMaxSessions = 1;
constexpr std::uint32_t kMaxEntriesPerUser = 3;
/// natThresholdEvent (RFC 8158 section 4.6).
constexpr std::uint32_t kPoolHigh = 1;
constexpr std::uint32_t kPoolLow = 2;
constexpr std::uint32_t kMappingsHigh = 5;

/// flowEndReason (RFC 5102 section 5.11.3).
constexpr std::uint8_t kIdleTimeout = 1;
constexpr std::uint8_t kEndOfFlow = 3;
constexpr std::uint8_t kForcedEnd = 4;

/// protocolIdentifier: TCP, UDP, ICMP, ESP.
constexpr shared::ByProtocol<std::uint8_t> kProtocolNumbers{6, 17, 1, 50};

// Templates: 256 and up (RFC 7011 section 3.4.1).
constexpr std::uint16_t kFlow = 256;  ///< and five more
constexpr std::uint16_t kEsp = 262;   ///< and one more, with traffic
constexpr std::uint16_t kBinding = 264;
constexpr std::uint16_t kBlock = 265;
constexpr std::uint16_t kExhausted = 266;
constexpr std::uint16_t kQuota = 267;
constexpr std::uint16_t kThreshold = 268;
constexpr std::uint16_t kReliability = 269;
/// libfixbuf's name of Fields.
constexpr std::uint16_t kInternal = 0x1000;
constexpr std::uint16_t kNotExported = 0;

/// Of a message's header (RFC 7011 section 3.1).
constexpr std::size_t kSequenceOffset = 8;
constexpr std::size_t kHeader = 16;

/// Every field of every template, as libfixbuf takes them: kElements, in this order, without gaps.
struct Fields {
  std::uint64_t time;
  std::uint64_t bytes_out, bytes_in, packets_out, packets_in;
  std::uint64_t refused;
  std::uint64_t not_sent;
  fbVarfield_t pool;
  std::uint32_t td, subscriber, nat, remote;
  std::uint32_t spi_out, spi_in;
  std::uint32_t duration;
  std::uint32_t quota, threshold;
  std::uint32_t instance;
  std::uint32_t process;
  std::uint16_t subscriber_port, nat_port, remote_port, first_port, last_port;
  std::uint8_t event, protocol, end_reason;
  std::uint8_t padding[7];
};

struct Element {
  const char* name;
  std::uint16_t size;
};
constexpr Element kElements[] = {{"observationTimeMilliseconds", 8},
                                 {"initiatorOctets", 8},
                                 {"responderOctets", 8},
                                 {"initiatorPackets", 8},
                                 {"responderPackets", 8},
                                 {"droppedPacketDeltaCount", 8},
                                 {"notSentFlowTotalCount", 8},
                                 {"natPoolName", 0},
                                 {"ingressVRFID", 4},
                                 {"sourceIPv4Address", 4},
                                 {"postNATSourceIPv4Address", 4},
                                 {"destinationIPv4Address", 4},
                                 {"IPSecSPI", 4},
                                 {"IPSecSPI", 4},
                                 {"flowDurationMilliseconds", 4},
                                 {"natQuotaExceededEvent", 4},
                                 {"natThresholdEvent", 4},
                                 {"natInstanceID", 4},
                                 {"exportingProcessId", 4},
                                 {"sourceTransportPort", 2},
                                 {"postNAPTSourceTransportPort", 2},
                                 {"destinationTransportPort", 2},
                                 {"portRangeStart", 2},
                                 {"portRangeEnd", 2},
                                 {"natEvent", 1},
                                 {"protocolIdentifier", 1},
                                 {"flowEndReason", 1},
                                 {"paddingOctets", 7}};

using Names = std::vector<const char*>;

struct TemplateOf {
  std::uint16_t id;
  Names names;
  std::uint16_t scope = 0;  ///< its first elements; not 0: of options
};

std::vector<TemplateOf> external_templates() {
  const Names head{"observationTimeMilliseconds", "natEvent", "ingressVRFID"};
  const Names traffic{"initiatorPackets", "responderPackets",         "initiatorOctets",
                      "responderOctets",  "flowDurationMilliseconds", "flowEndReason"};
  const auto joined = [](std::initializer_list<Names> parts) {
    Names all;
    for (const Names& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  };
  const Names flow = joined({head,
                             {"protocolIdentifier", "sourceIPv4Address", "postNATSourceIPv4Address",
                              "sourceTransportPort", "postNAPTSourceTransportPort"}});
  const Names esp = joined({head,
                            {"protocolIdentifier", "sourceIPv4Address", "postNATSourceIPv4Address",
                             "destinationIPv4Address", "IPSecSPI", "IPSecSPI"}});
  const std::array<Names, 3> destinations{
      Names{}, Names{"destinationIPv4Address"},
      Names{"destinationIPv4Address", "destinationTransportPort"}};
  std::vector<TemplateOf> all;
  for (std::uint16_t level = 0; level < destinations.size(); ++level) {
    const auto id = static_cast<std::uint16_t>(kFlow + 2 * level);
    all.push_back({id, joined({flow, destinations[level]})});
    all.push_back(
        {static_cast<std::uint16_t>(id + 1), joined({flow, destinations[level], traffic})});
  }
  all.push_back({kEsp, esp});
  all.push_back({kEsp + 1, joined({esp, traffic})});
  all.push_back({kBinding, joined({head, {"sourceIPv4Address", "postNATSourceIPv4Address"}})});
  all.push_back({kBlock, joined({head,
                                 {"sourceIPv4Address", "postNATSourceIPv4Address", "portRangeStart",
                                  "portRangeEnd"}})});
  const Names alert{"observationTimeMilliseconds", "natEvent"};
  all.push_back({kExhausted, joined({alert, {"natInstanceID", "droppedPacketDeltaCount"}})});
  all.push_back(
      {kQuota,
       joined({alert, {"natQuotaExceededEvent", "natInstanceID", "droppedPacketDeltaCount"}})});
  all.push_back({kThreshold, joined({alert, {"natThresholdEvent", "natPoolName"}})});
  all.push_back({kReliability,
                 {"exportingProcessId", "observationTimeMilliseconds", "notSentFlowTotalCount"},
                 1});
  return all;
}

std::uint16_t template_of_alert(const LogRecord& r) {
  const bool cleared = r.event == LogEvent::kDeleted;
  switch (r.alert) {
    case LogAlert::kPortAllocation:
      return cleared ? kNotExported : kExhausted;
    case LogAlert::kPortQuota:
    case LogAlert::kSessionQuota:
    case LogAlert::kGroupLimit:
      return cleared ? kNotExported : kQuota;
    case LogAlert::kPoolUsage:
      return kThreshold;
    case LogAlert::kTableUsage:
      return cleared ? kNotExported : kThreshold;
    default:
      return kNotExported;
  }
}

/// kNotExported: it is no event of a NAT, or its group has no logIpfix.
std::uint16_t template_of(const RecordBatch& batch, const Record& record) {
  const LogRecord& r = record.raw;
  if (r.kind == LogKind::kLost) return kReliability;
  if (r.kind == LogKind::kAlert) return template_of_alert(r);
  const RecordNames::Group* const group = group_of(batch, record);
  if (group == nullptr || !group->ipfix) return kNotExported;
  const auto traffic = static_cast<std::uint16_t>(has_traffic(r) ? 1 : 0);
  switch (r.kind) {
    case LogKind::kMapping:
    case LogKind::kSession: {
      const int level = has_destination_port(r) ? 2 : has_destination(r) ? 1 : 0;
      return static_cast<std::uint16_t>(kFlow + 2 * level + traffic);
    }
    case LogKind::kAlgSession:
      return static_cast<std::uint16_t>(kEsp + traffic);
    case LogKind::kBlock:
      return kBlock;
    case LogKind::kBinding:
      return kBinding;
    default:
      return kNotExported;
  }
}

NatEvent nat_event(const LogRecord& r) {
  const bool ends = r.event == LogEvent::kDeleted;
  switch (r.kind) {
    case LogKind::kMapping:
      return ends ? NatEvent::kBibDelete : NatEvent::kBibCreate;
    case LogKind::kBlock:
      return ends ? NatEvent::kBlockDeallocation : NatEvent::kBlockAllocation;
    case LogKind::kBinding:
      return ends ? NatEvent::kBindingDelete : NatEvent::kBindingCreate;
    case LogKind::kAlert:
      return r.alert == LogAlert::kPortAllocation ? NatEvent::kPortsExhausted
             : r.alert == LogAlert::kPoolUsage || r.alert == LogAlert::kTableUsage
                 ? NatEvent::kThreshold
                 : NatEvent::kQuotaExceeded;
    default:
      return ends ? NatEvent::kSessionDelete : NatEvent::kSessionCreate;
  }
}

std::uint8_t end_reason(LogReason reason) {
  switch (reason) {
    case LogReason::kIdle:
      return kIdleTimeout;
    case LogReason::kFin:
    case LogReason::kRst:
      return kEndOfFlow;
    default:
      return kForcedEnd;
  }
}

std::uint32_t narrow(std::uint64_t value) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(value, std::numeric_limits<std::uint32_t>::max()));
}

void fill_alert(Fields& f, const LogRecord& r, std::string_view text) {
  f.refused = r.totals.count;
  f.instance = r.group;
  f.quota = r.alert == LogAlert::kGroupLimit ? kMaxSessions : kMaxEntriesPerUser;
  f.threshold = r.alert == LogAlert::kTableUsage ? kMappingsHigh
                : r.event == LogEvent::kDeleted  ? kPoolLow
                                                 : kPoolHigh;
  constexpr std::string_view kPool = "pool ";
  constexpr std::size_t kLongest = 250;  // its length is one byte (RFC 7011 section 7)
  if (text.starts_with(kPool)) text.remove_prefix(kPool.size());
  text = text.substr(0, kLongest);
  f.pool.len = text.size();
  f.pool.buf = reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

Fields fields_of(const RecordBatch& batch, const Record& record, std::uint64_t lost) {
  const LogRecord& r = record.raw;
  Fields f{};
  f.time = static_cast<std::uint64_t>(record.at_ms);
  f.event = static_cast<std::uint8_t>(nat_event(r));
  f.not_sent = lost;
  f.process = 1;
  f.td = r.td;
  if (r.kind == LogKind::kAlert) fill_alert(f, r, batch.text(record));
  if (!is_of_subscriber(r)) return f;
  f.subscriber = r.subscriber.host();
  f.nat = r.nat_ip.host();
  f.remote = r.remote_ip.host();
  f.spi_out = r.spi_out.host();
  f.spi_in = r.spi_in.host();
  f.subscriber_port = r.subscriber_port.host();
  f.nat_port = f.first_port = r.nat_port.host();
  f.remote_port = r.remote_port.host();
  f.last_port = r.last_port.host();
  f.protocol = kProtocolNumbers[r.protocol];
  if (!has_traffic(r)) return f;
  f.bytes_out = r.totals.bytes[Direction::kOutbound];
  f.bytes_in = r.totals.bytes[Direction::kInbound];
  f.packets_out = r.totals.packets[Direction::kOutbound];
  f.packets_in = r.totals.packets[Direction::kInbound];
  f.duration = narrow(duration_ms(r));
  f.end_reason = end_reason(r.reason);
  return f;
}

}  // namespace

/// An error of libfixbuf, freed with it.
class FixbufError {
 public:
  ~FixbufError() { clear(); }
  FixbufError() = default;
  FixbufError(const FixbufError&) = delete;
  FixbufError& operator=(const FixbufError&) = delete;

  [[nodiscard]] GError** get() {
    clear();
    return &error_;
  }
  [[nodiscard]] bool is_end_of_message() const {
    return g_error_matches(error_, FB_ERROR_DOMAIN, FB_ERROR_EOM);
  }
  [[noreturn]] void raise() const {
    throw std::runtime_error(
        fmt::format("libfixbuf: {}", error_ == nullptr ? "it failed" : error_->message));
  }

 private:
  void clear() { g_clear_error(&error_); }
  GError* error_ = nullptr;
};

/// libfixbuf's objects: the session and the exporter belong to the buffer.
struct IpfixWriter::Library {
  Library(std::uint32_t domain, std::uint16_t longest) : message(longest) {
    model = fbInfoModelAlloc();
    session = fbSessionAlloc(model);
    fbSessionSetDomain(session, domain);
  }
  ~Library() {
    if (buffer != nullptr)
      fBufFree(buffer);
    else
      fbSessionFree(session);
    fbInfoModelFree(model);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  /// After the templates: each that is added to a session with a buffer is written at once.
  void open();
  void add_internal();
  void add_external(const TemplateOf& of);
  void add(fbTemplate_t* made, gboolean internal, std::uint16_t id);

  std::vector<std::uint8_t> message;
  fbInfoModel_t* model;
  fbSession_t* session;
  fbExporter_t* exporter = nullptr;
  fBuf_t* buffer = nullptr;
  FixbufError error;
};

void IpfixWriter::Library::open() {
  exporter = fbExporterAllocBuffer(message.data(), static_cast<std::uint16_t>(message.size()));
  buffer = fBufAllocForExport(session, exporter);
  fBufSetAutomaticMode(buffer, FALSE);
}

void IpfixWriter::Library::add(fbTemplate_t* made, gboolean internal, std::uint16_t id) {
  if (fbSessionAddTemplate(session, internal, id, made, error.get()) != id) error.raise();
}

void IpfixWriter::Library::add_internal() {
  fbTemplate_t* const made = fbTemplateAlloc(model);
  for (const Element& element : kElements) {
    fbInfoElementSpec_t spec{const_cast<char*>(element.name), element.size, 0};
    if (!fbTemplateAppendSpec(made, &spec, 0, error.get())) error.raise();
  }
  add(made, TRUE, kInternal);
}

void IpfixWriter::Library::add_external(const TemplateOf& of) {
  fbTemplate_t* const made = fbTemplateAlloc(model);
  for (const char* const name : of.names) {
    fbInfoElementSpec_t spec{const_cast<char*>(name), 0, 0};
    if (!fbTemplateAppendSpec(made, &spec, 0, error.get())) error.raise();
  }
  if (of.scope != 0) fbTemplateSetOptionsScope(made, of.scope);
  add(made, FALSE, of.id);
}

IpfixWriter::IpfixWriter(std::uint32_t domain, std::uint16_t longest)
    : library_(std::make_unique<Library>(domain, longest)) {
  Library& l = *library_;
  l.add_internal();
  for (const TemplateOf& of : external_templates()) l.add_external(of);
  l.open();
  // libfixbuf says at the first attempt that no message has begun, and begins one.
  if (!fbSessionExportTemplates(l.session, l.error.get()) &&
      (!l.error.is_end_of_message() || !fbSessionExportTemplates(l.session, l.error.get())))
    l.error.raise();
  templates_ = take();
  if (!fBufSetInternalTemplate(l.buffer, kInternal, l.error.get())) l.error.raise();
}

IpfixWriter::~IpfixWriter() = default;

std::string IpfixWriter::take() {
  Library& l = *library_;
  if (!fBufEmit(l.buffer, l.error.get())) l.error.raise();
  return {reinterpret_cast<const char*>(l.message.data()), fbExporterGetMsgLen(l.exporter)};
}

IpfixWriter::Added IpfixWriter::append(const RecordBatch& batch, const Record& record,
                                       std::uint16_t template_id) {
  Library& l = *library_;
  Fields fields = fields_of(batch, record, lost_);
  if (!fBufSetExportTemplate(l.buffer, template_id, l.error.get())) l.error.raise();
  if (fBufAppend(l.buffer, reinterpret_cast<std::uint8_t*>(&fields), sizeof fields, l.error.get()))
    return Added::kYes;
  if (!l.error.is_end_of_message()) l.error.raise();
  return Added::kFull;
}

IpfixWriter::Message IpfixWriter::write(const RecordBatch& batch, std::size_t from) {
  Message message;
  for (message.next = from; message.next < batch.records.size(); ++message.next) {
    const Record& record = batch.records[message.next];
    const std::uint16_t template_id = template_of(batch, record);
    if (template_id == kNotExported) continue;
    const std::uint64_t more = record.is(LogKind::kLost) ? record.raw.totals.count : 0;
    lost_ += more;
    Added added = append(batch, record, template_id);
    // The first one of a message is the one that begins it.
    if (added == Added::kFull && message.records == 0) added = append(batch, record, template_id);
    if (added == Added::kFull) {
      lost_ -= more;
      break;
    }
    message.lost += more;
    ++message.records;
  }
  if (message.records != 0) message.bytes = take();
  return message;
}

void IpfixWriter::number(std::string& message, std::uint32_t sequence) {
  if (message.size() < kHeader) return;
  for (unsigned i = 0; i < 4; ++i)
    message[kSequenceOffset + i] = static_cast<char>(sequence >> (24 - 8 * i));
}

}  // namespace lsn::control
