// The check of the store's own books while nobody uses it.
#include "cachestore/store/auditor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

// A tier that says it holds one block more than it does, when told to.
class MiscountingTier final : public MemoryBackingTier {
 public:
  using MemoryBackingTier::MemoryBackingTier;
  int64_t num_blocks() const override { return MemoryBackingTier::num_blocks() + *extra; }
  std::shared_ptr<std::atomic<int64_t>> extra = std::make_shared<std::atomic<int64_t>>(0);
};

class AuditorTest : public StoreFixture {
 protected:
  void Open(absl::Duration check_after_idle) {
    StoreOptions options = Options(32);
    options.check_after_idle = check_after_idle;
    auto tier = std::make_unique<MiscountingTier>(64 * kSlotBytes, contents_);
    extra_ = tier->extra;
    auto store = TieredStore::Open(options, std::move(tier));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ns_ = OpenNamespace(TestIdentity());
  }

  // Waits until more than `count` checks have ended.
  void AwaitChecks(int64_t count) {
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    while (store_->stats().integrity_checks <= count && absl::Now() < deadline) {
      std::this_thread::yield();
    }
    ASSERT_GT(store_->stats().integrity_checks, count);
  }

  // What was used before may have been checked by now, and is not again: so it is used.
  void AwaitUseAndCheck() {
    const int64_t before = store_->stats().integrity_checks;
    PinNow(ns_, PromptTokens(1, 12));
    AwaitChecks(before);
  }

  std::shared_ptr<std::atomic<int64_t>> extra_;
};

TEST_F(AuditorTest, AStoreLeftAloneIsCheckedOnceAfterEachUse) {
  Open(absl::Milliseconds(20));
  AwaitChecks(0);
  const int64_t before = store_->stats().integrity_checks;
  SealChain(ns_, PromptTokens(1, 12));
  ASSERT_TRUE(store_->Demote().ok());
  AwaitChecks(before);
  const int64_t after = store_->stats().integrity_checks;
  // Ten periods more without use are not checked again, but for what was used behind that check.
  const absl::Time end = absl::Now() + absl::Milliseconds(200);
  while (absl::Now() < end) std::this_thread::yield();
  EXPECT_LE(store_->stats().integrity_checks, after + 1);
  EXPECT_EQ(store_->stats().failed_integrity_checks, 0);
}

TEST_F(AuditorTest, BooksThatDisagreeAreCounted) {
  Open(absl::Milliseconds(20));
  SealChain(ns_, PromptTokens(1, 12));
  ASSERT_TRUE(store_->Demote().ok());
  AwaitUseAndCheck();
  ASSERT_EQ(store_->stats().failed_integrity_checks, 0);
  *extra_ = 1;
  PinNow(ns_, PromptTokens(1, 12));  // use, so that it is checked again
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  while (store_->stats().failed_integrity_checks == 0 && absl::Now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_GT(store_->stats().failed_integrity_checks, 0);
  *extra_ = 0;
}

TEST_F(AuditorTest, AStoreInUseIsNeverJudged) {
  Open(absl::Milliseconds(1));
  const absl::Time end = absl::Now() + absl::Milliseconds(500);
  std::vector<std::thread> users;
  for (uint32_t user = 0; user < 3; ++user) {
    users.emplace_back([&, user] {
      for (uint32_t round = 0; absl::Now() < end; ++round) {
        PinNow(ns_, PromptTokens(user * 8 + round % 8, 4));
        SealChain(ns_, PromptTokens(user * 8 + round % 8, 2));
      }
    });
  }
  users.emplace_back([&] {
    while (absl::Now() < end) ASSERT_TRUE(store_->Demote().ok());
  });
  for (std::thread& user : users) user.join();
  AwaitUseAndCheck();
  EXPECT_EQ(store_->stats().failed_integrity_checks, 0);
}

}  // namespace
}  // namespace reprise::cachestore
