#include "api/log/call_log.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"

namespace reprise::api {
namespace {

constexpr int64_t kInfoLinesPerSecond = 100;
// Lines that wait to be written.
constexpr size_t kQueuedLines = 4096;
// Text of others, such as a certificate's name, is cut here.
constexpr size_t kMaxFieldBytes = 128;

using Json = nlohmann::ordered_json;

void AddText(absl::string_view name, absl::string_view value, Json* fields) {
  if (!value.empty()) (*fields)[std::string(name)] = std::string(value.substr(0, kMaxFieldBytes));
}

double Milliseconds(absl::Duration time) {
  return absl::ToDoubleMicroseconds(absl::Trunc(time, absl::Microseconds(1))) / 1000;
}

Json FieldsOf(const CallRecord& record, int64_t left_out) {
  Json fields;
  AddText("rpc", record.rpc, &fields);
  AddText("status", record.status, &fields);
  fields["ms"] = Milliseconds(record.time);
  if (record.waiting < record.time) fields["first_ms"] = Milliseconds(record.waiting);
  AddText("tenant", record.tenant, &fields);
  AddText("who", record.who, &fields);
  AddText("from", record.from, &fields);
  AddText("request_id", record.ids.request_id, &fields);
  AddText("trace_id", record.ids.trace_id(), &fields);
  if (record.work.blocks > 0) {
    fields["blocks"] = record.work.blocks;
    fields["bytes"] = record.work.bytes;
  }
  if (record.work.hit_tokens >= 0) fields["hit_tokens"] = record.work.hit_tokens;
  AddText("cause", record.cause, &fields);
  if (left_out > 0) fields["left_out_before"] = left_out;
  return fields;
}

// A newline or a quote in a text of others is escaped: one call is one line, whatever it holds.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

// Whether a text can stand in a line without quotes.
bool IsPlain(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        absl::string_view("-_.:/+@()%[]").find(c) == text.npos) {
      return false;
    }
  }
  return true;
}

std::string TextOf(const Json& value) {
  if (!value.is_string()) return Dump(value);
  const auto& text = value.get_ref<const std::string&>();
  return IsPlain(text) ? text : Dump(value);
}

std::string LineOf(const LogOptions& options, absl::string_view level, const Json& fields) {
  const std::string time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  if (options.format == LogFormat::kJson) {
    Json line = {{"time", time}, {"level", std::string(level)}, {"what", "call"}};
    line.update(fields);
    return Dump(line);
  }
  std::string line = absl::StrCat(time, " ", level, " call");
  for (const auto& [name, value] : fields.items()) {
    absl::StrAppend(&line, " ", name, "=", TextOf(value));
  }
  return line;
}

// Whether the fault is the server's, so that the message is its own words.
bool IsServers(absl::StatusCode code) {
  return code == absl::StatusCode::kInternal || code == absl::StatusCode::kDataLoss ||
         code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kUnknown;
}

}  // namespace

// One queue and one thread, which writes to one file.
class CallLog::Writer {
 public:
  explicit Writer(std::FILE* out)
      : pool_(std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1)),
        logger_(std::make_shared<spdlog::async_logger>(
            "calls",
            std::make_shared<spdlog::sinks::stdout_sink_base<spdlog::details::console_mutex>>(out),
            pool_, spdlog::async_overflow_policy::overrun_oldest)) {
    logger_->set_pattern("%v");
  }
  void Write(const std::string& line) { logger_->info(line); }

 private:
  const std::shared_ptr<spdlog::details::thread_pool> pool_;
  const std::shared_ptr<spdlog::async_logger> logger_;
};

void CallRecord::SetOutcome(const absl::Status& outcome) {
  status = absl::StatusCodeToString(outcome.code());
  failed = !outcome.ok() && !absl::IsCancelled(outcome);
  is_fault = IsServers(outcome.code());
  if (is_fault) cause = std::string(outcome.message());
}

CallLog::CallLog(const LogOptions& options, std::FILE* out)
    : options_(options),
      faults_(kInfoLinesPerSecond),
      errors_(kInfoLinesPerSecond),
      writer_(std::make_unique<Writer>(out)) {}

CallLog::~CallLog() = default;

void CallLog::Write(const CallRecord& record) {
  const bool is_slow = !record.waits_for_client && record.waiting > kSlowCall;
  const bool is_info = record.failed || is_slow;
  if (!record.failed && !record.waits_for_client) times_.Add(record.rpc, record.waiting);
  const LogOptions options = options_;
  if (options.level == LogLevel::kOff || (options.level == LogLevel::kInfo && !is_info)) return;
  int64_t left_out = 0;
  if (options.level == LogLevel::kInfo) {
    absl::MutexLock lock(&mu_);
    LineLimit& limit = record.is_fault || is_slow ? faults_ : errors_;
    const std::optional<int64_t> taken = limit.Take(absl::Now());
    if (!taken.has_value()) return;
    left_out = *taken;
  }
  writer_->Write(LineOf(options, is_info ? "info" : "debug", FieldsOf(record, left_out)));
}

}  // namespace reprise::api
