// Where a block is found, and who is told when that changes.
#pragma once

#include <cstdint>

#include "cachestore/block/block_id.h"
#include "cachestore/block/block_key.h"

namespace reprise::cachestore {

// All tiers, the fastest first.
enum class CacheTier : uint8_t { kGpu, kRam, kDisk };
inline constexpr int kNumCacheTiers = 3;
inline constexpr CacheTier kCacheTiers[] = {CacheTier::kGpu, CacheTier::kRam, CacheTier::kDisk};

// Some of the tiers. Immutable.
class TierSet {
 public:
  constexpr TierSet() = default;
  constexpr TierSet(bool gpu, bool ram, bool disk)
      : bits_(static_cast<uint8_t>(gpu | ram << 1 | disk << 2)) {}

  constexpr bool Has(CacheTier tier) const { return (bits_ >> static_cast<int>(tier) & 1) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  friend constexpr bool operator==(TierSet, TierSet) = default;

 private:
  uint8_t bits_ = 0;
};

// Why a block is not found in a tier any more.
enum class Removal : uint8_t {
  kEvicted,  // it made room, or its copy below stays
  kInvalidated,
  kFailedVerification,  // its bytes are not what was stored
  kLost,                // it could not be read, the device failed, or it went with an ancestor
  kNotAdmitted,  // it made room, and was not worth a write to disk, or its quota there had no room
};
inline constexpr int kNumRemovals = 5;

// A change of the tiers in which a block is found, or of what it takes on disk.
struct ResidencyChange {
  uint32_t namespace_id = 0;
  const BlockKey& key;
  const BlockKey& parent;  // the namespace's root key for a first block
  TierSet before;
  TierSet after;
  int disk_copies = 0;  // 1: a disk copy is begun, or was there already; -1: it is gone for good
  Removal why = Removal::kEvicted;  // of the tiers that it has left
};

// Told of the nodes that there are.
class NodeListener {
 public:
  virtual ~NodeListener() = default;
  // A block came into the index, below `parent`; kNoBlock: it is the first one of its chain.
  virtual void OnInsert(BlockId id, BlockId parent, const BlockKey& key) = 0;
  // It is gone, and its number may be given to another one. As above, it must not call the index.
  virtual void OnErase(BlockId id, const BlockKey& key) = 0;
};

class ResidencyListener {
 public:
  virtual ~ResidencyListener() = default;
  // Called for every change, in their order, by whoever makes it; must be quick, and must not call
  // the index.
  virtual void OnChange(const ResidencyChange& change) = 0;
};

}  // namespace reprise::cachestore
