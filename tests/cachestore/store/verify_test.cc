// Verify, beside traffic and faults, and the latencies of transfers.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/fakes/disk_store_fixture.h"
#include "tests/fakes/gpu_store_fixture.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

using VerifyTest = StoreFixture;
using VerifyDiskTest = DiskStoreFixture;
using LatencyTest = GpuStoreFixture;

bool GoOn(const VerifyProgress&) { return true; }

TEST_F(VerifyTest, WhatFailsIsTakenOutAndEverythingIsCounted) {
  OpenWithDisk(8, 64);
  for (uint32_t prompt = 0; prompt < 20; ++prompt) SealChain(ns_, PromptTokens(prompt, 2));
  ASSERT_TRUE(store_->Demote().ok());
  const auto first_key = [&](uint32_t prompt) {
    return ChainKeys(ns_.root, PromptTokens(prompt, 1), kBlockTokens)[0];
  };
  faults_->FailLoadsOf(first_key(3), absl::DataLossError("bad bytes"));
  faults_->FailLoadsOf(first_key(5), absl::InternalError("read failed"));
  VerifyProgress last;
  const auto note = [&](const VerifyProgress& progress) {
    last = progress;
    return true;
  };
  ASSERT_EQ(store_->Verify(0, note), absl::OkStatus());
  EXPECT_EQ(last.total_blocks, 40);
  EXPECT_EQ(last.failed_blocks, 1);
  EXPECT_EQ(last.unread_blocks, 1);
  // The child of the bad block went with it, before or after it was read.
  EXPECT_GE(last.verified_blocks, 37);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(3, 2), 10).total_blocks(), 0);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(5, 2), 10).total_blocks(), 2) << "may be good";
  EXPECT_EQ(store_->stats().corrupt_disk_blocks, 1);
  EXPECT_EQ(store_->stats().verified_blocks, last.verified_blocks);
  EXPECT_EQ(store_->stats().ram_blocks, 0) << "moves nothing";
  ASSERT_EQ(store_->Verify(0, note), absl::OkStatus());
  EXPECT_EQ(store_->Match(ns_, PromptTokens(5, 2), 10).total_blocks(), 0) << "unread twice";
}

TEST_F(VerifyTest, ItNeedsADiskRunsOnceAtATimeAndStopsWhenTold) {
  OpenRamOnly(4);
  EXPECT_EQ(store_->Verify(0, GoOn).code(), absl::StatusCode::kFailedPrecondition);
  OpenWithDisk(8, 64);
  for (uint32_t prompt = 0; prompt < 20; ++prompt) SealChain(ns_, PromptTokens(prompt, 2));
  ASSERT_TRUE(store_->Demote().ok());
  faults_->CloseLoadGate();
  std::thread first([&] { EXPECT_EQ(store_->Verify(0, GoOn), absl::OkStatus()); });
  faults_->AwaitLoads(1);
  EXPECT_EQ(store_->Verify(0, GoOn).code(), absl::StatusCode::kUnavailable);
  // What is being read cannot be erased; what was taken meanwhile goes when that ends.
  std::thread invalidation(
      [&] { EXPECT_TRUE(store_->Invalidate(AllBlocks{}, absl::Now() + absl::Seconds(60)).ok()); });
  while (store_->Match(ns_, PromptTokens(0, 2), 2).total_blocks() > 0) std::this_thread::yield();
  faults_->OpenLoadGate();
  first.join();
  invalidation.join();
  EXPECT_EQ(store_->stats().disk_blocks, 0);

  SealChain(ns_, PromptTokens(1, 4));
  ASSERT_TRUE(store_->Demote().ok());
  // A byte a second: it would take hours.
  int asked = 0;
  EXPECT_EQ(store_->Verify(1, [&](const VerifyProgress&) { return ++asked < 3; }).code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(asked, 3);
}

TEST_F(VerifyTest, ItStopsWhenToldWhileTheDiskHangs) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 2));
  ASSERT_TRUE(store_->Demote().ok());
  faults_->CloseLoadGate();
  const auto refuse = [](const VerifyProgress&) { return false; };
  EXPECT_EQ(store_->Verify(0, refuse).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(store_->Verify(0, GoOn).code(), absl::StatusCode::kUnavailable) << "still reads";
  faults_->OpenLoadGate();
  while (absl::IsUnavailable(store_->Verify(0, GoOn))) std::this_thread::yield();
  EXPECT_EQ(store_->stats().verified_blocks, 4) << "twice: what was given up counts as well";
  faults_->CloseLoadGate();
  EXPECT_EQ(store_->Verify(0, refuse).code(), absl::StatusCode::kCancelled);
  std::thread disk([this] { faults_->OpenLoadGate(); });
  store_.reset();  // waits for it
  disk.join();
}

