// The races between steps and copies (C1 to C3) through the store: each as the store does it, and
// on a device that drops the guard that prevents it; then bytes must be wrong.
#include <gtest/gtest.h>

#include <vector>

#include "tests/fakes/gpu_store_fixture.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kChain = 6;

class GpuRacesTest : public GpuStoreFixture, public testing::WithParamInterface<uint64_t> {
 protected:
  void SetUp() override { seed_ = GetParam(); }
  // All work is as late as it may be; in another order what is unguarded can go well.
  bool IsLate() const { return seed_ == 0; }
  void Open(Guard dropped, Lane lane, int64_t gpu_slots) {
    dropped_ = dropped;
    dropped_lane_ = lane;
    OpenWithGpu(gpu_slots, 32, 0);
    reads_ = 0;
    wrong_reads_ = 0;
  }

  // C1: a block is copied to RAM while the step still writes it. Returns the blocks that came out
  // wrong.
  int64_t WriteThenStore(Guard dropped) {
    Open(dropped, Lane::kToHost, 16);
    int64_t wrong = 0;
    for (uint32_t prompt = 1; prompt <= 4; ++prompt) {
      SealChainOnGpu(ns_, PromptTokens(prompt, kChain));
      const PinnedPrefix prefix = PinIn(Tier::kRam, ns_, PromptTokens(prompt, kChain));
      EXPECT_EQ(prefix.gpu_blocks, kChain);
      wrong += WrongInRam(prefix);
    }
    return wrong;
  }

  // C2: a step reads a block that is still on its way to the GPU.
  int64_t LoadThenRead(Guard dropped) {
    Open(dropped, Lane::kToDevice, 32);
    for (uint32_t prompt = 1; prompt <= 4; ++prompt) {
      SealChain(ns_, PromptTokens(prompt, kChain));
      EXPECT_EQ(PinAndRead(ns_, PromptTokens(prompt, kChain)).ram_blocks, kChain);
      FinishSteps();
    }
    EXPECT_EQ(reads_, 4 * kChain);
    return wrong_reads_;
  }

  // C3: the slots of a block are given to another one while a step still reads it.
  int64_t ReuseWhileRead(Guard dropped) {
    Open(dropped, Lane::kCompute, kChain);
    for (uint32_t prompt = 1; prompt <= 4; ++prompt) {
      SealChain(ns_, PromptTokens(prompt, kChain));
    }
    for (uint32_t prompt = 1; prompt <= 4; ++prompt) {
      // Its pins go before the step has run, and the next prompt takes its slots.
      EXPECT_EQ(PinAndRead(ns_, PromptTokens(prompt, kChain)).ram_blocks, kChain);
    }
    FinishSteps();
    EXPECT_EQ(reads_, 4 * kChain);
    EXPECT_GE(store_->stats().demoted_from_gpu_blocks, 3 * kChain);
    return wrong_reads_;
  }
};

TEST_P(GpuRacesTest, ABlockIsCopiedToRamAfterTheStepThatWroteIt) {
  EXPECT_EQ(WriteThenStore(Guard::kNone), 0);
  if (IsLate()) {
    EXPECT_GT(WriteThenStore(Guard::kAwait), 0);
  }
}

TEST_P(GpuRacesTest, ABlockIsReadAfterItHasLanded) {
  EXPECT_EQ(LoadThenRead(Guard::kNone), 0);
  if (IsLate()) {
    EXPECT_GT(LoadThenRead(Guard::kWait), 0);
  }
}

TEST_P(GpuRacesTest, ASlotIsReusedAfterTheStepsThatReadIt) {
  EXPECT_EQ(ReuseWhileRead(Guard::kNone), 0);
  if (IsLate()) {
    EXPECT_GT(ReuseWhileRead(Guard::kMark), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, GpuRacesTest, testing::Values(0, 1, 2, 3));

}  // namespace
}  // namespace reprise::cachestore
