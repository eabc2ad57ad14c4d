// CallShare: how many calls that hold a thread each tenant has under way, and how many it may have,
// so that one whose calls do not end leaves threads to the others. A call that is answered holds
// its thread until the client has taken the answer; but a client that calls again on seeing it
// comes sooner than the thread goes, so such calls are counted apart. Thread-safe.
#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace reprise::api {

class CallShare {
 public:
  // How many of a tenant's calls may run, and how many more be answered and not yet ended.
  CallShare(int calls_per_tenant, int answers_per_tenant)
      : calls_per_tenant_(calls_per_tenant), answers_per_tenant_(answers_per_tenant) {}

  // Counts a call of `tenant`; empty: an operator's, who has no limit. kResourceExhausted: it has
  // as many as it may, and this one is not counted; the message says when to come again
  // (RetryAfter).
  absl::Status Begin(const std::string& tenant);
  // A call is answered, later it ends. REQUIRES: it was counted, and runs, or was answered.
  void Answer(const std::string& tenant);
  void End(const std::string& tenant);

 private:
  struct Calls {
    int running = 0;
    int answered = 0;
  };

  const int calls_per_tenant_;
  const int answers_per_tenant_;
  absl::Mutex mu_;
  absl::flat_hash_map<std::string, Calls> calls_ ABSL_GUARDED_BY(mu_);  // those that have any
};

}  // namespace reprise::api
