// SeenRequests: a watcher of a store that keeps what it sees. Thread-safe.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/store/request_observer.h"

namespace reprise::cachestore {

class SeenRequests : public RequestObserver {
 public:
  struct Request {
    RequestHints hints;
    int64_t prompt_tokens = 0;
    size_t asked_blocks = 0;
    size_t matched_blocks = 0;
  };
  struct End {
    RequestEnd end;
    std::vector<BlockKey> keys;
    bool is_stored = false;
  };

  void OnRequest(const StoreRequest& request) override {
    absl::MutexLock lock(&mu_);
    requests_.push_back({.hints = request.hints,
                         .prompt_tokens = request.prompt_tokens,
                         .asked_blocks = request.keys.size(),
                         .matched_blocks = request.matched.size()});
  }
  void OnEnd(const StoreRequestEnd& end) override {
    absl::MutexLock lock(&mu_);
    ends_.push_back({.end = end.end,
                     .keys = {end.keys.begin(), end.keys.end()},
                     .is_stored = end.last != kNoBlock});
  }

  // What was seen since this was asked last; of lookups, those that are of `use`.
  std::vector<Request> TakeRequests(RequestHints::Use use = RequestHints::Use::kRequest) {
    absl::MutexLock lock(&mu_);
    std::vector<Request> of_use;
    for (Request& request : std::exchange(requests_, {})) {
      if (request.hints.use == use) of_use.push_back(std::move(request));
    }
    return of_use;
  }
  std::vector<End> TakeEnds() {
    absl::MutexLock lock(&mu_);
    return std::exchange(ends_, {});
  }

 private:
  absl::Mutex mu_;
  std::vector<Request> requests_ ABSL_GUARDED_BY(mu_);
  std::vector<End> ends_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::cachestore
