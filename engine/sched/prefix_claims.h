// PrefixClaims: which full blocks are being computed now, and by which sequence.
//
// A sequence that starts to compute claims the full blocks of its tokens that it does not have; a
// claim goes when the block is sealed or the sequence gives its blocks back. Who comes later and
// needs a claimed block waits for it instead of computing it again. A block has one claimant, the
// first. Engine-thread only.
#pragma once

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "cachestore/block/block_key.h"

namespace reprise::engine {

class Sequence;

class PrefixClaims {
 public:
  // `keys` that others have claimed stay theirs.
  void Claim(const Sequence& sequence, absl::Span<const cachestore::BlockKey> keys);
  // Gives up those of `keys` that `sequence` has claimed.
  void Release(const Sequence& sequence, absl::Span<const cachestore::BlockKey> keys);
  // Null: nobody.
  const Sequence* ClaimantOf(const cachestore::BlockKey& key) const;
  // How many of the leading `keys` are claimed by whoever claimed the first.
  int64_t CountClaimed(absl::Span<const cachestore::BlockKey> keys) const;

 private:
  absl::flat_hash_map<cachestore::BlockKey, const Sequence*> claimants_;
};

}  // namespace reprise::engine
