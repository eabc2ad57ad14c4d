// Requests that the store is told of before they come: what they will use stays until then.
#include <gtest/gtest.h>

#include <vector>

#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kRamSlots = 16;
constexpr int64_t kExpectedBlocks = 4;
constexpr uint64_t kNumber = 7;
using Use = RequestHints::Use;

class ExpectedRequestsTest : public StoreFixture {
 protected:
  ExpectedRequestsTest() { eviction_ = EvictionOrder::kReuse; }

  void SetUp() override {
    OpenRamOnly(kRamSlots);
    Request(expected_);
  }
  void Request(const std::vector<TokenId>& prompt,
               const RequestHints& hints = {.use = Use::kRequest}) {
    const auto num_blocks = static_cast<int64_t>(prompt.size()) / kBlockTokens;
    store_->Touch(ns_, prompt, num_blocks, hints);
    SealChain(ns_, prompt);
  }
  // Prompts of which nobody sends one again, ten times what RAM holds.
  void SendOthers() {
    for (int i = 0; i < 40; ++i) Request(PromptTokens(next_other_++, 4));
  }
  int64_t Left() const { return store_->Match(ns_, expected_, 100).total_blocks(); }

  const std::vector<TokenId> expected_ = PromptTokens(1, kExpectedBlocks);
  uint32_t next_other_ = 100;
};

TEST_F(ExpectedRequestsTest, WhatAWaitingRequestWillUseStaysUntilItHasCome) {
  store_->Touch(ns_, expected_, kExpectedBlocks, {.use = Use::kAhead, .request = kNumber});
  SendOthers();
  EXPECT_EQ(Left(), kExpectedBlocks);
  Request(expected_, {.use = Use::kRequest, .request = kNumber});
  SendOthers();
  EXPECT_EQ(Left(), 0) << "it has come";
}

TEST_F(ExpectedRequestsTest, WithoutItItGoes) {
  SendOthers();
  EXPECT_EQ(Left(), 0);
}

}  // namespace
}  // namespace reprise::cachestore
