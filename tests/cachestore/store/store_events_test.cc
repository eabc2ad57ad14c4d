// The events of a store: who follows them knows what List tells, whatever happens to the blocks.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/fakes/event_replay.h"
#include "tests/fakes/gpu_store_fixture.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

// Prompts that branch: every block has one of a few contents, so prefixes are shared at random.
std::vector<TokenId> RandomPrompt(std::mt19937& random, int64_t max_blocks) {
  std::vector<TokenId> tokens;
  const int64_t num_blocks = 1 + static_cast<int64_t>(random() % max_blocks);
  for (int64_t i = 0; i < num_blocks; ++i) {
    tokens.insert(tokens.end(), kBlockTokens, static_cast<TokenId>(random() % 2));
  }
  return tokens;
}

class StoreEventsTest : public GpuStoreFixture {
 protected:
  // Pins what is there, in a tier, and seals what is missing.
  std::vector<BlockRef> Request(Tier tier, const NamespaceHandle& ns,
                                const std::vector<TokenId>& prompt) {
    std::vector<BlockRef> refs = std::move(PinIn(tier, ns, prompt).blocks);
    while (refs.size() < prompt.size() / kBlockTokens) {
      const BlockKey parent = refs.empty() ? ns.root : refs.back().key();
      const auto tokens = absl::MakeSpan(prompt).subspan(refs.size() * kBlockTokens, kBlockTokens);
      BlockRef ref = tier == Tier::kGpu ? SealOnGpu(ns, parent, tokens, absl::Milliseconds(20))
                                        : SealOne(ns, parent, tokens, absl::Milliseconds(20));
      if (!ref) break;
      refs.push_back(std::move(ref));
    }
    return refs;
  }

  // Faults come and go, and blocks are taken out in every way that there is.
  void Disturb(std::mt19937& random, const std::vector<BlockKey>& keys) {
    faults_->FailLoadsOf(failing_, absl::OkStatus());
    faults_->FailWrites(absl::OkStatus());
    if (random() % 8 == 0) {
      failing_ = keys[random() % keys.size()];
      faults_->FailLoadsOf(failing_, random() % 2 == 0 ? absl::DataLossError("bad bytes")
                                                       : absl::InternalError("read failed"));
    }
    if (random() % 10 == 0) store_->Demote(absl::Now() + absl::Seconds(60)).IgnoreError();
    if (random() % 12 == 0) {
      store_->Verify(0, [](const VerifyProgress&) { return true; }).IgnoreError();
    }
    if (random() % 60 == 0) {
      const auto prompt = RandomPrompt(random, 3);
      const InvalidateScope scopes[] = {AllBlocks{}, BlocksOfTenant{"second"},
                                        BlocksOfNamespace{ns_}, BlocksBelow{ns_, prompt}};
      EXPECT_TRUE(store_->Invalidate(scopes[random() % 4], absl::InfiniteFuture()).ok());
    }
    if (random() % 20 == 0) faults_->FailWrites(absl::InternalError("write failed"));
  }

  EventReplay replay_;
  BlockKey failing_;  // whose loads fail
};

TEST_F(StoreEventsTest, WhoFollowsTheEventsKnowsWhatListTells) {
  std::mt19937 random(TestSeed());
  const auto run = [&](int steps) {
    replay_ = EventReplay();
    const std::vector<NamespaceHandle> namespaces = {ns_, OpenNamespace(TestIdentity("second"))};
    std::vector<std::vector<BlockRef>> held;
    for (int step = 0; step < steps; ++step) {
      const NamespaceHandle& ns = namespaces[random() % 2];
      const std::vector<TokenId> prompt = RandomPrompt(random, 5);
      const Tier tier = device_ == nullptr || random() % 2 == 0 ? Tier::kRam : Tier::kGpu;
      Disturb(random, ChainKeys(ns.root, prompt, kBlockTokens));
      // Whatever the seed, once, and with something in RAM; with a disk that writes, because erases
      // that fail are waited for.
      if (step == steps / 2) {
        faults_->FailWrites(absl::OkStatus());
        held.clear();
        held.push_back(SealChain(ns_, PromptTokens(1, 1)));
        EXPECT_TRUE(store_->Invalidate(AllBlocks{}, absl::InfiniteFuture()).ok());
      }
      held.push_back(Request(tier, ns, prompt));
      while (held.size() > random() % 3) held.erase(held.begin());
      ASSERT_NO_FATAL_FAILURE(replay_.CatchUp(*store_));
      if (step % 10 == 0) {
        ASSERT_NO_FATAL_FAILURE(replay_.ExpectThatListAgrees(*store_)) << "step " << step;
        ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus());
      }
    }
    held.clear();
    faults_ = std::make_shared<FaultPlan>();
    ASSERT_NO_FATAL_FAILURE(replay_.ExpectThatListAgrees(*store_));
    EXPECT_GT(replay_.Count(EventKind::kStored), 300);
    EXPECT_GT(replay_.Count(EventKind::kCleared), 0);
    EXPECT_GT(replay_.CountRemoved(CacheTier::kRam, Removal::kInvalidated), 0);
    EXPECT_GT(replay_.CountRemoved(CacheTier::kRam, Removal::kEvicted), 0);
  };
  OpenWithDisk(16, 24);
  run(600);
  EXPECT_GT(replay_.CountRemoved(CacheTier::kDisk, Removal::kFailedVerification), 0);
  EXPECT_GT(replay_.CountRemoved(CacheTier::kDisk, Removal::kEvicted), 0);
  contents_ = std::make_shared<MemoryTierContents>();
  OpenWithGpu(12, 16, 24);
  run(400);
  EXPECT_GT(replay_.CountRemoved(CacheTier::kGpu, Removal::kEvicted), 0);
  FinishSteps();
}

