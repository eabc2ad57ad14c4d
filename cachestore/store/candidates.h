// Candidates: which blocks may leave a tier now. Every block that may is in one of the policy's
// sets for each of its copies that may; a block that may not is in none, so whoever looks for a
// victim finds one at once. Owns nothing; works on StoreState. Thread-compatible:
// StoreCore::mu guards every call.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

#include "cachestore/store/store_state.h"

namespace reprise::cachestore {

// What may be done with a candidate. There is one set for each kind and line (CandidateLine).
enum class CandidateKind : uint8_t {
  kClean,   // RAM: may go at once: it is on disk too, or was not worth a write and has no children
  kLast,    // RAM: the last copy, without children: may be stored, or dropped
  kParent,  // RAM: the last copy of a block with children: may be stored, not dropped
  kTwin,    // RAM: the GPU has it too, and there is no disk tier: may go, and leave it to the GPU
  kErasable,   // disk: not needed by a child, a pin or a load
  kCondemned,  // disk: to be erased, and not needed by a child on disk or a load
  kGpuClean,   // GPU: may go at once: RAM or disk has it too
  kGpuLast,    // GPU: the last copy, without children: may be copied to RAM, or dropped
  kGpuParent,  // GPU: needed by a child or a pin: may be copied to RAM, not dropped
};
inline constexpr uint32_t kNumCandidateKinds = 9;

inline CandidateSet SetFor(uint32_t line, CandidateKind kind) {
  return static_cast<CandidateSet>(line * kNumCandidateKinds + static_cast<uint32_t>(kind));
}

// The sets that `id` belongs into; kNoSet for none.
CandidateSet RamSetFor(const StoreState& state, BlockId id);
CandidateSet DiskSetFor(const StoreState& state, BlockId id);
CandidateSet GpuSetFor(const StoreState& state, BlockId id);

// The RAM copy of `id` may go and the block stays in the store.
bool MayLeaveRam(const StoreState& state, BlockId id);

class Candidates {
 public:
  using Kinds = std::initializer_list<CandidateKind>;

  explicit Candidates(StoreState& state) : state_(state) {}

  // The node of `id` changed: its pins or loads. REQUIRES: it is in use.
  void Update(BlockId id);
  // Its tiers changed too, which may matter to its parent.
  void UpdateWithParent(BlockId id);

  // The block of these kinds that goes first, in one size class, or in all others; kNoBlock when
  // there is none. Looks at every share that has such blocks, which takes some nanoseconds each.
  BlockId Best(uint32_t size_class, Kinds kinds) const;
  BlockId BestOfOthers(uint32_t size_class, Kinds kinds) const;
  BlockId BestOfAll(Kinds kinds) const { return BestOfOthers(kNoClass, kinds); }
  // Of all, among those that were not used after `moment` (of the policy): looks at those that go
  // before it and were.
  BlockId BestUnused(Kinds kinds, uint64_t moment) const;
  // Up to `count` of them, in order.
  std::vector<BlockId> BestFewUnused(Kinds kinds, uint64_t moment, size_t count) const;
  // The same of one share, and of one line.
  BlockId BestOfShare(uint32_t share, Kinds kinds) const;
  BlockId BestOfLine(uint32_t line, Kinds kinds) const;
  // Up to `count` blocks of these kinds in the line that `first` is in, the one that goes first at
  // first; without those used after `moment`. REQUIRES: it is one of them.
  std::vector<BlockId> BestFew(BlockId first, Kinds kinds, size_t count,
                               uint64_t moment = kEndOfTime) const;
  // The same, and behind them up to `count` of the lines of other shares of that size, in order.
  std::vector<BlockId> BestFewOfSize(BlockId first, Kinds kinds, size_t count,
                                     uint64_t moment = kEndOfTime) const;

 private:
  static constexpr uint32_t kNoClass = 0xffffffff;
  static constexpr uint64_t kEndOfTime = std::numeric_limits<uint64_t>::max();

  // Counts the bytes of a block that comes into the set.
  void CountClean(CandidateSet set, int64_t bytes);
  void TakeBetter(uint32_t line, Kinds kinds, BlockId& best) const;
  // The line that `id` is in as one of these kinds: while its tenant gets its first quota, not
  // always its namespace's.
  uint32_t LineOf(BlockId id, Kinds kinds) const;
  // Puts the blocks of the line into `few`, a heap, as far as they are among the best `count`.
  void AddFew(uint32_t line, Kinds kinds, size_t count, uint64_t moment,
              std::vector<BlockId>& few) const;

  StoreState& state_;
};

}  // namespace reprise::cachestore
