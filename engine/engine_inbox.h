// Inbox: what other threads tell the engine thread: new requests, cancellations, "look again".
//
// Bounded: at most `max_waiting` sequences wait, here and in the scheduler together, of which a
// request has one for each sample; cancellations are kept only for requests that are alive. Shared
// with the callbacks of loads, which may come after the engine is gone. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cachestore/store/tiered_store.h"
#include "engine/sched/request.h"
#include "engine/sched/sequence.h"

namespace reprise::engine {

// A request on its way to the engine thread.
struct Submission {
  SequenceId id = 0;  // given by the inbox
  cachestore::NamespaceHandle ns;
  GenerateRequest request;
  std::shared_ptr<TokenSink> sink;
  absl::Time submitted;
};

class Inbox {
 public:
  struct Mail {
    std::vector<Submission> submissions;  // oldest first
    std::vector<SequenceId> cancelled;
    absl::Status closed;  // why the inbox was closed; OK: it is open
  };

  explicit Inbox(int64_t max_waiting) : max_waiting_(max_waiting) {}

  // Adds a request; returns its id, the first of as many consecutive ones as it has samples.
  // kInvalidArgument: more samples than may ever wait; kResourceExhausted: too many wait, with the
  // time in which places come free lately, if that is known; or why the inbox was closed.
  absl::StatusOr<SequenceId> Submit(Submission submission) ABSL_LOCKS_EXCLUDED(mu_);
  // No effect unless `id` is alive.
  void Cancel(SequenceId id) ABSL_LOCKS_EXCLUDED(mu_);
  // Makes Take() return.
  void Wake() ABSL_LOCKS_EXCLUDED(mu_);
  // Refuses further requests with `why` (not OK) and makes Take() return; what is in the inbox can
  // still be taken. The first call counts.
  void Close(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

  // The engine thread's side. Waits for mail, Wake(), Close() or `deadline`. BLOCKS.
  Mail Take(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);
  // Reports how many sequences of requests taken from here still wait in the scheduler at `now`.
  void SetTakenWaiting(int64_t count, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  // `id` has ended.
  void Forget(SequenceId id) ABSL_LOCKS_EXCLUDED(mu_);

  // Sequences that wait, here and in the scheduler.
  int64_t num_waiting() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  bool HasNewsLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // "; one leaves in about 120ms", or nothing.
  std::string RetryHintLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  int64_t NumWaitingLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  const int64_t max_waiting_;
  mutable absl::Mutex mu_;
  Mail mail_ ABSL_GUARDED_BY(mu_);
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  int64_t mail_waiting_ ABSL_GUARDED_BY(mu_) = 0;  // samples of the submissions in mail_
  int64_t taken_waiting_ ABSL_GUARDED_BY(mu_) = 0;
  // Between sequences that leave the queue, a moving average; negative: none has left yet.
  absl::Duration leave_interval_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  absl::Time last_left_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();  // or when it began to fill
  SequenceId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  absl::flat_hash_set<SequenceId> alive_ ABSL_GUARDED_BY(mu_);  // submitted, not ended
};

}  // namespace reprise::engine
