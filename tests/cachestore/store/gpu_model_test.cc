// Random operations on a store of three tiers against small reference models, and many threads on
// one.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "cachestore/base/check.h"
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

class GpuModelTest : public GpuStoreFixture {
 protected:
  struct Held {
    Tier tier = Tier::kRam;
    std::vector<BlockRef> refs;
  };

  // Matches, pins in a tier drawn at random, computes what is missing there, and has all of it
  // read.
  Held Request(std::mt19937& random, const std::vector<TokenId>& prompt) {
    const std::vector<BlockKey> keys = ChainKeys(ns_.root, prompt, kBlockTokens);
    Held held = {.tier = random() % 3 == 0 ? Tier::kRam : Tier::kGpu, .refs = {}};
    PinTicket ticket = PinAndReadEarly(random, held.tier, prompt);
    CHECK(ticket.Wait(absl::Now() + absl::Seconds(60)));
    held.refs = std::move(ticket.Take().blocks);
    found_ = held.refs.size();
    while (held.refs.size() < keys.size()) {
      const size_t i = held.refs.size();
      const BlockKey parent = i == 0 ? ns_.root : keys[i - 1];
      const auto tokens = absl::MakeSpan(prompt).subspan(i * kBlockTokens, kBlockTokens);
      BlockRef ref = held.tier == Tier::kGpu ? SealOnGpu(ns_, parent, tokens, patience_)
                                             : SealOne(ns_, parent, tokens, patience_);
      if (!ref) break;
      held.refs.push_back(std::move(ref));
    }
    Read(held);
    return held;
  }
  // By layer or by block. By layer, on the GPU, steps read each layer as soon as they may.
  PinTicket PinAndReadEarly(std::mt19937& random, Tier tier, const std::vector<TokenId>& prompt) {
    const LoadOrder order = random() % 2 == 0 ? LoadOrder::kByLayer : LoadOrder::kByBlock;
    PinTicket ticket = store_->Pin(ns_, prompt, BlockRange{.first = 0, .count = 100}, nullptr,
                                   absl::InfiniteFuture(), order, tier);
    const std::vector<const std::byte*> addresses = ticket.addresses();
    if (addresses.empty() || tier == Tier::kRam) return ticket;
    const std::vector<BlockKey> keys = ChainKeys(ns_.root, prompt, kBlockTokens);
    const auto wrong = std::make_shared<std::atomic<int64_t>>(0);
    const absl::Time soon = absl::Now() + absl::Seconds(60);
    for (uint64_t begin = 0; begin < kBlockBytes; begin += kLayerBytes) {
      if (!ticket.AwaitBytes(begin + kLayerBytes, soon)) return ticket;
      for (size_t i = 0; i < addresses.size(); ++i) {
        Enqueue([key = keys[i], begin, bytes = addresses[i], wrong] {
          std::vector<std::byte> right(kBlockBytes);
          FillPayload(key, absl::MakeSpan(right));
          *wrong += std::memcmp(bytes + begin, right.data() + begin, kLayerBytes) != 0;
        });
      }
    }
    // All came, so what steps made of it counts.
    absl::MutexLock lock(&mu_);
    wrong_early_.push_back(wrong);
    return ticket;
  }
  // Nothing was wrong in the prefixes that steps read while they came; returns how many there were.
  size_t CheckEarlyReads() {
    FinishSteps();
    absl::MutexLock lock(&mu_);
    for (const auto& wrong : wrong_early_) EXPECT_EQ(*wrong, 0);
    const size_t count = wrong_early_.size();
    wrong_early_.clear();
    return count;
  }
  void Read(const Held& held) {
    if (held.tier == Tier::kGpu) return StepReads(held.refs);
    for (const BlockRef& ref : held.refs) {
      ++reads_;
      if (!PayloadIsRight(ref.key(), ref.bytes())) ++wrong_reads_;
    }
  }

  static constexpr uint64_t kBlockBytes = 2048;
  static constexpr uint64_t kLayerBytes = 1024;