TEST_F(VerifyTest, BesideTrafficNothingGoodIsLostAndNothingBadIsLeft) {
  const uint32_t seed = TestSeed();
  OpenWithDisk(32, 48);
  const BlockKey bad = ChainKeys(ns_.root, PromptTokens(2, 3), kBlockTokens)[1];
  faults_->FailLoadsOf(bad, absl::DataLossError("bad bytes"));
  std::atomic<bool> stop = false;
  std::atomic<int64_t> verified = 0;
  std::thread verifier([&] {
    while (!stop) {
      EXPECT_EQ(store_->Verify(0, GoOn), absl::OkStatus());
      verified = store_->stats().verified_blocks;
    }
  });
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < 2; ++i) {
    clients.emplace_back([&, i] {
      std::mt19937 random(seed + i);
      for (int round = 0; round < 200 || (verified < 500 && round < 20'000); ++round) {
        const std::vector<TokenId> prompt =
            PromptTokens(random() % 8, 1 + static_cast<int64_t>(random() % 5));
        PinnedPrefix prefix = PinNow(ns_, prompt);
        if (prefix.blocks.size() * kBlockTokens < prompt.size()) SealChain(ns_, prompt);
      }
    });
  }
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(store_->Demote().ok());
    ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  }
  for (std::thread& client : clients) client.join();
  stop = true;
  verifier.join();
  EXPECT_GE(verified, 500);
  EXPECT_GT(store_->stats().hit_disk_tokens, 0);
}

TEST_F(VerifyDiskTest, AFlippedBitOnDiskIsFoundBeforeAnybodyAsksForTheBlock) {
  OpenOnDisk(64, int64_t{32} << 20);
  for (uint32_t prompt = 0; prompt < 50; ++prompt) SealChain(ns_, PromptTokens(prompt, 1));
  ASSERT_TRUE(store_->Demote().ok());
  constexpr int64_t kDiskSlotBytes = 4096 + 4096;  // header and payload
  {
    RawFile file(PayloadFiles()[0]);
    ASSERT_EQ(file.Read(7 * kDiskSlotBytes, 8), "RPRSLOT1");
    file.FlipBit(7 * kDiskSlotBytes + 4096 + 1000, 3);
  }
  VerifyProgress last;
  ASSERT_EQ(store_->Verify(0,
                           [&](const VerifyProgress& progress) {
                             last = progress;
                             return true;
                           }),
            absl::OkStatus());
  EXPECT_EQ(last.verified_blocks, 49);
  EXPECT_EQ(last.failed_blocks, 1);
  int64_t found = 0;
  for (uint32_t prompt = 0; prompt < 50; ++prompt) {
    found += store_->Match(ns_, PromptTokens(prompt, 1), 1).total_blocks();
  }
  EXPECT_EQ(found, 49);
  EXPECT_EQ(store_->stats().missed_corrupt_tokens, 0);
}

TEST_F(LatencyTest, EachTransferCountsInItsHistogram) {
  OpenWithGpu(8, 8, 16);
  SealChainOnGpu(ns_, PromptTokens(1, 4));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(store_->stats().store_from_gpu.count(), 4);
  EXPECT_EQ(store_->stats().store_to_disk.count(), 4);
  faults_->SlowLoadsDown(absl::Milliseconds(5));
  PinIn(Tier::kGpu, ns_, PromptTokens(1, 4));
  const StoreStats stats = store_->stats();
  EXPECT_EQ(stats.load_from_disk.count(), 4);
  EXPECT_EQ(stats.load_to_gpu.count(), 4);
  EXPECT_GE(stats.load_from_disk.sum_seconds(), 4 * 5e-3);
  for (size_t bucket = 0; bucket < LatencyHistogram::kNumBounds; ++bucket) {
    if (LatencyHistogram::BoundSeconds(bucket) < 5e-3) {
      EXPECT_EQ(stats.load_from_disk.counts[bucket], 0);
    }
  }
  FinishSteps();
}

TEST(LatencyHistogramTest, TimesGoIntoTheBucketThatEndsWithThem) {
  LatencyHistogram histogram;
  histogram.Add(absl::Microseconds(16));
  histogram.Add(absl::Microseconds(17), 3);
  histogram.Add(absl::Seconds(60));
  EXPECT_EQ(histogram.counts[0], 1);
  EXPECT_EQ(histogram.counts[1], 3);
  EXPECT_EQ(histogram.counts[LatencyHistogram::kNumBounds], 1);
  EXPECT_EQ(histogram.count(), 5);
  EXPECT_DOUBLE_EQ(histogram.sum_seconds(), 60 + 16e-6 + 3 * 17e-6);
}

}  // namespace
}  // namespace reprise::cachestore