TEST_F(StoreEventsTest, ADeviceThatFailsLosesWhatItHad) {
  OpenWithGpu(8, 8, 0);
  {
    const std::vector<BlockRef> refs = SealChainOnGpu(ns_, PromptTokens(1, 3));
    held_->FailLane(Lane::kToHost, absl::InternalError("the device is gone"));
    PinTicket ticket = store_->Pin(ns_, PromptTokens(1, 3), 3, nullptr);
    ASSERT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
    replay_.ExpectThatListAgrees(*store_);
    EXPECT_EQ(replay_.CountRemoved(CacheTier::kGpu, Removal::kLost), 3);
  }
  const auto lost = static_cast<size_t>(Removal::kLost);
  EXPECT_EQ(store_->stats().removed_blocks[lost][static_cast<size_t>(CacheTier::kGpu)], 3);
}

TEST_F(StoreEventsTest, EachBlockIsToldWithItsParentAndWhyItLeft) {
  OpenRamOnly(2);
  const std::vector<TokenId> tokens = PromptTokens(1, 2);
  const std::vector<BlockKey> keys = ChainKeys(ns_.root, tokens, kBlockTokens);
  SealChain(ns_, tokens);
  SealChain(ns_, PromptTokens(2, 1));  // takes the slot of the leaf
  ASSERT_TRUE(store_->Invalidate(BlocksOfNamespace{ns_}, absl::InfiniteFuture()).ok());
  replay_.CatchUp(*store_);
  const std::vector<StoreEvent>& events = replay_.events();
  ASSERT_EQ(events.size(), 7u);
  EXPECT_EQ(events[0].key, keys[0]);
  EXPECT_EQ(events[0].parent, ns_.root);
  EXPECT_EQ(events[1].parent, keys[0]);
  EXPECT_EQ(events[1].tier, CacheTier::kRam);
  EXPECT_EQ(events[1].namespace_id, ns_.id);
  EXPECT_EQ(events[2].kind, EventKind::kRemoved);
  EXPECT_EQ(events[2].key, keys[1]);
  EXPECT_EQ(events[2].why, Removal::kEvicted);
  EXPECT_EQ(replay_.CountRemoved(CacheTier::kRam, Removal::kInvalidated), 2);
  EXPECT_EQ(events[6].kind, EventKind::kCleared);
  EXPECT_EQ(events[6].namespace_id, ns_.id);
}

TEST_F(StoreEventsTest, WhatIsOnDiskWhenTheStoreIsOpenedIsNoEvent) {
  OpenWithDisk(8, 8);
  SealChain(ns_, PromptTokens(1, 3));
  ASSERT_TRUE(store_->Demote().ok());
  OpenWithDisk(8, 8);
  EXPECT_EQ(store_->next_event(), 1u);
  PinNow(ns_, PromptTokens(1, 3));
  replay_.CatchUp(*store_);
  EXPECT_EQ(replay_.tiers()[static_cast<size_t>(CacheTier::kRam)].size(), 3u);
  EXPECT_TRUE(replay_.tiers()[static_cast<size_t>(CacheTier::kDisk)].empty());
}

TEST_F(StoreEventsTest, AFollowerBesideTrafficIsWokenAndMissesNothing) {
  OpenWithDisk(16, 32);
  std::atomic<bool> stop = false;
  std::thread follower([&] {
    for (uint64_t next = 1; !stop; next = store_->next_event()) {
      store_->AwaitEvent(next, absl::Now() + absl::Milliseconds(100));
      ASSERT_NO_FATAL_FAILURE(replay_.CatchUp(*store_));
    }
  });
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < 2; ++i) {
    clients.emplace_back([&, i] {
      std::mt19937 random(i);
      for (int round = 0; round < 300; ++round) Request(Tier::kRam, ns_, RandomPrompt(random, 5));
    });
  }
  for (std::thread& client : clients) client.join();
  stop = true;
  follower.join();
  replay_.ExpectThatListAgrees(*store_);
  EXPECT_GT(replay_.Count(EventKind::kRemoved), 100);
}

}  // namespace
}  // namespace reprise::cachestore
