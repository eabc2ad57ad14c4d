// What tests of eviction policies tell them, and ask.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/policy/eviction_policy.h"

namespace reprise::cachestore {

// Of a block that is named by its id alone.
inline BlockKey KeyOf(BlockId id) { return {.hi = 0, .lo = id}; }

// A new block comes in, and is used. It is no candidate yet.
inline void Insert(EvictionPolicy& policy, BlockId id, BlockId parent) {
  policy.OnInsert(id, parent, KeyOf(id));
  policy.OnUse(id, parent);
}

// A request that finds all of its blocks, root first.
inline void Use(EvictionPolicy& policy, absl::Span<const BlockId> chain, int64_t time_ms = 0) {
  std::vector<BlockKey> keys;
  for (const BlockId id : chain) keys.push_back(KeyOf(id));
  const RequestHints hints = {.use = RequestHints::Use::kRequest};
  policy.OnRequest({.time_ms = time_ms,
                    .block_tokens = 16,
                    .prompt_tokens = static_cast<int64_t>(16 * chain.size()),
                    .keys = keys,
                    .matched = chain,
                    .hints = hints});
}

// The blocks of a set, the one that goes first at first.
inline std::vector<BlockId> OrderOf(const EvictionPolicy& policy, CandidateSet set) {
  std::vector<BlockId> order;
  policy.ProposeVictims(set, [&](BlockId id) {
    order.push_back(id);
    return true;
  });
  return order;
}

}  // namespace reprise::cachestore
