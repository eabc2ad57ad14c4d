// LruCurve: the block hits of LRU (tail first) at every capacity, from one pass over the trace.
//
// LRU is a stack: a block is hit at a capacity when fewer blocks than that were used since it was.
// Blocks whose last use was the same request lie together in the stack, root first, so one look at
// a tree over the requests gives the places of a whole run of a chain. Immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cachestore/trace/trace.h"

namespace reprise::bench {

class LruCurve {
 public:
  explicit LruCurve(const cachestore::Trace& trace);

  // Block hits with so many blocks.
  int64_t HitsAt(int64_t capacity) const;
  // The least capacity with as many hits; nullopt: no capacity has them.
  std::optional<int64_t> CapacityFor(int64_t hits) const;

 private:
  std::vector<int64_t> hits_;  // by capacity, from 0 on; none more beyond the last one
};

}  // namespace reprise::bench
