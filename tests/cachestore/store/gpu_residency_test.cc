// Decisions about the GPU tier, on the metadata alone: nothing is copied.
#include "cachestore/store/gpu_residency.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "cachestore/policy/lru_policy.h"
#include "cachestore/store/disk_residency.h"
#include "cachestore/store/integrity.h"
#include "tests/fakes/held_device.h"
#include "tests/fakes/lazy_device.h"

namespace reprise::cachestore {
namespace {

constexpr int32_t kTokens = 2;
constexpr uint64_t kBytes = 4096;
constexpr int kRamSlots = 2;
constexpr int kGpuSlots = 64;

class GpuResidencyTest : public ::testing::Test {
 protected:
  explicit GpuResidencyTest(bool has_disk = true)
      : state_(absl::MakeSpan(ram_memory_), absl::MakeSpan(gpu_memory_),
               std::make_unique<LruPolicy>(), has_disk) {
    namespace_id_ = state_.index.AddNamespace(root_, kTokens);
    state_.AddNamespace({.payload_bytes = kBytes, .identity = "test"});
  }
  void TearDown() override { EXPECT_EQ(CheckState(state_), absl::OkStatus()); }

  // A chain on the GPU, root first, each with one pin; keys count from `first`.
  std::vector<BlockId> SealChain(uint64_t first, int64_t count) {
    std::vector<BlockId> chain;
    BlockKey parent = root_;
    for (uint64_t k = first; k < first + count; ++k) {
      const std::optional<SlotIndex> slot = gpu_.AllocateSlot(namespace_id_);
      EXPECT_TRUE(slot.has_value());
      state_.gpu.writing.emplace(*slot, state_.epoch);
      const std::vector<TokenId> tokens = {static_cast<TokenId>(k), 0};
      chain.push_back(gpu_.Seal({.namespace_id = namespace_id_,
                                 .slot = *slot,
                                 .parent = parent,
                                 .key = {k, k},
                                 .words = tokens}));
      parent = {k, k};
    }
    return chain;
  }
  // Another namespace, whose tenant may take so much of RAM; SealChain seals there from now on.
  uint32_t OpenTenant(const std::string& tenant, int64_t ram_bytes) {
    root_ = {root_.hi + 10, root_.lo};
    state_.shares[state_.ShareFor(tenant)].quota.ram_bytes = ram_bytes;
    namespace_id_ = state_.index.AddNamespace(root_, kTokens);
    state_.AddNamespace({.payload_bytes = kBytes, .identity = tenant, .tenant = tenant});
    return namespace_id_;
  }
  void Unpin(const std::vector<BlockId>& chain) {
    for (const BlockId id : chain) gpu_.Unpin(id);
  }
  void CopyToRam(const std::vector<BlockId>& chain) {
    for (const BlockId id : chain) {
      const std::optional<Fetch> fetch = gpu_.BeginFetch(id);
      ASSERT_TRUE(fetch.has_value());
      EXPECT_EQ(gpu_.EndFetch(*fetch, 0), FetchEnd::kReadable);
    }
  }
  void StoreOnDisk() { disk_.EndStore(disk_.BeginStore({.max_blocks = 32, .max_bytes = 1 << 20})); }

