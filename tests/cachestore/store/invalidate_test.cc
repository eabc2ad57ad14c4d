// Invalidate: by scope, in every tier, beside everything that could bring a block back.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

class InvalidateTest : public StoreFixture {
 protected:
  InvalidateReport Invalidate(const InvalidateScope& scope) {
    const absl::StatusOr<InvalidateReport> report =
        store_->Invalidate(scope, absl::Now() + absl::Seconds(60));
    EXPECT_TRUE(report.ok()) << report.status();
    return report.value_or(InvalidateReport{});
  }
  int64_t Matched(const NamespaceHandle& ns, absl::Span<const TokenId> tokens) {
    return store_->Match(ns, tokens, 100).total_blocks();
  }
};

TEST_F(InvalidateTest, EachScopeTakesItsBlocksFromBothTiersAndNoOthers) {
  const std::vector<TokenId> tokens = PromptTokens(1, 3);
  const auto fill = [&] {
    contents_ = std::make_shared<MemoryTierContents>();
    OpenWithDisk(64, 64);
    std::vector<NamespaceHandle> spaces;
    for (const char* salt : {"1", "2"}) {
      for (const char* tenant : {"alice", "bob"}) {
        NamespaceIdentity identity = TestIdentity(tenant);
        identity.salt = salt;
        spaces.push_back(OpenNamespace(identity));
        SealChain(spaces.back(), tokens);
      }
    }
    EXPECT_TRUE(store_->Demote().ok());
    for (const NamespaceHandle& ns : spaces) EXPECT_EQ(PinNow(ns, tokens).disk_blocks, 3);
    return spaces;
  };
  const auto expect = [&](const std::vector<NamespaceHandle>& spaces,
                          const InvalidateReport& report, const std::vector<int64_t>& left) {
    int64_t total = 0;
    for (size_t i = 0; i < spaces.size(); ++i) {
      EXPECT_EQ(Matched(spaces[i], tokens), left[i]) << i;
      total += left[i];
    }
    EXPECT_EQ(report.ram_blocks, 12 - total);
    EXPECT_EQ(report.disk_blocks, 12 - total);
    EXPECT_EQ(report.pinned_blocks, 0);
    EXPECT_EQ(store_->stats().ram_blocks, total);
    EXPECT_EQ(static_cast<int64_t>(contents_->items.size()), total) << "gone from disk too";
    EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  };
  std::vector<NamespaceHandle> spaces = fill();
  expect(spaces, Invalidate(AllBlocks{}), {0, 0, 0, 0});
  spaces = fill();
  expect(spaces, Invalidate(BlocksOfTenant{"alice"}), {0, 3, 0, 3});
  spaces = fill();
  expect(spaces, Invalidate(BlocksOfTenant{"nobody"}), {3, 3, 3, 3});
  spaces = fill();
  expect(spaces, Invalidate(BlocksOfNamespace{spaces[2]}), {3, 3, 0, 3});
  spaces = fill();
  const auto two = absl::MakeSpan(tokens).first(2 * kBlockTokens);
  expect(spaces, Invalidate(BlocksBelow{spaces[1], two}), {3, 1, 3, 3});
  // Cached again afterwards, as if it had never been there.
  SealChain(spaces[1], tokens);
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(PinNow(spaces[1], tokens).disk_blocks, 3);
}

TEST_F(InvalidateTest, APrefixTakesItsBranchesAndLeavesTheOthers) {
  OpenWithDisk(64, 64);
  std::vector<TokenId> left = PromptTokens(1, 6);
  std::vector<TokenId> right = left;
  std::vector<TokenId> early = left;
  right.back() += 1;
  early[kBlockTokens] += 1;
  for (const auto& tokens : {left, right, early}) SealChain(ns_, tokens);
  const auto prefix = absl::MakeSpan(left).first(3 * kBlockTokens);
  EXPECT_EQ(Invalidate(BlocksBelow{ns_, prefix}).ram_blocks, 5);
  EXPECT_EQ(Matched(ns_, left), 2);
  EXPECT_EQ(Matched(ns_, right), 2);
  EXPECT_EQ(Matched(ns_, early), 6);
  EXPECT_EQ(Invalidate(BlocksBelow{ns_, prefix}).ram_blocks, 0) << "not in the store";
}

