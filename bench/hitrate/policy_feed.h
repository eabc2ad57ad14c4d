// PolicyFeed: what a replay tells an eviction policy of the store, and nothing else does: the one
// place that knows the calls. Keeps the policy's virtual time. Thread-compatible.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "cachestore/block/block_id.h"
#include "cachestore/block/block_key.h"
#include "cachestore/index/prefix_index.h"
#include "cachestore/index/residency.h"
#include "cachestore/policy/eviction_policy.h"
#include "cachestore/policy/miss_ratio_curve.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

using PolicyMaker = std::function<std::unique_ptr<cachestore::EvictionPolicy>()>;

// What a policy is told beyond keys, lengths and times.
struct FeedOptions {
  // How answers ended, that a session is over with its last one, and sessions and turns of all but
  // side requests.
  bool tells_hints = false;
  int64_t queue_ms = 0;  // requests are known of so long before they are served
};

class PolicyFeed : public cachestore::NodeListener {
 public:
  PolicyFeed(const PolicyMaker& make, const cachestore::Trace& trace, const FeedOptions& options);

  cachestore::EvictionPolicy& policy() { return *policy_; }
  const FeedOptions& options() const { return options_; }

  // A request that waits for the blocks of `keys`, of which `matched` are in the store; both root
  // first.
  void OnWaiting(const cachestore::TraceRequest& request,
                 absl::Span<const cachestore::BlockKey> keys,
                 absl::Span<const cachestore::BlockId> matched);
  // It is served.
  void OnRequest(const cachestore::TraceRequest& request,
                 absl::Span<const cachestore::BlockKey> keys,
                 absl::Span<const cachestore::BlockId> matched);
  // It is over, and `last` is its last block, if that is in the store. Where the trace has what its
  // answer leaves behind, the policy is told then, with the end of that.
  void OnRequestEnd(const cachestore::TraceRequest& request,
                    absl::Span<const cachestore::BlockKey> keys, cachestore::BlockId last);
  // Where the blocks of `index`, and those that have left it, stand in the order; null: by last
  // use. For as long as both live.
  cachestore::PlaceInOrder PlacesOf(const cachestore::PrefixIndex* index);

  // From the index.
  void OnInsert(cachestore::BlockId id, cachestore::BlockId parent,
                const cachestore::BlockKey& key) override;
  void OnErase(cachestore::BlockId id, const cachestore::BlockKey& key) override;

 private:
  // Fills answered_ and ends_with_answer_.
  void FindAnswers();
  void Tell(const cachestore::TraceRequest& request, cachestore::RequestHints::Use use,
            absl::Span<const cachestore::BlockKey> keys,
            absl::Span<const cachestore::BlockId> matched);
  // Names a request among those that wait; not 0.
  uint64_t NumberOf(const cachestore::TraceRequest& request) const {
    return static_cast<uint64_t>(&request - trace_.requests.data()) + 1;
  }

  const cachestore::Trace& trace_;
  const FeedOptions options_;
  absl::flat_hash_set<uint64_t> last_of_session_;  // numbers of lookups
  absl::flat_hash_map<uint64_t, int32_t> turns_;   // in their sessions, by number of the lookup
  // By the number of what is left behind, the lookup that is answered; and the numbers of those.
  absl::flat_hash_map<uint64_t, const cachestore::TraceRequest*> answered_;
  absl::flat_hash_set<uint64_t> ends_with_answer_;
  const std::unique_ptr<cachestore::EvictionPolicy> policy_;
};

}  // namespace reprise::bench
