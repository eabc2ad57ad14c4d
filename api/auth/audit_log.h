// AuditLog: who did what to the server, one line of JSON each: calls of operators, invalidations,
// reloads, refused credentials. Never a secret. Owns the file; appends whole lines. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "api/log/line_limit.h"

namespace reprise::api {

// One line: {"time": ..., "what": ..., "who": ..., "tenant": ..., "from": ..., "request_id": ...,
// "outcome": ...}.
struct AuditEvent {
  absl::string_view what;  // "Invalidate", "Reload", "refused", ...
  std::string who;         // Principal::name
  std::string tenant;      // of the principal; empty: any
  std::string from;        // the peer, as gRPC names it
  std::string request_id;  // empty: it was no request
  absl::Status outcome;    // its code, and the message when it is not OK
  std::string detail;      // for people; may be empty
};

class AuditLog {
 public:
  // Appends to the file `path`, which is made for this user alone when it is missing. Empty: writes
  // nothing. kFailedPrecondition: it cannot be opened, with the system's reason.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const std::string& path);
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // BLOCKS for the write. A line that cannot be written is counted.
  void Write(const AuditEvent& event);
  // The same for what anybody can cause as often as they like: at most 10 a second are written; a
  // later line says how many were left out.
  void WriteRefusal(const AuditEvent& event);

  // Opens the path anew, after the file was moved away. An error leaves the old file open.
  absl::Status Reopen();

  // Lines that could not be written.
  int64_t lost() const;

 private:
  explicit AuditLog(const std::string& path);

  void WriteLine(const AuditEvent& event, absl::Time now, int64_t left_out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string path_;
  mutable absl::Mutex mu_;
  int fd_ ABSL_GUARDED_BY(mu_) = -1;
  int64_t lost_ ABSL_GUARDED_BY(mu_) = 0;
  LineLimit refusals_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
