// What TieredStore tells of the blocks and namespaces that it holds. Plain data.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cachestore/block/block_key.h"
#include "cachestore/index/residency.h"

namespace reprise::cachestore {

struct ListedBlock {
  BlockKey key;
  BlockKey parent;  // the namespace's root key for a first block
  uint32_t namespace_id = 0;
  int64_t depth = 0;  // blocks before it
  int64_t bytes = 0;  // of its payload
  TierSet tiers;
  int64_t pins = 0;             // in RAM and on the GPU
  std::vector<uint32_t> words;  // its content (BlockContent), if it was asked for
};

struct ListPage {
  std::vector<ListedBlock> blocks;
  // Where the next page begins; kEndOfList after the last one.
  uint64_t cursor = 0;
};
inline constexpr uint64_t kEndOfList = uint64_t{1} << 32;

// The blocks of a namespace or below a prefix, parents before their children. While it lives it
// holds a pin on one block at most. Blocks that come or go meanwhile may be missed, none comes
// twice. One caller at a time; must not outlive the store.
class BlockWalk {
 public:
  virtual ~BlockWalk() = default;
  // The next blocks, with their words; `max_blocks` (positive) unless there are no more.
  virtual std::vector<ListedBlock> Next(size_t max_blocks) = 0;
};

// What a namespace is, for those who have no handle of it.
struct NamespaceInfo {
  uint32_t id = 0;
  BlockKey root;
  std::string tenant;
  std::string identity;  // its canonical encoding (NamespaceIdentity::Decode)
};

// What of a tier is in use.
struct TierUsage {
  int64_t blocks = 0;  // that can be found there
  // Of the budget: these, and what is being written or loaded, or is only held by its readers or
  // not erased yet. The bytes of all namespaces are those that the tier uses.
  int64_t bytes = 0;
};

struct NamespaceUsage {
  NamespaceInfo name;
  std::array<TierUsage, kNumCacheTiers> tiers;  // by CacheTier
};

}  // namespace reprise::cachestore
