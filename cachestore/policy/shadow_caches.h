// ShadowCaches: two caches as large as the store, of which one gives up blocks as the model says
// and the other one what was used the longest ago, and which of the two serves better. They hold no
// bytes, and of all blocks a sample by hash of their keys (Waldspurger et al., "Efficient MRC
// Construction with SHARDS", FAST 2015): at most kMaxSamples of them each, fewer in a store of less
// than kMaxSamples / kFirstRate. Both serve the same requests, whatever the store itself did with
// them, so that only the order makes a difference.
//
// What the model's cache holds holds its groups in UseGroups, and stands in a candidate set of its
// own (UseGroups::kShadowSet) as long as no other sampled block of its chain is below it there.
// Nothing is learned from it.
// Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "cachestore/block/block_key.h"
#include "cachestore/policy/id_table.h"
#include "cachestore/policy/order_contest.h"
#include "cachestore/policy/ranked_sets.h"
#include "cachestore/policy/use_groups.h"

namespace reprise::cachestore {

class ShadowCaches {
 public:
  static constexpr size_t kMaxSamples = 4096;
  static constexpr double kFirstRate = 1.0 / 32;

  // Both outlive it.
  ShadowCaches(UseGroups& groups, RankedSets& sets);

  // A request uses the blocks of `keys`, root first, all of which are in the store then, which has
  // room for `capacity` blocks. `group_of` says to which group the block of a key belongs now; what
  // it returns is held at once.
  void OnRequest(absl::Span<const BlockKey> keys, size_t capacity,
                 absl::FunctionRef<GroupId(size_t)> group_of);

  // Whether what was used the longest ago should go first.
  bool lru_is_better() const { return contest_.lru_is_better(); }

 private:
  using Index = uint32_t;
  static constexpr Index kNone = 0xffffffff;

  struct Sample {
    uint64_t key = 0;
    Index newer = kNone;  // its neighbours in LRU's cache
    Index older = kNone;
    GroupId group = kNoGroup;  // kNoGroup: not in the model's cache
    uint32_t depth = 0;        // in its chain
    Index parent = kNone;      // the sampled block above it, in the model's cache
    uint32_t children = 0;     // there
    bool in_lru = false;
  };

  // Fills path_ with the request's samples, new ones among them, root first.
  void FindPath(absl::Span<const BlockKey> keys);
  // How many of the leading samples of path_ each cache has.
  ContestRound Look() const;
  void UseInLru();
  void UseInModel(absl::FunctionRef<GroupId(size_t)> group_of);
  void EvictFromLru();
  void EvictFromModel();
  void Unlink(Index i);
  // In and out of the candidate set.
  void Enter(Index i);
  void Leave(Index i);
  // It is gone if no cache has it.
  void ForgetIfGone(Index i);
  void HalveRate();

  UseGroups& groups_;
  RankedSets& sets_;
  double rate_ = kFirstRate;
  uint64_t limit_;  // of hashes
  absl::flat_hash_map<uint64_t, Index> by_key_;
  IdTable<Sample> samples_;
  Index newest_ = kNone;  // of LRU's cache
  Index oldest_ = kNone;
  size_t lru_size_ = 0;
  size_t model_size_ = 0;
  std::vector<Index> path_;  // of the request under way
  OrderContest contest_;
};

}  // namespace reprise::cachestore
