#include "cachestore/store/ram_residency.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "cachestore/policy/lru_policy.h"
#include "cachestore/store/integrity.h"

namespace reprise::cachestore {
namespace {

constexpr int32_t kTokens = 2;
constexpr int kSlots = 8;

// Works on the metadata alone, so that keys can be forged.
class RamResidencyTest : public ::testing::Test {
 protected:
  RamResidencyTest() {
    namespace_id_ = state_.index.AddNamespace(root_, kTokens);
    state_.AddNamespace({.payload_bytes = 4096, .identity = "test"});
  }
  void TearDown() override { EXPECT_EQ(CheckState(state_), absl::OkStatus()); }

  BlockId Seal(const BlockKey& parent, const BlockKey& key, const std::vector<TokenId>& tokens) {
    const std::optional<SlotIndex> slot = ram_.AllocateSlot(namespace_id_);
    EXPECT_TRUE(slot.has_value());
    state_.writing.emplace(*slot, state_.epoch);
    return ram_.Seal({.namespace_id = namespace_id_,
                      .slot = *slot,
                      .parent = parent,
                      .key = key,
                      .words = tokens});
  }
  bool IsPrivate(BlockId id) const { return state_.index.node(id).is_private; }

  alignas(4096) std::byte memory_[kSlots * 4096];
  // Drops the victim that goes first.
  int64_t DropOne() {
    return ram_.TakeVictims(1, Victims::kCleanOrLast, state_.order->TakeMoment()).dropped;
  }

  StoreState state_{absl::MakeSpan(memory_), {}, std::make_unique<LruPolicy>(),
                    /*has_disk_tier=*/false};
  RamResidency ram_{state_};
  const BlockKey root_ = {1, 2};
  uint32_t namespace_id_ = 0;
};

TEST_F(RamResidencyTest, ABlockWhoseKeyBelongsToOtherTokensStaysPrivate) {
  const BlockId first = Seal(root_, {5, 5}, {1, 2});
  const BlockId forged = Seal(root_, {5, 5}, {3, 4});
  EXPECT_FALSE(IsPrivate(first));
  EXPECT_TRUE(IsPrivate(forged));
  EXPECT_EQ(state_.index.Find({5, 5}), first);
  ram_.Unpin(forged);
  ram_.Unpin(first);
  EXPECT_EQ(state_.index.Find({5, 5}), first);
  EXPECT_EQ(state_.pool.used_slots(), 1);
}

TEST_F(RamResidencyTest, ABlockAfterAForgedOneDoesNotBecomeAChildOfTheRightOne) {
  const BlockId right = Seal(root_, {5, 5}, {1, 2});
  const BlockId forged = Seal(root_, {5, 5}, {3, 4});
  // Its holder names its parent by the key that both have.
  const BlockId child = Seal({5, 5}, {6, 6}, {7, 8});
  EXPECT_TRUE(IsPrivate(child));
  EXPECT_EQ(state_.index.node(right).first_child, kNoBlock);
  ram_.Unpin(forged);
  const BlockId real_child = Seal({5, 5}, {6, 6}, {7, 8});
  EXPECT_FALSE(IsPrivate(real_child)) << "with the forged block gone, the key is unambiguous";
  for (const BlockId id : {right, child, real_child}) ram_.Unpin(id);
}

TEST_F(RamResidencyTest, AForgedBlockThatOutlivesTheRightOneStillCastsDoubt) {
  const BlockId right = Seal(root_, {5, 5}, {1, 2});
  const BlockId forged = Seal(root_, {5, 5}, {3, 4});
  ram_.Unpin(right);
  EXPECT_EQ(DropOne(), 1);
  EXPECT_EQ(state_.index.Find({5, 5}), kNoBlock);
  const BlockId again = Seal(root_, {5, 5}, {1, 2});
  EXPECT_FALSE(IsPrivate(again));
  const BlockId child = Seal({5, 5}, {6, 6}, {7, 8});
  EXPECT_TRUE(IsPrivate(child));
  for (const BlockId id : {forged, again, child}) ram_.Unpin(id);
}

TEST_F(RamResidencyTest, ABlockBelowAParentOfAnotherNamespaceStaysPrivate) {
  const BlockKey other_root = {8, 9};
  const uint32_t other = state_.index.AddNamespace(other_root, kTokens);
  state_.AddNamespace({.payload_bytes = 4096, .identity = "other"});
  const BlockId parent = Seal(root_, {5, 5}, {1, 2});
  namespace_id_ = other;
  const BlockId child = Seal({5, 5}, {6, 6}, {7, 8});
  EXPECT_TRUE(IsPrivate(child));
  ram_.Unpin(parent);
  ram_.Unpin(child);
}

TEST_F(RamResidencyTest, ChainsAreDroppedFromTheirEndWhicheverPinGoesFirst) {
  for (const bool root_first : {true, false}) {
    std::vector<BlockId> chain;
    BlockKey parent = root_;
    for (uint64_t k = 10; k < 14; ++k) {
      chain.push_back(Seal(parent, {k, k}, {static_cast<TokenId>(k), 0}));
      parent = {k, k};
    }
    if (root_first) {
      for (size_t i = 0; i < chain.size(); ++i) ram_.Unpin(chain[i]);
    } else {
      for (size_t i = chain.size(); i-- > 0;) ram_.Unpin(chain[i]);
    }
    for (uint64_t k = 13; k >= 10; --k) {
      ASSERT_NE(state_.index.Find({k, k}), kNoBlock);
      EXPECT_EQ(DropOne(), 1);
      EXPECT_EQ(state_.index.Find({k, k}), kNoBlock);
      EXPECT_EQ(CheckState(state_), absl::OkStatus());
    }
  }
}

TEST_F(RamResidencyTest, IntegrityNamesASlotThatNobodyOwns) {
  const std::optional<SlotIndex> leaked = state_.pool.Allocate(4096);
  ASSERT_TRUE(leaked.has_value());
  EXPECT_EQ(CheckState(state_).code(), absl::StatusCode::kInternal);
  state_.pool.Free(*leaked);
}

TEST_F(RamResidencyTest, WhatIsBeyondAQuotaGoesWithItsLastPin) {
  state_.JoinShare(namespace_id_, state_.ShareFor(""));
  const BlockId first = Seal(root_, {5, 5}, {1, 2});
  const BlockId second = Seal({5, 5}, {6, 6}, {3, 4});
  state_.shares[state_.ShareFor("")].quota.ram_bytes = 4096;
  ram_.Unpin(second);
  EXPECT_EQ(state_.index.Find({6, 6}), kNoBlock);
  ram_.Unpin(first);
  EXPECT_EQ(state_.index.Find({5, 5}), first) << "one is within the quota";
}

TEST_F(RamResidencyTest, IntegrityComparesNamespacesWithTheirShares) {
  const uint32_t share = state_.ShareFor("");
  state_.JoinShare(namespace_id_, share);
  EXPECT_EQ(CheckState(state_), absl::OkStatus());
  const Share right = state_.shares[share];
  state_.shares[share].namespaces.clear();
  EXPECT_EQ(CheckState(state_).code(), absl::StatusCode::kInternal);
  state_.shares[share] = right;
  state_.shares[share].lines.clear();
  EXPECT_EQ(CheckState(state_).code(), absl::StatusCode::kInternal);
  state_.shares[share] = right;
  state_.namespaces[namespace_id_].share = kCommonShare;
  EXPECT_EQ(CheckState(state_).code(), absl::StatusCode::kInternal);
  state_.namespaces[namespace_id_].share = share;
}

}  // namespace
}  // namespace reprise::cachestore
