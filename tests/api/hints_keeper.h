// HintsKeeper: what the requests of a store say of themselves, for a test to look at.
#pragma once

#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/store/request_observer.h"

namespace reprise::api {

// Thread-safe.
class HintsKeeper final : public cachestore::RequestObserver {
 public:
  void OnRequest(const cachestore::StoreRequest& request) override {
    // Parts of requests that were told of say nothing.
    if (request.hints.use != cachestore::RequestHints::Use::kPart) Keep(request.hints);
  }
  void OnEnd(const cachestore::StoreRequestEnd& end) override { Keep(end.end.hints); }

  // Those since it was asked last.
  std::vector<cachestore::RequestHints> Take() {
    absl::MutexLock lock(&mu_);
    return std::exchange(hints_, {});
  }

 private:
  void Keep(const cachestore::RequestHints& hints) {
    absl::MutexLock lock(&mu_);
    hints_.push_back(hints);
  }

  absl::Mutex mu_;
  std::vector<cachestore::RequestHints> hints_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
