// LruPolicy: gives up the block whose last use is the longest ago, and of blocks used at once the
// deepest in its chain. Every set is a B-tree over (last use, depth): an event costs O(log n) of
// the set and moves a few neighbouring entries; about 48 bytes per block. Thread-compatible.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "absl/container/btree_set.h"
#include "cachestore/base/huge_page_allocator.h"
#include "cachestore/policy/eviction_policy.h"

namespace reprise::cachestore {

class LruPolicy : public EvictionPolicy {
 public:
  void Reserve(size_t num_blocks) override { blocks_.reserve(num_blocks); }
  void OnInsert(BlockId, BlockId, const BlockKey&) override {}
  void OnErase(BlockId, const BlockKey&) override {}
  void OnRequest(const StoreRequest& request) override;
  void OnRequestEnd(const StoreRequestEnd&) override {}
  void OnUse(BlockId id, BlockId idle_parent) override;
  void OnRecover(BlockId id) override { OnUse(id, kNoBlock); }
  void Place(BlockId id, Membership membership, CandidateSet set) override;
  CandidateSet SetOf(BlockId id, Membership membership) const override;
  BlockId Best(CandidateSet set) const override;
  void ProposeVictims(CandidateSet set, absl::FunctionRef<bool(BlockId)> consider) const override;
  bool GoesBefore(BlockId a, BlockId b) const override;
  double ReuseProbability(BlockId) const override { return 1; }
  uint64_t TakeMoment() override { return clock_; }
  bool UsedSince(BlockId id, uint64_t moment) const override;
  size_t size(CandidateSet set) const override;
  std::string SerializeModel() const override { return {}; }
  // Leaves what another order has learned to that one.
  absl::Status RestoreModel(absl::string_view) override { return absl::OkStatus(); }

 private:
  // Orders blocks: the clock at the last use in the high bits, then the depth, deepest first.
  using Rank = uint64_t;
  struct Position {
    Rank rank = 0;
    uint32_t turn = 0;  // among equal ranks the one used first goes first
    BlockId id = kNoBlock;
    friend auto operator<=>(const Position&, const Position&) = default;
  };
  using Set = absl::btree_set<Position>;
  struct Block {
    Rank rank = 0;
    uint32_t turn = 0;
    CandidateSet sets[kNumMemberships] = {kNoSet, kNoSet, kNoSet};  // by Membership
  };
  static_assert(sizeof(Block) == 24);

  Block& Entry(BlockId id);
  Position PositionOf(BlockId id) const { return {blocks_[id].rank, blocks_[id].turn, id}; }
  void SetRank(BlockId id, Rank rank);

  std::vector<Block, HugePageAllocator<Block>> blocks_;  // by BlockId
  std::vector<Set> sets_;                                // by CandidateSet
  uint64_t clock_ = 0;                                   // grows with every use
  uint32_t turn_ = 0;
};

}  // namespace reprise::cachestore