  alignas(4096) std::byte ram_memory_[kRamSlots * kBytes];
  alignas(4096) std::byte gpu_memory_[kGpuSlots * kBytes];
  LazyDevice lazy_;
  HeldDevice device_{&lazy_};
  StoreState state_;
  RamResidency ram_{state_};
  AdmitAll admission_;
  GpuResidency gpu_{state_, ram_, &device_};
  DiskResidency disk_{state_, ram_, gpu_, admission_};
  BlockKey root_ = {1, 2};
  uint32_t namespace_id_ = 0;
};

TEST_F(GpuResidencyTest, AParentStaysInRamWhileItsChildIsOnTheGpu) {
  state_.index.AddNamespace({3, 4}, kTokens);
  state_.AddNamespace({.payload_bytes = 2 * kBytes, .identity = "wide"});
  const std::vector<BlockId> chain = SealChain(100, 2);
  CopyToRam(chain);
  Unpin(chain);
  // The disk refuses writes, so that last copies in RAM may go; both blocks are in the way of one
  // of the other size.
  state_.victims = Victims::kCleanOrLast;
  EXPECT_FALSE(ram_.MakeRoom(2 * kBytes)) << "the child would stay in the store, on the GPU";
  EXPECT_EQ(state_.ram_copies.size(), 2u);
  EXPECT_EQ(gpu_.TakeVictims(2, Victims::kClean, state_.order->TakeMoment()), 2);
  EXPECT_TRUE(ram_.MakeRoom(2 * kBytes));
  EXPECT_EQ(state_.counters.dropped_blocks, 2);
}

TEST_F(GpuResidencyTest, OnlyWhatGoesBelowTheGpuTakesLastCopiesFromRamForIt) {
  const std::vector<BlockId> below = SealChain(100, 1);
  const std::vector<BlockId> dirty = SealChain(200, kRamSlots);
  CopyToRam(dirty);
  Unpin(dirty);
  EXPECT_EQ(gpu_.TakeVictims(kRamSlots, Victims::kClean, state_.order->TakeMoment()), kRamSlots);
  state_.gpu.takes_last_of_ram = true;
  // All others wait for the disk to take what RAM alone has.
  EXPECT_FALSE(ram_.AllocateSlot(namespace_id_).has_value());
  EXPECT_EQ(state_.counters.dropped_blocks, 0);
  EXPECT_TRUE(state_.gpu.takes_last_of_ram);
  const std::optional<SlotIndex> slot = ram_.AllocateSlotBelowGpu(below[0]);
  ASSERT_TRUE(slot.has_value());
  EXPECT_EQ(state_.counters.dropped_blocks, 1);
  EXPECT_FALSE(state_.gpu.takes_last_of_ram) << "room was made once";
  state_.pool.Free(*slot);
  Unpin(below);
  state_.gpu.takes_last_of_ram = true;
  for (const BlockId id : gpu_.Close()) disk_.DropLost(id);
  EXPECT_FALSE(state_.gpu.takes_last_of_ram) << "nothing goes below a tier that is closed";
}

TEST_F(GpuResidencyTest, WhatGoesBelowTheGpuTakesNoLastCopiesForAQuota) {
  OpenTenant("a", kBytes);
  const std::vector<BlockId> below = SealChain(100, 1);
  const std::vector<BlockId> dirty = SealChain(200, 1);
  CopyToRam(dirty);
  Unpin(dirty);
  EXPECT_EQ(gpu_.TakeVictims(1, Victims::kClean, state_.order->TakeMoment()), 1);
  state_.gpu.takes_last_of_ram = true;
  const std::optional<SlotIndex> slot = ram_.AllocateSlotBelowGpu(below[0]);
  ASSERT_TRUE(slot.has_value()) << "the other slot is free";
  EXPECT_EQ(state_.counters.dropped_blocks, 0);
  state_.pool.Free(*slot);
  Unpin(below);
}

class GpuOverRamTest : public GpuResidencyTest {
 protected:
  GpuOverRamTest() : GpuResidencyTest(/*has_disk=*/false) {}
};

TEST_F(GpuOverRamTest, WhatIsBeyondATenantsQuotaHoldsUpNoOtherTenantsCopies) {
  const FetchGoal all = {.max_blocks = 32, .max_bytes = 1 << 20};
  const uint32_t a = OpenTenant("a", kBytes);
  Unpin(SealChain(100, 3));
  OpenTenant("b", kBytes);
  const std::vector<BlockId> of_b = SealChain(200, 1);
  Unpin(of_b);
  const FetchBatch batch = gpu_.BeginWriteBack(all);
  ASSERT_EQ(batch.fetches.size(), 2u) << "one of each";
  EXPECT_EQ(batch.fetches[1].id, of_b[0]);
  EXPECT_FALSE(batch.wanted_ram_for.has_value());
  for (const Fetch& fetch : batch.fetches) EXPECT_EQ(gpu_.EndFetch(fetch, 0), FetchEnd::kReadable);
  EXPECT_EQ(gpu_.BeginWriteBack(all).wanted_ram_for, a) << "the rest finds no room";
}

TEST_F(GpuResidencyTest, BlocksThatComeAndGoTogetherShareAMark) {
  const auto marks = [this] { return device_.marks(Lane::kCompute); };
  const std::vector<BlockId> chain = SealChain(100, 60);
  Unpin(chain);
  EXPECT_EQ(gpu_.TakeVictims(58, Victims::kCleanOrLast, state_.order->TakeMoment()), 58);
  EXPECT_EQ(marks(), 0) << "a mark may wait for a step, and the lock is held";
  const Moment freed = gpu_.last_freed();
  EXPECT_EQ(gpu_.last_freed().number, freed.number);
  EXPECT_EQ(marks(), 1);
  CopyToRam({chain[0], chain[1]});
  EXPECT_EQ(marks(), 1) << "that one is behind them too";
  // What comes after needs another.
  const auto step = [this] {
    static_cast<LazyDevice::Queue*>(lazy_.Stream(Lane::kCompute))->Enqueue([] {});
  };
  step();
  Unpin(SealChain(200, 1));
  EXPECT_EQ(gpu_.TakeVictims(3, Victims::kCleanOrLast, state_.order->TakeMoment()), 3);
  EXPECT_GT(gpu_.last_freed().number, freed.number);
  step();
  Unpin(SealChain(300, 1));
  state_.victims = Victims::kCleanOrLast;  // RAM is full
  const std::optional<Fetch> fetch = gpu_.BeginFetch(state_.index.Find({300, 300}));
  ASSERT_TRUE(fetch.has_value());
  EXPECT_EQ(fetch->written.number, 2u) << "behind both steps";
  EXPECT_EQ(gpu_.EndFetch(*fetch, 0), FetchEnd::kReadable);
  EXPECT_EQ(marks(), 3);
}

TEST_F(GpuResidencyTest, AGoodCopyStaysWhereACondemnedOneIsErased) {
  const std::vector<BlockId> chain = SealChain(100, 1);
  CopyToRam(chain);
  Unpin(chain);
  StoreOnDisk();
  disk_.Condemn(chain[0], Removal::kFailedVerification);
  EXPECT_EQ(disk_.BeginEraseCondemned(8), chain);
  EXPECT_TRUE(state_.index.node(chain[0]).in_gpu);
  EXPECT_TRUE(state_.index.node(chain[0]).in_ram());
  disk_.EndErase(chain);
}

TEST_F(GpuResidencyTest, OnlyWhatCouldBeFoundIsLostWithTheDevice) {
  const std::vector<BlockId> chain = SealChain(100, 4);
  CopyToRam({chain[0]});
  disk_.Invalidate(chain[3]);
  state_.namespaces[namespace_id_].fence = state_.epoch + 1;
  const std::vector<BlockId> fenced = SealChain(200, 1);
  ASSERT_TRUE(state_.index.node(fenced[0]).is_private);
  const std::optional<SlotIndex> slot = gpu_.AllocateSlot(namespace_id_);
  state_.gpu.writing.emplace(*slot, state_.epoch);
  for (const BlockId id : gpu_.Close()) disk_.DropLost(id);
  EXPECT_EQ(state_.counters.lost_gpu_blocks, 2);
  const std::vector<TokenId> tokens = {300, 0};
  const BlockId late = gpu_.Seal({.namespace_id = namespace_id_,
                                  .slot = *slot,
                                  .parent = root_,
                                  .key = {300, 300},
                                  .words = tokens});
  EXPECT_EQ(state_.counters.sealed_blocks, 6);
  Unpin(chain);
  Unpin(fenced);
  Unpin({late});
  EXPECT_EQ(state_.gpu.pool.used_slots(), 0);
}

}  // namespace
}  // namespace reprise::cachestore