TEST_F(InvalidateTest, NothingIsFoundAfterARestartThatNeverOpenedTheNamespace) {
  OpenWithDisk(16, 64);
  SealChain(ns_, PromptTokens(1, 4));
  SealChain(OpenNamespace(TestIdentity("alice")), PromptTokens(1, 4));
  ASSERT_TRUE(store_->Demote().ok());
  OpenWithDisk(16, 64);
  EXPECT_EQ(Invalidate(BlocksOfTenant{"alice"}).disk_blocks, 4);
  OpenWithDisk(16, 64);
  EXPECT_EQ(store_->stats().recovered_blocks, 4);
  EXPECT_EQ(Matched(OpenNamespace(TestIdentity("alice")), PromptTokens(1, 4)), 0);
  EXPECT_EQ(Matched(ns_, PromptTokens(1, 4)), 4);
}

TEST_F(InvalidateTest, PinnedBlocksStayReadableAndTheirKeysAreNotSealedAnewMeanwhile) {
  OpenWithDisk(16, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, 2);
  std::vector<BlockRef> pins = SealChain(ns_, tokens);
  ASSERT_TRUE(store_->Demote().ok());
  const InvalidateReport report = Invalidate(AllBlocks{});
  EXPECT_EQ(report.ram_blocks, 2);
  EXPECT_EQ(report.pinned_blocks, 2);
  EXPECT_EQ(Matched(ns_, tokens), 0);
  for (const BlockRef& pin : pins) EXPECT_TRUE(PayloadIsRight(pin.key(), pin.bytes()));
  {
    // New KV of the same tokens must not come to light as the old bytes.
    const std::vector<BlockRef> anew = SealChain(ns_, tokens);
    EXPECT_NE(anew[0].bytes().data(), pins[0].bytes().data());
    EXPECT_EQ(Matched(ns_, tokens), 0);
    EXPECT_EQ(PinNow(ns_, tokens).blocks.size(), 0u);
  }
  pins.clear();
  EXPECT_EQ(store_->stats().ram_blocks, 0);
  SealChain(ns_, tokens);
  EXPECT_EQ(Matched(ns_, tokens), 2);
}

TEST_F(InvalidateTest, ABlockAllocatedBeforeAndSealedAfterStaysPrivate) {
  OpenWithDisk(16, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, 1);
  const NamespaceHandle other = OpenNamespace(TestIdentity("other"));
  absl::StatusOr<WritableBlock> old = store_->Allocate(ns_);
  absl::StatusOr<WritableBlock> unconcerned = store_->Allocate(other);
  ASSERT_TRUE(old.ok() && unconcerned.ok());
  Invalidate(BlocksOfNamespace{ns_});
  {
    const BlockRef sealed = store_->Seal(ns_, *std::move(old), ns_.root, tokens);
    EXPECT_EQ(Matched(ns_, tokens), 0);
  }
  EXPECT_EQ(store_->stats().ram_blocks, 0);
  FillPayload(ChildKey(other.root, tokens), unconcerned->bytes());
  store_->Seal(other, *std::move(unconcerned), other.root, tokens);
  EXPECT_EQ(Matched(other, tokens), 1);
  SealChain(ns_, tokens);
  EXPECT_EQ(Matched(ns_, tokens), 1) << "allocated after";
}

