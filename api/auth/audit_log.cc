#include "api/auth/audit_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

constexpr int64_t kRefusalsPerSecond = 10;
// Text of others, such as a client's name, is cut here.
constexpr size_t kMaxFieldBytes = 256;

std::string Cut(std::string text) {
  if (text.size() > kMaxFieldBytes) text.resize(kMaxFieldBytes);
  return text;
}

std::string LineOf(const AuditEvent& event, absl::Time now, int64_t left_out) {
  nlohmann::ordered_json line = {
      {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", now, absl::UTCTimeZone())},
      {"what", std::string(event.what)},
      {"who", Cut(event.who)},
      {"tenant", Cut(event.tenant)},
      {"from", Cut(event.from)}};
  if (!event.request_id.empty()) line["request_id"] = event.request_id;
  line["outcome"] = absl::StatusCodeToString(event.outcome.code());
  if (!event.outcome.ok()) line["cause"] = Cut(std::string(event.outcome.message()));
  if (!event.detail.empty()) line["detail"] = Cut(event.detail);
  if (left_out > 0) line["left_out_before"] = left_out;
  // A newline in a text of others is escaped: one event is one line, whatever it holds.
  return line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

absl::StatusOr<int> OpenToAppend(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd >= 0) return fd;
  return absl::FailedPreconditionError(
      absl::StrCat("cannot write the audit log ", path, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path) {
  std::unique_ptr<AuditLog> log(new AuditLog(path));
  RETURN_IF_ERROR(log->Reopen());
  return log;
}

AuditLog::AuditLog(const std::string& path) : path_(path), refusals_(kRefusalsPerSecond) {}

AuditLog::~AuditLog() {
  absl::MutexLock lock(&mu_);
  if (fd_ >= 0) close(fd_);
}

absl::Status AuditLog::Reopen() {
  if (path_.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int fd, OpenToAppend(path_));
  absl::MutexLock lock(&mu_);
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  return absl::OkStatus();
}

void AuditLog::WriteLine(const AuditEvent& event, absl::Time now, int64_t left_out) {
  const std::string line = LineOf(event, now, left_out);
  // O_APPEND and one write: lines of two processes do not mix.
  if (write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ++lost_;
}

void AuditLog::Write(const AuditEvent& event) {
  absl::MutexLock lock(&mu_);
  if (fd_ >= 0) WriteLine(event, absl::Now(), 0);
}

void AuditLog::WriteRefusal(const AuditEvent& event) {
  const absl::Time now = absl::Now();
  absl::MutexLock lock(&mu_);
  if (fd_ < 0) return;
  const std::optional<int64_t> left_out = refusals_.Take(now);
  if (left_out.has_value()) WriteLine(event, now, *left_out);
}

int64_t AuditLog::lost() const {
  absl::MutexLock lock(&mu_);
  return lost_;
}

}  // namespace reprise::api