  absl::Duration patience_ = absl::Seconds(20);
  size_t found_ = 0;  // blocks that the last request found
  absl::Mutex mu_;
  std::vector<std::shared_ptr<std::atomic<int64_t>>> wrong_early_ ABSL_GUARDED_BY(mu_);
};

TEST_F(GpuModelTest, WithALargeDiskEverythingIsFoundAgain) {
  eviction_ = StoreOptions().eviction;
  std::mt19937 random(TestSeed());
  for (seed_ = 0; seed_ < 3; ++seed_) {
    contents_ = std::make_shared<MemoryTierContents>();
    OpenWithGpu(20, 16, 4096);
    std::set<BlockKey> sealed;
    std::vector<Held> held;
    for (int step = 0; step < 400; ++step) {
      const std::vector<TokenId> prompt = RandomPrompt(random, 7);
      const std::vector<BlockKey> keys = ChainKeys(ns_.root, prompt, kBlockTokens);
      const auto missing = std::find_if(keys.begin(), keys.end(),
                                        [&](const BlockKey& key) { return !sealed.contains(key); });
      const int64_t expected = missing - keys.begin();
      ASSERT_EQ(store_->Match(ns_, prompt, 100).total_blocks(), expected) << "step " << step;
      held.push_back(Request(random, prompt));
      ASSERT_EQ(static_cast<int64_t>(found_), expected) << "step " << step;
      for (const BlockRef& ref : held.back().refs) sealed.insert(ref.key());
      if (held.size() > 1) held.erase(held.begin());
      if (random() % 3 == 0) held.clear();
      if (random() % 40 == 0) {
        ASSERT_TRUE(store_->Demote().ok());
      }
      if (random() % 60 == 0) {
        held.clear();
        ASSERT_TRUE(store_->Invalidate(AllBlocks{}, absl::InfiniteFuture()).ok());
        // What a copy still holds is like what is pinned: its key is not cached anew until then.
        while (store_->stats().queued_transfers > 0) std::this_thread::yield();
        sealed.clear();
      }
      ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus()) << "step " << step;
      ASSERT_LE(store_->stats().gpu_used_bytes, 20 * kSlotBytes);
      ASSERT_LE(store_->stats().ram_used_bytes, 16 * kSlotBytes);
      if (step % 10 == 0) FinishSteps();
      ASSERT_EQ(wrong_reads_, 0) << "step " << step;
    }
    held.clear();
    EXPECT_GT(CheckEarlyReads(), 0u);
    EXPECT_EQ(wrong_reads_, 0);
    EXPECT_GT(store_->stats().hit_gpu_tokens, 0);
    EXPECT_GT(store_->stats().hit_disk_tokens, 0);
    EXPECT_GT(store_->stats().promoted_to_gpu_blocks, 0);
    EXPECT_GT(store_->stats().copied_from_gpu_blocks, 0);
    ExpectLookupsAreConserved();
  }
}

TEST_F(GpuModelTest, WithFaultsAndLittleRoomEveryBlockReadIsRight) {
  std::mt19937 random(TestSeed());
  for (const int64_t disk_slots : {0, 24}) {
    for (const int64_t ram_slots : {4, 24}) {
      ++seed_;
      contents_ = std::make_shared<MemoryTierContents>();
      OpenWithGpu(16, ram_slots, disk_slots);
      patience_ = ram_slots == 4 ? absl::Milliseconds(20) : absl::Seconds(20);
      std::vector<Held> held;
      for (int step = 0; step < 250; ++step) {
        const std::vector<TokenId> prompt = RandomPrompt(random, ram_slots == 4 ? 4 : 6);
        const std::vector<BlockKey> keys = ChainKeys(ns_.root, prompt, kBlockTokens);
        const BlockKey victim = keys[random() % keys.size()];
        if (random() % 10 == 0) faults_->FailLoadsOf(victim, absl::DataLossError("bad bytes"));
        if (random() % 20 == 0) faults_->FailWrites(absl::InternalError("write failed"));
        held.push_back(Request(random, prompt));
        // In a small RAM, ancestors of what is on the GPU may be in the way.
        if (ram_slots > 4) {
          ASSERT_EQ(held.back().refs.size(), keys.size()) << "step " << step;
        }
        if (held.size() > 1 || random() % 2 == 0) held.erase(held.begin());
        if (ram_slots == 4) held.clear();
        faults_->FailLoadsOf(victim, absl::OkStatus());
        faults_->FailWrites(absl::OkStatus());
        if (disk_slots > 0 && random() % 16 == 0) {
          ASSERT_TRUE(store_->Demote().ok());
        }
        ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus()) << "step " << step;
        ASSERT_LE(store_->stats().gpu_used_bytes, 16 * kSlotBytes);
        if (step % 10 == 0) FinishSteps();
        ASSERT_EQ(wrong_reads_, 0) << "step " << step;
      }
      held.clear();
      CheckEarlyReads();
      EXPECT_EQ(wrong_reads_, 0);
      EXPECT_GT(store_->stats().hit_gpu_tokens, 0);
      ExpectLookupsAreConserved();
    }
  }
}