TEST_F(InvalidateTest, ALoadUnderWayBringsNothingBack) {
  OpenWithDisk(16, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, 4);
  SealChain(ns_, tokens);
  ASSERT_TRUE(store_->Demote().ok());
  { const PinnedPrefix in_ram = PinNow(ns_, absl::MakeSpan(tokens).first(2 * kBlockTokens)); }
  const int64_t loads = faults_->loads();
  faults_->CloseLoadGate();
  PinTicket ticket = store_->Pin(ns_, tokens, 100, nullptr);
  faults_->AwaitLoads(loads + 1);
  std::thread invalidating([&] { Invalidate(AllBlocks{}); });
  // The disk copies can be erased only once nobody reads them.
  while (Matched(ns_, tokens) > 0) std::this_thread::yield();
  faults_->OpenLoadGate();
  invalidating.join();
  ASSERT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
  EXPECT_EQ(ticket.Take().blocks.size(), 0u);
  EXPECT_GE(store_->stats().missed_lost_tokens, kBlockTokens);
  EXPECT_EQ(contents_->items.size(), 0u);
  EXPECT_EQ(Matched(ns_, tokens), 0);
}

TEST_F(InvalidateTest, ADiskThatDoesNotEraseIsReportedAndAskedAgain) {
  OpenWithDisk(16, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, 4);
  SealChain(ns_, tokens);
  ASSERT_TRUE(store_->Demote().ok());
  faults_->FailWrites(absl::InternalError("write failed"));
  const absl::StatusOr<InvalidateReport> report =
      store_->Invalidate(AllBlocks{}, absl::Now() + absl::Milliseconds(20));
  EXPECT_EQ(report.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Matched(ns_, tokens), 0) << "not served by this process in any case";
  EXPECT_EQ(contents_->items.size(), 4u);
  faults_->FailWrites(absl::OkStatus());
  EXPECT_EQ(Invalidate(AllBlocks{}).disk_blocks, 0);
  EXPECT_EQ(contents_->items.size(), 0u);
}

