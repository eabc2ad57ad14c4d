// A tier on which loads cannot begin, as over an index whose disk hangs.
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

// Calls of StartLoads by threads other than the one that made it wait for `go_on`.
class HangingTier final : public FaultyTier {
 public:
  HangingTier(std::unique_ptr<BackingTier> tier, std::shared_ptr<FaultPlan> plan,
              absl::Notification* hangs, absl::Notification* go_on)
      : FaultyTier(std::move(tier), std::move(plan)), hangs_(hangs), go_on_(go_on) {}

  void StartLoads(std::vector<LoadRequest> batch) override {
    if (std::this_thread::get_id() != maker_) {
      if (!hangs_->HasBeenNotified()) hangs_->Notify();
      go_on_->WaitForNotification();
    }
    FaultyTier::StartLoads(std::move(batch));
  }

 private:
  const std::thread::id maker_ = std::this_thread::get_id();
  absl::Notification* const hangs_;
  absl::Notification* const go_on_;
};

using HangingStartTest = StoreFixture;

TEST_F(HangingStartTest, ATicketWhoseLoadsHaveEndedDoesNotWaitForThoseOfAnother) {
  OpenWithDisk(16, 64);
  SealChain(ns_, PromptTokens(1, 1));
  SealChain(ns_, PromptTokens(2, 6));
  ASSERT_TRUE(store_->Demote().ok());
  store_.reset();
  absl::Notification hangs;
  absl::Notification go_on;
  auto tier = std::make_unique<HangingTier>(
      std::make_unique<MemoryBackingTier>(64 * kSlotBytes, contents_), faults_, &hangs, &go_on);
  store_ = *TieredStore::Open(Options(16), std::move(tier));
  ns_ = OpenNamespace(TestIdentity());
  faults_->CloseLoadGate();
  PinTicket ended = store_->Pin(ns_, PromptTokens(1, 1), 100, nullptr);
  PinTicket other = store_->Pin(ns_, PromptTokens(2, 6), 100, nullptr);
  faults_->OpenLoadGate();
  hangs.WaitForNotification();
  EXPECT_TRUE(ended.Wait(absl::Now() + absl::Seconds(10)));
  EXPECT_FALSE(other.done());
  go_on.Notify();
  EXPECT_TRUE(other.Wait(absl::Now() + absl::Seconds(60)));
  EXPECT_EQ(ended.Take().disk_blocks, 1);
  EXPECT_EQ(other.Take().disk_blocks, 6);
}

}  // namespace
}  // namespace reprise::cachestore
