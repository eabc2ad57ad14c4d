// CallShare: how many calls that hold a thread each tenant has under way, and how many it may have,
// so that one whose calls do not end leaves threads to the others. Thread-safe.
#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace reprise::api {

class CallShare {
 public:
  explicit CallShare(int calls_per_tenant) : calls_per_tenant_(calls_per_tenant) {}

  // Counts a call of `tenant`; empty: an operator's, who has no limit. kResourceExhausted: it has
  // as many as it may, and this one is not counted; the message says when to come again
  // (RetryAfter).
  absl::Status Begin(const std::string& tenant);
  // REQUIRES: the call was counted.
  void End(const std::string& tenant);

 private:
  const int calls_per_tenant_;
  absl::Mutex mu_;
  absl::flat_hash_map<std::string, int> calls_ ABSL_GUARDED_BY(mu_);  // those that have any
};

}  // namespace reprise::api
