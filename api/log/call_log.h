// CallLog: what calls the server answered, and how, a line each on stderr, as text or JSON: those
// that failed or were slow, or all. Owns the thread that writes. Thread-safe.
//
// Of a call a line holds nothing that came with it but its ids: no prompt, no token, no block, no
// credential, and so no message of an error that is the client's own, which may repeat some of
// them.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "api/log/call_times.h"
#include "api/log/line_limit.h"
#include "api/log/request_ids.h"

namespace reprise::api {

enum class LogFormat { kText, kJson };
enum class LogLevel {
  kDebug,  // every call
  kInfo,   // calls that failed or were slow: of either kind of line 100 a second at most
  kOff,
};

struct LogOptions {
  LogFormat format = LogFormat::kText;
  LogLevel level = LogLevel::kInfo;
};

// What a call has done.
struct CallWork {
  int64_t blocks = 0;       // that it moved, in or out
  int64_t bytes = 0;        // of their payloads
  int64_t hit_tokens = -1;  // of its prompt that were cached; -1: it did not ask
};

// One call. Plain data.
struct CallRecord {
  std::string rpc;  // "reprise.v1.Cache/Match", "POST /v1/completions"
  RequestIds ids;
  std::string who;  // Principal::name
  std::string tenant;
  std::string from;               // the peer, as gRPC names it
  std::string status;             // "OK", "NOT_FOUND"; of HTTP "200"
  bool failed = false;            // other than by its client's going away
  bool is_fault = false;          // and the fault is the server's
  std::string cause;              // of the server's own failure; may be empty
  absl::Duration time;            // from its headers to its end
  absl::Duration waiting;         // of it, for the first answer
  bool waits_for_client = false;  // the first answer is not the server's alone to give: never slow
  CallWork work;

  // Sets status, failed, is_fault and cause.
  void SetOutcome(const absl::Status& outcome);
};

// A call that waits for its first answer for longer is slow.
inline constexpr absl::Duration kSlowCall = absl::Seconds(1);

class CallLog {
 public:
  // Writes to `out`, which must outlive the log.
  explicit CallLog(const LogOptions& options, std::FILE* out = stderr);
  // BLOCKS until what was written is out.
  ~CallLog();

  // Holds for lines from now on.
  void SetOptions(const LogOptions& options) { options_ = options; }

  // Writes the record's line soon, if it is of the level. Never blocks: when `out` takes nothing,
  // the oldest lines are lost.
  void Write(const CallRecord& record);

  // How long calls waited for their first answer, of those that did not fail and whose clients did
  // not have to speak first, whatever the level.
  CallTimes::ByRpc times() const { return times_.Read(); }

 private:
  class Writer;  // spdlog's, whose headers are for one file

  std::atomic<LogOptions> options_;  // read once a call; nothing else goes by it
  CallTimes times_;
  absl::Mutex mu_;
  // Apart, so that clients who err cannot hide what the server does.
  LineLimit faults_ ABSL_GUARDED_BY(mu_);  // the server's, and slow calls
  LineLimit errors_ ABSL_GUARDED_BY(mu_);  // the clients', and refusals
  const std::unique_ptr<Writer> writer_;
};

}  // namespace reprise::api