// A generation stands for the weights: blocks are written with the one that holds when they were
// allocated, and whoever pins after an invalidation must see none of an older one.
TEST_F(InvalidateTest, NoOldGenerationIsServedHoweverTheThreadsRace) {
  OpenWithDisk(32, 64);
  constexpr int kRounds = 150;
  std::atomic<uint64_t> generation = 1;
  std::atomic<uint64_t> oldest_allowed = 1;
  std::atomic<bool> stop = false;
  std::atomic<int64_t> served = 0;
  std::vector<std::thread> users;
  for (uint32_t thread = 0; thread < 3; ++thread) {
    users.emplace_back([&, thread] {
      std::mt19937 random(thread);
      while (!stop) {
        const std::vector<TokenId> tokens = PromptTokens(random() % 6, 1 + random() % 5);
        const uint64_t floor = oldest_allowed;
        PinTicket ticket = store_->Pin(ns_, tokens, 100, nullptr);
        ASSERT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
        std::vector<BlockRef> refs = std::move(ticket.Take().blocks);
        for (const BlockRef& ref : refs) {
          uint64_t written = 0;
          std::memcpy(&written, ref.bytes().data(), sizeof(written));
          ASSERT_GE(written, floor);
        }
        served += static_cast<int64_t>(refs.size());
        while (refs.size() * kBlockTokens < tokens.size()) {
          absl::StatusOr<WritableBlock> block = store_->Allocate(ns_);
          if (!block.ok()) break;
          const uint64_t now = generation;
          std::memcpy(block->bytes().data(), &now, sizeof(now));
          const BlockKey parent = refs.empty() ? ns_.root : refs.back().key();
          refs.push_back(store_->Seal(
              ns_, *std::move(block), parent,
              absl::MakeConstSpan(tokens).subspan(refs.size() * kBlockTokens, kBlockTokens)));
        }
      }
    });
  }
  std::thread demoting([&] {
    while (!stop) {
      EXPECT_TRUE(store_->Demote().ok());
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    const int64_t before = served;
    while (served < before + 5) std::this_thread::yield();
    const uint64_t now = ++generation;
    if (round % 2 == 0) {
      Invalidate(AllBlocks{});
    } else {
      for (uint32_t prompt = 0; prompt < 6; ++prompt) {
        Invalidate(BlocksBelow{ns_, PromptTokens(prompt, 1)});
      }
    }
    oldest_allowed = now;
  }
  stop = true;
  demoting.join();
  for (std::thread& user : users) user.join();
  Invalidate(AllBlocks{});
  EXPECT_EQ(contents_->items.size(), 0u);
  EXPECT_EQ(store_->stats().ram_blocks, 0);
  EXPECT_GT(store_->stats().hit_disk_tokens, 0);
}

TEST_F(InvalidateTest, AWriteThatFailsMeanwhileIsWaitedForUntilTheDiskTakesWritesAgain) {
  OpenWithDisk(16, 64);
  SealChain(ns_, PromptTokens(1, 4));
  faults_->CloseWriteGate();
  std::thread demotion([this] { EXPECT_TRUE(store_->Demote().ok()); });
  faults_->AwaitWrites(1);
  faults_->FailWrites(absl::InternalError("write failed"));
  std::thread invalidation([this] { Invalidate(BlocksOfNamespace{ns_}); });
  while (store_->Match(ns_, PromptTokens(1, 4), 4).total_blocks() > 0) std::this_thread::yield();
  faults_->OpenWriteGate();
  demotion.join();
  EXPECT_GT(faults_->failed_writes(), 0);
  faults_->FailWrites(absl::OkStatus());
  invalidation.join();
}

TEST_F(InvalidateTest, DoesNotWaitForALongDemotion) {
  OpenWithDisk(2048, 4096);
  const NamespaceHandle alice = OpenNamespace(TestIdentity("alice"));
  SealChain(alice, PromptTokens(1, 4));
  ASSERT_TRUE(store_->Demote().ok());
  SealChain(ns_, PromptTokens(1, 1600));  // more than six batches
  faults_->CloseWriteGate();
  std::thread demotion([this] { EXPECT_TRUE(store_->Demote().ok()); });
  faults_->AwaitWrites(1);
  absl::Notification invalidated;
  std::thread invalidation([&] {
    EXPECT_EQ(Invalidate(BlocksOfTenant{"alice"}).disk_blocks, 4);
    invalidated.Notify();
  });
  while (Matched(alice, PromptTokens(1, 4)) > 0) std::this_thread::yield();
  // The batch under way, the erase, another batch, and an erase if it came before the first one. A
  // thread that is late to ask for its erase has more batches go before.
  faults_->LetWritesPass(4);
  for (int more = 0; more < 60; ++more) {
    if (invalidated.WaitForNotificationWithTimeout(absl::Seconds(1))) break;
    faults_->LetWritesPass(1);
  }
  EXPECT_TRUE(invalidated.HasBeenNotified());
  EXPECT_LT(store_->stats().disk_blocks, 1600);
  faults_->OpenWriteGate();
  demotion.join();
  invalidation.join();
  EXPECT_EQ(store_->stats().disk_blocks, 1600);
}

TEST_F(InvalidateTest, ADeadlineHoldsForTheTurnToo) {
  OpenWithDisk(16, 64);
  SealChain(ns_, PromptTokens(1, 4));
  SealChain(OpenNamespace(TestIdentity("alice")), PromptTokens(1, 4));
  ASSERT_TRUE(store_->Demote().ok());
  faults_->CloseWriteGate();
  std::thread first([this] { EXPECT_EQ(Invalidate(BlocksOfTenant{"alice"}).disk_blocks, 4); });
  faults_->AwaitWrites(1);
  const absl::Status second =
      store_->Invalidate(AllBlocks{}, absl::Now() + absl::Milliseconds(20)).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kDeadlineExceeded) << second;
  EXPECT_EQ(Matched(ns_, PromptTokens(1, 4)), 4) << "nothing was taken";
  faults_->OpenWriteGate();
  first.join();
}

}  // namespace
}  // namespace reprise::cachestore
