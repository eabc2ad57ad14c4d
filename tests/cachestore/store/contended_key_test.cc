// Many threads at one key, and many readers at a store too small for what they read.
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <cstdio>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "cachestore/base/check.h"
#include "tests/fakes/disk_store_fixture.h"
#include "tests/fakes/full_form.h"

namespace reprise::cachestore {
namespace {

using ContendedKeyTest = DiskStoreFixture;

TEST_F(ContendedKeyTest, SixtyFourThreadsThatPutTheSameKeyShareOneBlock) {
  constexpr int kThreads = 64;
  constexpr int kRounds = 20;
  OpenOnDisk(4 * kThreads, int64_t{16} << 20);
  std::barrier start(kThreads);
  std::barrier sealed(kThreads);
  std::vector<BlockRef> refs(kThreads);
  std::atomic<int> wrong = 0;
  std::atomic<int> distinct = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (uint32_t round = 0; round < kRounds; ++round) {
        const std::vector<TokenId> tokens = PromptTokens(round, 1);
        start.arrive_and_wait();
        refs[static_cast<size_t>(i)] = SealOne(ns_, ns_.root, tokens);
        sealed.arrive_and_wait();
        const BlockRef& mine = refs[static_cast<size_t>(i)];
        if (!PayloadIsRight(ChildKey(ns_.root, tokens), mine.bytes())) ++wrong;
        if (mine.bytes().data() != refs[0].bytes().data()) ++distinct;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  refs.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(distinct, 0);
  const StoreStats stats = store_->stats();
  EXPECT_EQ(stats.sealed_blocks, kThreads * kRounds);
  EXPECT_EQ(stats.duplicate_seals, (kThreads - 1) * kRounds);
  EXPECT_EQ(stats.pinned_blocks, 0);
  EXPECT_EQ(stats.writing_blocks, 0);
  for (uint32_t round = 0; round < kRounds; ++round) {
    EXPECT_EQ(PinNow(ns_, PromptTokens(round, 1)).blocks.size(), 1u);
  }
}

// RAM holds half of what the readers go through.
TEST_F(ContendedKeyTest, ReadersAgainstTheEvictorSeeOnlySealedBytes) {
  eviction_ = StoreOptions().eviction;
  constexpr uint32_t kPrompts = 32;
  constexpr int64_t kBlocks = 8;
  const int64_t seconds = FullForm() ? 600 : 2;
  OpenOnDisk(kPrompts * kBlocks / 2, int64_t{8} << 20);
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  const absl::Time give_up = end + absl::Seconds(60);
  std::atomic<int64_t> verified = 0;
  std::atomic<int64_t> wrong = 0;
  // However slow the machine is.
  const auto is_over = [&] {
    const absl::Time now = absl::Now();
    if (now < end) return false;
    return now >= give_up ||
           (verified > 1000 * seconds && store_->stats().demoted_blocks > 100 * seconds);
  };
  std::vector<std::thread> readers;
  for (uint32_t seed = 0; seed < 8; ++seed) {
    readers.emplace_back([&, seed] {
      std::mt19937 random(seed);
      while (!is_over()) {
        const std::vector<TokenId> prompt = PromptTokens(random() % kPrompts, kBlocks);
        PinTicket ticket = store_->Pin(ns_, prompt, kBlocks, nullptr);
        CHECK(ticket.Wait(absl::Now() + absl::Seconds(60)));
        std::vector<BlockRef> refs = std::move(ticket.Take().blocks);
        BlockKey parent = refs.empty() ? ns_.root : refs.back().key();
        for (size_t i = refs.size(); i < kBlocks; ++i) {
          const auto tokens = absl::MakeSpan(prompt).subspan(i * kBlockTokens, kBlockTokens);
          absl::StatusOr<WritableBlock> block = store_->Allocate(ns_);
          if (!block.ok()) break;
          FillPayload(ChildKey(parent, tokens), block->bytes());
          refs.push_back(store_->Seal(ns_, *std::move(block), parent, tokens));
          parent = refs.back().key();
        }
        for (const BlockRef& ref : refs) {
          ++verified;
          if (!PayloadIsRight(ref.key(), ref.bytes())) ++wrong;
        }
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(verified, 1000 * seconds);
  const StoreStats stats = store_->stats();
  EXPECT_GT(stats.demoted_blocks, 100 * seconds) << "the evictor was at work";
  EXPECT_GT(stats.hit_disk_tokens, 0);
  ExpectLookupsAreConserved();
  std::printf("%ld blocks verified, %ld demoted, %ld read from disk\n", verified.load(),
              stats.demoted_blocks, stats.promoted_blocks);
}

}  // namespace
}  // namespace reprise::cachestore
