// BlockSets: the candidate set that a block is in, of each membership, in eight bytes. A plain
// value.
#pragma once

#include <cstdint>

#include "cachestore/base/check.h"
#include "cachestore/policy/eviction_policy.h"

namespace reprise::cachestore {

class BlockSets {
 public:
  // kNoSet for none.
  CandidateSet of(Membership membership) const {
    const uint64_t number = word_ >> ShiftOf(membership) & kNone;
    return number == kNone ? kNoSet : static_cast<CandidateSet>(number);
  }
  // `set` is kNoSet, or less than kMaxCandidateSets.
  void Set(Membership membership, CandidateSet set) {
    CHECK(set == kNoSet || set < kMaxCandidateSets);
    word_ &= ~(kNone << ShiftOf(membership));
    word_ |= (set == kNoSet ? kNone : set) << ShiftOf(membership);
  }

  // Whether the block is in no set at all.
  bool empty() const { return word_ == BlockSets().word_; }

 private:
  static constexpr int kBits = 21;
  static constexpr uint64_t kNone = (uint64_t{1} << kBits) - 1;
  static_assert(kMaxCandidateSets <= kNone && kNumMemberships * kBits <= 64);

  static constexpr int ShiftOf(Membership membership) {
    return static_cast<int>(membership) * kBits;
  }

  uint64_t word_ = ~uint64_t{0};
};

}  // namespace reprise::cachestore
