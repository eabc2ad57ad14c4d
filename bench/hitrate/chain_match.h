// ChainMatch: which blocks of a request's chain the index of a replay has. Plain data.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "bench/hitrate/trace_keys.h"
#include "cachestore/base/check.h"
#include "cachestore/index/prefix_index.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

struct ChainMatch {
  // Looks up `chain`, root first, in place of what was looked up before. Returns how many of the
  // first blocks are there.
  size_t Look(const cachestore::PrefixIndex& index, cachestore::BlockId root,
              absl::Span<const cachestore::BlockNumber> chain) {
    keys.clear();
    for (const cachestore::BlockNumber block : chain) keys.push_back(KeyOf(block));
    ids.resize(chain.size());
    cachestore::MatchEnd end;
    hits = index.Match(root, keys, chain, absl::MakeSpan(ids), end);
    CHECK(end != cachestore::MatchEnd::kCollision);
    return hits;
  }
  absl::Span<const cachestore::BlockId> matched() const {
    return absl::MakeConstSpan(ids).first(hits);
  }

  size_t hits = 0;
  std::vector<cachestore::BlockKey> keys;  // of the whole chain
  std::vector<cachestore::BlockId> ids;    // of the first `hits` blocks; room for all
};

}  // namespace reprise::bench
