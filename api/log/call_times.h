// CallTimes: how long calls took until their first answer, by RPC. Thread-safe.
#pragma once

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cachestore/store/latency_histogram.h"

namespace reprise::api {

class CallTimes {
 public:
  using ByRpc = std::map<std::string, cachestore::LatencyHistogram, std::less<>>;

  // Counts a call of `rpc`, unless it is one name too many (kMaxNames).
  void Add(absl::string_view rpc, absl::Duration waiting);
  // Of those that were called.
  ByRpc Read() const;

 private:
  // Several times as many as the server has.
  static constexpr size_t kMaxNames = 128;

  mutable absl::Mutex mu_;
  ByRpc by_rpc_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
