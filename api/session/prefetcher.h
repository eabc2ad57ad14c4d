// Prefetcher: loads that somebody will want soon, and that nobody waits for. Owns their tickets,
// so many and so large at most, until they are done. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "api/session/byte_budget.h"
#include "api/session/keeper.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

class Prefetcher {
 public:
  // `store` must outlive the prefetcher; `keeper` takes what is done. At most `max_prefetches` are
  // under way at once and hold `max_bytes` of RAM at most.
  Prefetcher(cachestore::TieredStore* store, std::shared_ptr<KeeperQueue> keeper,
             int64_t max_prefetches, int64_t max_bytes)
      : tickets_(std::make_shared<Tickets>(max_bytes)),
        store_(store),
        keeper_(std::move(keeper)),
        max_prefetches_(max_prefetches) {}

  // Starts loading the first `max_blocks` blocks of the cached prefix of `prompt`, as far as they
  // may be held, and returns at once; what is not loaded by `deadline` is left. kResourceExhausted:
  // as much is under way as may be.
  absl::StatusOr<v1::PrefetchResponse> Start(const cachestore::NamespaceHandle& ns,
                                             const cachestore::BlockContent& prompt,
                                             int64_t max_blocks, absl::Time deadline,
                                             const cachestore::RequestHints& hints);

  int64_t under_way() const;

 private:
  struct Prefetch {
    cachestore::PinTicket ticket;
    int64_t bytes = 0;
  };
  // Shared with the callbacks of the store, which may come late.
  struct Tickets {
    explicit Tickets(int64_t max_bytes) : bytes(max_bytes) {}
    // Lets go of a ticket that is done.
    void Drop(int64_t number) ABSL_LOCKS_EXCLUDED(mu);

    ByteBudget bytes;
    mutable absl::Mutex mu;
    int64_t last_number ABSL_GUARDED_BY(mu) = 0;
    absl::flat_hash_map<int64_t, Prefetch> under_way ABSL_GUARDED_BY(mu);
  };

  const std::shared_ptr<Tickets> tickets_;
  cachestore::TieredStore* const store_;
  const std::shared_ptr<KeeperQueue> keeper_;
  const int64_t max_prefetches_;
};

}  // namespace reprise::api
