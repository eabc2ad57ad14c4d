// MissRatioCurve: predicts which lookups a cache of another size would have answered, from the
// lookups that a cache of some size sees. One of them stands for one cache, and for one way to
// choose what goes; callers are told apart by group. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "absl/types/span.h"
#include "cachestore/block/block_key.h"

namespace reprise::cachestore {

// The blocks of a prompt, root first, all of one size.
struct BlockRun {
  absl::Span<const BlockKey> keys;
  uint64_t block_bytes = 0;  // that one takes of the cache
  int64_t block_tokens = 0;
  uint32_t group = 0;  // small numbers
};

// Where a block stands in an order of eviction; larger: it goes later. nullopt: nothing is known.
using PlaceInOrder = std::function<std::optional<uint64_t>(const BlockKey& key)>;

class MissRatioCurve {
 public:
  virtual ~MissRatioCurve() = default;

  // The blocks were looked up, and are there afterwards.
  virtual void OnLookup(const BlockRun& run) = 0;
  // They came in, or were used, and nothing was looked up.
  virtual void OnStore(const BlockRun& run) = 0;
  // Takes in what the order has become. Between calls what is used counts as what goes last. Takes
  // some 0.2 us a sample: call it now and then. Returns how many samples it looked at.
  virtual size_t Order() = 0;
  // Caches that are larger are of no interest.
  virtual void Reach(double capacity_bytes) = 0;
  // What was seen so far counts so much less from now on.
  virtual void Age(double factor) = 0;

  // Tokens that the group has looked up, and those of them that a cache of `capacity_bytes` would
  // have had.
  virtual double LookedUpTokens(uint32_t group) const = 0;
  virtual double HitTokens(uint32_t group, double capacity_bytes) const = 0;

  // Of the keys looked up, the share that is watched.
  virtual double sampling_rate() const = 0;
  virtual size_t memory_bytes() const = 0;
};

}  // namespace reprise::cachestore
