// EvictionBed: an eviction policy of the store, full of made-up blocks and nothing else: no index,
// no bytes. Conversations of 32 blocks come, in virtual time; every third request goes back to one
// of the last quarter, whose missing blocks come again. For each block that comes one goes, as in
// the last tier: the end of a conversation, the one that the policy says. All blocks have a copy in
// a tier above as well, which could go too. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "bench/hitrate/policy_feed.h"
#include "cachestore/block/block_id.h"
#include "cachestore/policy/eviction_policy.h"

namespace reprise::bench {

class EvictionBed {
 public:
  static constexpr uint32_t kChainBlocks = 32;

  // Full of `num_blocks` blocks, at least kChainBlocks. An hour of virtual time brings as many.
  EvictionBed(const PolicyMaker& make, int64_t num_blocks);

  // Serves requests until at least `num_victims` more blocks had to go; returns CPU seconds for
  // each that went: to ask for it and to take it away, not what the requests cost beside that.
  double Serve(int64_t num_victims);

 private:
  struct Chain {
    std::vector<cachestore::BlockId> ids;  // of its first blocks, those that are there
  };

  void ServeOne();
  cachestore::BlockKey KeyOfBlock(size_t chain, size_t depth) const;
  // Has the end of the chain be a candidate, or not, if there is one.
  void PlaceEnd(const Chain& chain, bool candidate);
  // Takes the block that goes first; its id is free then.
  void Evict();
  // Until as many blocks may come.
  void MakeRoom(size_t num_blocks);

  const int64_t num_blocks_;
  int64_t now_us_ = 0;
  const std::unique_ptr<cachestore::EvictionPolicy> policy_;
  std::mt19937_64 random_;
  std::vector<Chain> chains_;
  std::vector<uint32_t> chain_of_;  // by id: -> chains_
  std::vector<cachestore::BlockId> free_;
  int64_t num_victims_ = 0;
  double victim_seconds_ = 0;  // CPU time
  std::vector<cachestore::BlockKey> keys_;  // of the request under way
};

}  // namespace reprise::bench