TEST_F(GpuModelTest, ManyThreadsReadTheBytesThatWereSealed) {
  const uint32_t seed = TestSeed();
  seed_ = 7;
  OpenWithGpu(32, 24, 64);
  const auto client = [&](uint32_t number) {
    std::mt19937 random(seed + number);
    std::vector<Held> held;
    for (int round = 0; round < 150; ++round) {
      const std::vector<TokenId> prompt =
          PromptTokens(random() % 6, 1 + static_cast<int64_t>(random() % 5));
      const Tier tier = random() % 3 == 0 ? Tier::kRam : Tier::kGpu;
      PinTicket ticket = PinAndReadEarly(random, tier, prompt);
      if (random() % 8 == 0) continue;  // abandoned
      CHECK(ticket.Wait(absl::Now() + absl::Seconds(60)));
      Held now = {.tier = tier, .refs = std::move(ticket.Take().blocks)};
      for (size_t i = now.refs.size(); i < prompt.size() / kBlockTokens; ++i) {
        const auto tokens = absl::MakeSpan(prompt).subspan(i * kBlockTokens, kBlockTokens);
        const BlockKey parent = i == 0 ? ns_.root : now.refs.back().key();
        BlockRef ref = tier == Tier::kGpu ? SealOnGpu(ns_, parent, tokens, absl::Milliseconds(20))
                                          : SealOne(ns_, parent, tokens, absl::Milliseconds(20));
        if (!ref) break;
        now.refs.push_back(std::move(ref));
      }
      Read(now);
      held.push_back(std::move(now));
      if (held.size() > 1) held.erase(held.begin());
      if (round % 8 == 0) FinishSteps();
    }
  };
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < 4; ++i) clients.emplace_back(client, i);
  std::atomic<bool> stop = false;
  std::thread operator_thread([&] {
    for (int round = 0; !stop; ++round) {
      faults_->FailWrites(round % 5 == 0 ? absl::InternalError("write failed") : absl::OkStatus());
      CHECK(store_->Demote().ok());
      // The disk may refuse to erase; then it says so.
      if (round % 7 == 0) {
        const absl::Time soon = absl::Now() + absl::Milliseconds(20);
        store_->Invalidate(BlocksOfNamespace{ns_}, soon).status().IgnoreError();
      }
      EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
    }
  });
  for (std::thread& thread : clients) thread.join();
  stop = true;
  operator_thread.join();
  faults_->FailWrites(absl::OkStatus());
  CheckEarlyReads();  // now and then one, when no other is loaded
  EXPECT_GT(reads_, 500);
  EXPECT_EQ(wrong_reads_, 0);
  const StoreStats stats = store_->stats();
  EXPECT_GT(stats.hit_gpu_tokens, 0);
  EXPECT_GT(stats.promoted_to_gpu_blocks, 0);
  EXPECT_GT(stats.copied_from_gpu_blocks, 0);
  while (store_->stats().queued_transfers > 0) ASSERT_TRUE(store_->Demote().ok());
  PinIn(Tier::kGpu, ns_, PromptTokens(1, 5));
}

}  // namespace
}  // namespace reprise::cachestore
