// Exists and Prefetch, blocks that stand alone, and what callers tell of their requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/limits.h"
#include "cachestore/block/block_content.h"
#include "tests/api/session_fixture.h"
#include "tests/fakes/seen_requests.h"

namespace reprise::api {
namespace {

using cachestore::ExternalKey;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(SessionTest, ExistsCountsBlocksInARowInAnyTier) {
  PutBlocks(3);
  std::vector<uint32_t> longer = tokens_;
  longer.resize(longer.size() + 2 * kTestBlockTokens, 7);
  EXPECT_EQ(client_.Exists(ns_, longer, false, kTestTimeout)->leading_blocks(), 3);
  ASSERT_TRUE(client_.Demote(kTestTimeout).ok());
  EXPECT_EQ(client_.Exists(ns_, longer, false, kTestTimeout)->leading_blocks(), 3);
  EXPECT_EQ(client_.Exists(ns_, {}, false, kTestTimeout)->leading_blocks(), 0);
  EXPECT_EQ(client_.Exists(ns_, longer, true, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_.Exists(ns_ + 1, longer, false, kTestTimeout).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(SessionTest, APrefetchLoadsAndThenHoldsNothing) {
  PutOnDisk(4);
  const auto started = client_.Prefetch(ns_, tokens_, 3, kTestTimeout);
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(started->ready_blocks(), 0);
  EXPECT_EQ(started->loading_blocks(), 3);
  EXPECT_EQ(Stat("prefetches"), 1);
  faults_->OpenLoadGate();
  EXPECT_TRUE(Becomes("prefetches", 0));
  EXPECT_TRUE(BecomesFree());
  EXPECT_EQ(client_.Match(ns_, tokens_, kTestTimeout)->ram_blocks(), 3);
  const auto again = client_.Prefetch(ns_, tokens_, 0, kTestTimeout);
  EXPECT_EQ(again->ready_blocks(), 3);
  EXPECT_EQ(again->loading_blocks(), 1);
  EXPECT_TRUE(Becomes("prefetches", 0));
  EXPECT_EQ(client_.Prefetch(ns_, tokens_, 0, kTestTimeout)->ready_blocks(), 4);
  EXPECT_EQ(client_.Prefetch(ns_, std::vector<uint32_t>(8, 3), 0, kTestTimeout)->loading_blocks(),
            0);
}

TEST_F(SessionTest, PrefetchesAreBounded) {
  PutOnDisk(1);
  for (int64_t i = 0; i < kMaxPrefetches; ++i) {
    ASSERT_TRUE(client_.Prefetch(ns_, tokens_, 0, kTestTimeout).ok()) << i;
  }
  EXPECT_EQ(client_.Prefetch(ns_, tokens_, 0, kTestTimeout).status().code(),
            absl::StatusCode::kResourceExhausted);
  faults_->OpenLoadGate();
  EXPECT_TRUE(Becomes("prefetches", 0));
  EXPECT_TRUE(client_.Prefetch(ns_, tokens_, 0, kTestTimeout).ok());
}

TEST_F(SessionTest, PrefetchFieldsOutOfRangeAreRefused) {
  EXPECT_EQ(client_.Prefetch(ns_, tokens_, -1, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// RAM is the last tier: what leaves it is gone. The order is the one that follows from the uses
// alone; the learned one follows from how long they take, too.
class RamOnlyTest : public CacheServiceTest {
 protected:
  RamOnlyTest()
      : CacheServiceTest(TestServer::Options{
            .disk_bytes = 0, .eviction = cachestore::EvictionOrder::kLru, .max_positions = 0}) {}
};

// Of two prompts that fill RAM, the one that was not touched makes room.
TEST_F(RamOnlyTest, WhatIsTouchedStaysLonger) {
  const int64_t half = server_.store().stats().ram_capacity_bytes / 4096 / 2;
  const auto payloads = TestPayloads(half, block_bytes_);
  const auto prompt = [&](uint32_t number) {
    std::vector<uint32_t> tokens = TestTokens(half);
    tokens[0] = number;
    return tokens;
  };
  const auto put = [&](const std::vector<uint32_t>& tokens, int64_t num_blocks) {
    const auto blocks = TestBlocks(tokens, payloads, 0);
    const auto stored = client_.Put(
        ns_, {}, absl::MakeConstSpan(blocks).first(static_cast<size_t>(num_blocks)), kTestTimeout);
    EXPECT_EQ(stored->stored_blocks(), num_blocks);
  };
  put(prompt(1), half);
  put(prompt(2), half);
  EXPECT_EQ(client_.Touch(ns_, prompt(1), kTestTimeout).value_or(-1), half);
  EXPECT_EQ(client_.Touch(ns_, prompt(3), kTestTimeout).value_or(-1), 0);
  EXPECT_EQ(client_.Touch(ns_ + 1, prompt(1), kTestTimeout).status().code(),
            absl::StatusCode::kNotFound);
  put(prompt(3), half / 2);
  EXPECT_EQ(client_.Match(ns_, prompt(1), kTestTimeout)->ram_blocks(), half);
  EXPECT_LT(client_.Match(ns_, prompt(2), kTestTimeout)->ram_blocks(), half);
}

// A namespace of external keys, and blocks that stand alone in it.
class LoneBlockTest : public SessionTest {
 protected:
  LoneBlockTest() {
    v1::NamespaceIdentity identity = TestIdentity();
    identity.set_key_source(v1::KEY_SOURCE_EXTERNAL);
    const auto opened = client_.OpenNamespace(identity, kTestTimeout);
    EXPECT_TRUE(opened.ok()) << opened.status();
    external_ = opened->namespace_id();
    for (uint32_t i = 0; i < 6; ++i) {
      ExternalKey key;
      key.words.fill(100 + i);
      keys_.push_back(key);
    }
    payloads_ = TestPayloads(6, block_bytes_);
  }
  // Puts the keys with these numbers.
  v1::PutResponse PutLone(const std::vector<size_t>& numbers) {
    std::vector<PutBlock> blocks;
    for (const size_t i : numbers) {
      blocks.push_back({absl::MakeConstSpan(keys_).subspan(i, 1), payloads_[i]});
    }
    const auto put = client_.PutLone(external_, blocks, kTestTimeout);
    EXPECT_TRUE(put.ok()) << put.status();
    return put.value_or(v1::PutResponse());
  }
  static std::vector<v1::PutOutcome> Outcomes(const v1::PutResponse& response) {
    std::vector<v1::PutOutcome> outcomes;
    for (const v1::PutResult& result : response.results()) outcomes.push_back(result.outcome());
    return outcomes;
  }

  uint32_t external_ = 0;
  std::vector<ExternalKey> keys_;
};

TEST_F(LoneBlockTest, EachKeyIsFoundWhateverTheOthers) {
  EXPECT_THAT(Outcomes(PutLone({4, 1})),
              ElementsAre(v1::PUT_OUTCOME_STORED, v1::PUT_OUTCOME_STORED));
  EXPECT_THAT(Outcomes(PutLone({1, 2})),
              ElementsAre(v1::PUT_OUTCOME_EXISTED, v1::PUT_OUTCOME_STORED));
  ASSERT_TRUE(client_.Demote(kTestTimeout).ok());
  EXPECT_THAT(Outcomes(PutLone({2})), ElementsAre(v1::PUT_OUTCOME_EXISTED));
  const auto exists = client_.Exists(external_, keys_, true, kTestTimeout);
  ASSERT_TRUE(exists.ok()) << exists.status();
  EXPECT_THAT(exists->exists(), ElementsAre(false, true, true, false, true, false));
  EXPECT_EQ(exists->leading_blocks(), 0);

  v1::GetRequest request;
  request.set_namespace_id(external_);
  request.set_independent_keys(true);
  for (const ExternalKey& key : keys_) request.add_external_keys(key.ToBytes());
  std::vector<int64_t> got;
  ASSERT_TRUE(client_
                  .Get(request, kTestTimeout,
                       [&](const v1::GetResponse& block) {
                         EXPECT_EQ(block.payload(),
                                   payloads_[static_cast<size_t>(block.block_index())]);
                         got.push_back(block.block_index());
                       })
                  .ok());
  EXPECT_THAT(got, ElementsAre(1, 2, 4));
}

TEST_F(LoneBlockTest, ARejectedBlockLeavesTheOthersAlone) {
  const std::string good = payloads_[1];
  payloads_[1].pop_back();
  const v1::PutResponse put = PutLone({0, 1, 2});
  EXPECT_EQ(put.stored_blocks(), 2);
  EXPECT_EQ(put.rejected_blocks(), 1);
  EXPECT_THAT(put.reject_reason(), AllOf(HasSubstr("block 1"), HasSubstr("511")));
  EXPECT_THAT(Outcomes(put), ElementsAre(v1::PUT_OUTCOME_STORED, v1::PUT_OUTCOME_REJECTED,
                                         v1::PUT_OUTCOME_STORED));
  EXPECT_THAT(put.results(1).reason(), HasSubstr("511"));
  // Those that are alike share a message.
  payloads_[3].pop_back();
  EXPECT_THAT(
      Outcomes(PutLone({1, 3, 4})),
      ElementsAre(v1::PUT_OUTCOME_REJECTED, v1::PUT_OUTCOME_REJECTED, v1::PUT_OUTCOME_STORED));
}

TEST_F(LoneBlockTest, TheyNeedExternalKeysAndNoPrefix) {
  v1::PutRequest request = GoodRequest();
  request.set_independent_keys(true);
  v1::PutResponse response;
  EXPECT_EQ(PutOne(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.set_namespace_id(external_);
  request.clear_token_ids();
  request.set_external_key(keys_[1].ToBytes());
  request.add_prefix_external_keys(keys_[0].ToBytes());
  EXPECT_EQ(PutOne(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.clear_prefix_external_keys();
  EXPECT_TRUE(PutOne(request, &response).ok());
}

// ---- Hints.

using cachestore::RequestHints;
using cachestore::SeenRequests;

class HintsTest : public SessionTest {
 protected:
  HintsTest() {
    server_.store().Watch(seen_);
    hints_.set_session("s");
    hints_.set_turn(2);
  }
  v1::AcquireRequest Wanted() const {
    v1::AcquireRequest wanted;
    *wanted.mutable_hints() = hints_;
    return wanted;
  }
  // The hints of the one request that was seen, for so many blocks.
  void ExpectOneRequest(size_t asked, size_t matched) {
    const auto requests = seen_->TakeRequests();
    ASSERT_EQ(requests.size(), 1u);
    EXPECT_EQ(requests[0].hints.turn, 2);
    EXPECT_NE(requests[0].hints.session, 0u);
    EXPECT_EQ(requests[0].asked_blocks, asked);
    EXPECT_EQ(requests[0].matched_blocks, matched);
  }

  const std::shared_ptr<SeenRequests> seen_ = std::make_shared<SeenRequests>();
  v1::CacheHints hints_;
};

TEST_F(HintsTest, AnAcquireIsOneRequestWhateverIsHeldOfIt) {
  PutBlocks(3);
  const auto session = OpenSession();
  seen_->TakeRequests();
  Acquire(*session, Wanted());
  ExpectOneRequest(3, 3);
  v1::AcquireRequest part = Wanted();
  part.set_first_block(1);
  part.set_max_blocks(1);
  Acquire(*session, part);
  ExpectOneRequest(2, 2);
  // Recomputing is faster: nothing is held.
  v1::AcquireRequest advised = Wanted();
  advised.mutable_prefill()->set_tokens_per_second(1e12);
  advised.set_follow_advice(true);
  Acquire(*session, advised);
  ExpectOneRequest(3, 3);
  tokens_ = std::vector<uint32_t>(2 * kTestBlockTokens, 77);
  Acquire(*session, Wanted());
  ExpectOneRequest(2, 0);
}

TEST_F(HintsTest, TouchAndGetWithHintsAreRequestsAndAPrefetchIsAhead) {
  PutBlocks(3);
  seen_->TakeRequests();
  EXPECT_EQ(*client_.Touch(ns_, tokens_, kTestTimeout, hints_), 3);
  ExpectOneRequest(3, 3);
  v1::GetRequest get;
  get.set_namespace_id(ns_);
  get.mutable_token_ids()->Assign(tokens_.begin(), tokens_.end());
  const auto ignore = [](const v1::GetResponse&) {};
  EXPECT_EQ(*client_.Get(get, kTestTimeout, ignore), 3);
  EXPECT_TRUE(seen_->TakeRequests().empty());
  *get.mutable_hints() = hints_;
  EXPECT_EQ(*client_.Get(get, kTestTimeout, ignore), 3);
  ExpectOneRequest(3, 3);
  PutOnDisk(3);
  seen_->TakeRequests();
  ASSERT_TRUE(client_.Prefetch(ns_, tokens_, 0, kTestTimeout, hints_).ok());
  faults_->OpenLoadGate();
  EXPECT_EQ(seen_->TakeRequests(RequestHints::Use::kAhead).size(), 1u);
  EXPECT_TRUE(Becomes("prefetches", 0));
}

TEST_F(HintsTest, PutAndReleaseTellTheEnd) {
  tokens_ = TestTokens(3);
  payloads_ = TestPayloads(3, block_bytes_);
  hints_.set_finish_reason("tool_use");
  ASSERT_TRUE(client_.Put(ns_, {}, TestBlocks(tokens_, payloads_, 0), kTestTimeout, hints_).ok());
  const auto put = seen_->TakeEnds();
  ASSERT_EQ(put.size(), 1u);
  EXPECT_EQ(put[0].end.hints.ending, RequestHints::Ending::kToolUse);
  EXPECT_TRUE(put[0].is_stored);
  ASSERT_EQ(put[0].keys.size(), 3u);

  const auto session = OpenSession();
  Acquired acquired = Acquire(*session, Wanted());
  hints_.set_finish_reason("end_turn");
  hints_.set_session_closed(true);
  ASSERT_TRUE(session->EndRequest(std::move(acquired.lease), hints_, 40, kTestTimeout).ok());
  EXPECT_EQ(pinned(), 0);
  const auto released = seen_->TakeEnds();
  ASSERT_EQ(released.size(), 1u);
  EXPECT_EQ(released[0].end.hints.ending, RequestHints::Ending::kEndTurn);
  EXPECT_TRUE(released[0].end.hints.session_closed);
  EXPECT_EQ(released[0].end.output_tokens, 40);
  EXPECT_EQ(released[0].keys, put[0].keys);
}

TEST_F(HintsTest, HintsOutOfRangeAreRefused) {
  PutBlocks(1);
  const auto session = OpenSession();
  Acquired acquired = Acquire(*session);
  seen_->TakeRequests();
  seen_->TakeEnds();
  hints_.set_reuse_probability(2);
  const auto code = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(session->Acquire(ns_, tokens_, Wanted(), kTestTimeout).status().code(), code);
  EXPECT_EQ(client_.Touch(ns_, tokens_, kTestTimeout, hints_).status().code(), code);
  EXPECT_EQ(client_.Prefetch(ns_, tokens_, 0, kTestTimeout, hints_).status().code(), code);
  EXPECT_EQ(
      client_.Put(ns_, {}, TestBlocks(tokens_, payloads_, 0), kTestTimeout, hints_).status().code(),
      code);
  hints_.clear_reuse_probability();
  EXPECT_EQ(session->EndRequest(std::move(acquired.lease), hints_, -1, kTestTimeout).code(), code);
  EXPECT_TRUE(seen_->TakeRequests().empty());
  EXPECT_TRUE(seen_->TakeEnds().empty());
}

TEST_F(SessionTest, PuttingBlocksAgainChangesNothing) {
  PutBlocks(3);
  const int64_t used = server_.store().stats().ram_used_bytes;
  const v1::PutResponse again = PutBlocks(3);
  EXPECT_EQ(again.stored_blocks(), 3);
  ASSERT_EQ(again.results_size(), 3);
  for (const v1::PutResult& result : again.results()) {
    EXPECT_EQ(result.outcome(), v1::PUT_OUTCOME_EXISTED);
  }
  EXPECT_EQ(server_.store().stats().ram_used_bytes, used);
  const v1::PutResponse longer = PutBlocks(4);
  ASSERT_EQ(longer.results_size(), 4);
  EXPECT_EQ(longer.results(2).outcome(), v1::PUT_OUTCOME_EXISTED);
  EXPECT_EQ(longer.results(3).outcome(), v1::PUT_OUTCOME_STORED);
}

TEST_F(SessionTest, ARejectedBlockTakesThoseBehindItAlong) {
  tokens_ = TestTokens(4);
  payloads_ = TestPayloads(4, block_bytes_);
  payloads_[1].pop_back();
  const auto put = client_.Put(ns_, {}, TestBlocks(tokens_, payloads_, 0), kTestTimeout);
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->stored_blocks(), 1);
  ASSERT_EQ(put->results_size(), 4);
  EXPECT_EQ(put->results(0).outcome(), v1::PUT_OUTCOME_STORED);
  EXPECT_EQ(put->results(1).outcome(), v1::PUT_OUTCOME_REJECTED);
  EXPECT_EQ(put->results(2).outcome(), v1::PUT_OUTCOME_BEHIND_REJECTED);
  EXPECT_EQ(put->results(3).outcome(), v1::PUT_OUTCOME_BEHIND_REJECTED);
}

}  // namespace
}  // namespace reprise::api
