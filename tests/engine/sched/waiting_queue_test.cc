#include "engine/sched/waiting_queue.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 8;

class WaitingQueueTest : public testing::Test {
 protected:
  std::unique_ptr<Sequence> SequenceOf(SequenceId id, const std::string& tenant,
                                       int32_t priority = 0, int64_t prompt_tokens = 10) {
    GenerateRequest request;
    request.prompt = PromptOf(prompt_tokens, static_cast<uint32_t>(id));
    request.tenant = tenant;
    request.priority = priority;
    return std::make_unique<Sequence>(id, ns_, std::move(request), absl::Now());
  }
  // One that was admitted and gave everything back.
  std::unique_ptr<Sequence> PreemptedOf(SequenceId id, const std::string& tenant,
                                        int32_t priority = 0) {
    std::unique_ptr<Sequence> sequence = SequenceOf(id, tenant, priority);
    sequence->Admit(turn_++, account_, LoadChoice{}, nullptr, absl::Now());
    sequence->Preempt(account_);
    return sequence;
  }
  std::vector<SequenceId> PopAll() {
    std::vector<SequenceId> ids;
    while (queue_.front() != nullptr) {
      const SequenceId first = queue_.front()->id();
      ids.push_back(queue_.PopFront()->id());
      EXPECT_EQ(ids.back(), first);
    }
    EXPECT_EQ(queue_.size(), 0);
    return ids;
  }

  const std::unique_ptr<cachestore::TieredStore> store_ = OpenStore(16, kBlockTokens);
  const cachestore::NamespaceHandle ns_ = OpenNamespace(store_.get(), kBlockTokens);
  BlockAccount account_{store_.get()};
  WaitingQueue queue_;
  int64_t turn_ = 0;
};

TEST_F(WaitingQueueTest, OneTenantsRequestsGoInTheirOrder) {
  for (SequenceId id : {1, 2, 3}) queue_.Push(SequenceOf(id, "a"));
  EXPECT_EQ(PopAll(), (std::vector<SequenceId>{1, 2, 3}));
}

TEST_F(WaitingQueueTest, NewcomersAreThoseThatStillWaitEachOnce) {
  for (SequenceId id : {1, 2, 3}) queue_.Push(SequenceOf(id, "a"));
  queue_.Push(PreemptedOf(4, "a"));
  EXPECT_EQ(queue_.PopFront()->id(), 4u);
  EXPECT_EQ(queue_.PopFront()->id(), 1u);
  queue_.Remove(3);
  const Sequence* const newcomer = queue_.TakeNewcomer();
  ASSERT_NE(newcomer, nullptr);
  EXPECT_EQ(newcomer->id(), 2u);
  EXPECT_EQ(queue_.TakeNewcomer(), nullptr);
}

TEST_F(WaitingQueueTest, PriorityGoesBeforeAgeAndTenant) {
  queue_.Push(SequenceOf(1, "a", -1));
  queue_.Push(SequenceOf(2, "a", 0));
  queue_.Push(SequenceOf(3, "a", 7));
  queue_.Push(SequenceOf(4, "b", 0));
  EXPECT_EQ(PopAll(), (std::vector<SequenceId>{3, 4, 2, 1}));  // 4: a has had its share with 3
}

TEST_F(WaitingQueueTest, WhoWasPreemptedGoesBeforeTheNewOnesOfItsPriority) {
  queue_.Push(SequenceOf(2, "a"));
  std::unique_ptr<Sequence> first = PreemptedOf(5, "a");
  queue_.Push(PreemptedOf(4, "b"));
  queue_.Push(std::move(first));
  queue_.Push(SequenceOf(6, "c", 1));
  EXPECT_EQ(PopAll(), (std::vector<SequenceId>{6, 5, 4, 2}));
}

TEST_F(WaitingQueueTest, AFloodDoesNotHoldUpAnotherTenant) {
  for (SequenceId id = 1; id <= 20; ++id) queue_.Push(SequenceOf(id, "flood"));
  EXPECT_EQ(queue_.PopFront()->id(), 1);
  EXPECT_EQ(queue_.PopFront()->id(), 2);
  queue_.Push(SequenceOf(21, "other"));
  queue_.Push(SequenceOf(22, "other"));
  // In turns, because their prompts are of one length.
  for (SequenceId id : {21, 3, 22, 4}) EXPECT_EQ(queue_.PopFront()->id(), id);
}

TEST_F(WaitingQueueTest, ManyTenantsDoNotMakeABacklogFree) {
  for (SequenceId id = 1; id <= 3; ++id) queue_.Push(SequenceOf(id, "flood"));
  EXPECT_EQ(queue_.PopFront()->id(), 1);
  constexpr SequenceId kOthers = 2 * TenantShares::kMaxTenants;
  for (SequenceId id = 4; id < 4 + kOthers; ++id) {
    queue_.Push(SequenceOf(id, "other " + std::to_string(id)));
  }
  // The flood has had a prompt, and the others nothing yet.
  for (SequenceId id = 4; id <= 6; ++id) EXPECT_EQ(queue_.PopFront()->id(), id);
}

TEST_F(WaitingQueueTest, TokensCountNotRequests) {
  for (SequenceId id = 1; id <= 3; ++id) queue_.Push(SequenceOf(id, "long", 0, 40));
  for (SequenceId id = 4; id <= 9; ++id) queue_.Push(SequenceOf(id, "short", 0, 10));
  std::vector<SequenceId> first;
  for (int i = 0; i < 6; ++i) first.push_back(queue_.PopFront()->id());
  EXPECT_EQ(first, (std::vector<SequenceId>{1, 4, 5, 6, 7, 2}));
}

TEST_F(WaitingQueueTest, CachedPromptTokensAreNotPaidAndNewTokensAre) {
  queue_.Push(SequenceOf(1, "a", 0, 40));
  queue_.Push(SequenceOf(2, "a"));
  queue_.Push(SequenceOf(3, "b"));
  queue_.Push(SequenceOf(4, "b"));
  const std::unique_ptr<Sequence> first = queue_.PopFront();
  queue_.Charge(*first, -40);
  EXPECT_EQ(queue_.front()->id(), 2);
  queue_.Charge(*first, 1);
  EXPECT_EQ(queue_.front()->id(), 3);
}

TEST_F(WaitingQueueTest, AnyOneCanBeTakenOut) {
  queue_.Push(SequenceOf(1, "a"));
  queue_.Push(SequenceOf(2, "a"));
  queue_.Push(SequenceOf(3, "b", 5));
  queue_.Push(PreemptedOf(4, "c"));
  EXPECT_EQ(queue_.Remove(9), nullptr);
  for (SequenceId id : {3, 1, 4}) EXPECT_EQ(queue_.Remove(id)->id(), id);
  EXPECT_EQ(queue_.Remove(1), nullptr);
  EXPECT_EQ(PopAll(), (std::vector<SequenceId>{2}));
}

}  // namespace
}  // namespace reprise::engine
