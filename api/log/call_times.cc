#include "api/log/call_times.h"

namespace reprise::api {

void CallTimes::Add(absl::string_view rpc, absl::Duration waiting) {
  absl::MutexLock lock(&mu_);
  auto found = by_rpc_.find(rpc);
  if (found == by_rpc_.end()) {
    if (by_rpc_.size() == kMaxNames) return;
    found = by_rpc_.emplace(rpc, cachestore::LatencyHistogram()).first;
  }
  found->second.Add(waiting);
}

CallTimes::ByRpc CallTimes::Read() const {
  absl::MutexLock lock(&mu_);
  return by_rpc_;
}

}  // namespace reprise::api
