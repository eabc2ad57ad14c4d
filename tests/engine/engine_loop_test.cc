#include "engine/engine_loop.h"

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "engine/engine_request.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"
#include "tests/fakes/checking_model.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/piece_tokenizer.h"

namespace reprise::engine {
namespace {

using testing::HasSubstr;

constexpr int32_t kBlockTokens = 8;

class EngineLoopTest : public testing::Test {
 protected:
  EngineLoopTest() : model_(kMaxPositions), store_(OpenStore(128, kBlockTokens)) {
    ns_ = OpenNamespace(store_.get(), kBlockTokens);
  }

  void Start(const SchedulerOptions& scheduling = {}, int64_t max_waiting = 100) {
    loop_ = std::make_unique<EngineLoop>(
        EngineParts{&model_, backend_.get(), &tokenizer_, store_.get()}, ns_.layout,
        BlockBudget(store_->capacity_blocks(ns_), kBlockTokens, kMaxPositions), scheduling,
        max_waiting);
  }

  static GenerateRequest RequestOf(std::vector<uint32_t> prompt, int32_t max_new_tokens) {
    GenerateRequest request;
    request.prompt = std::move(prompt);
    request.stop.max_new_tokens = max_new_tokens;
    return request;
  }

  // Queues a request that is accepted.
  RequestId Submit(GenerateRequest request, const std::shared_ptr<CollectingSink>& sink) {
    const absl::StatusOr<RequestId> id = loop_->Submit(ns_, std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(0);
  }

  // A sink that takes so long for a token that a request of hundreds does not end by itself
  // meanwhile.
  std::shared_ptr<CollectingSink> SlowSink() {
    return std::make_shared<CollectingSink>(
        [this] { never_.WaitForNotificationWithTimeout(absl::Milliseconds(10)); });
  }

  CheckingModel model_;
  const std::unique_ptr<Backend> backend_ = NewCpuBackend(1);
  PieceTokenizer tokenizer_;
  absl::Notification never_;
  std::unique_ptr<cachestore::TieredStore> store_;
  cachestore::NamespaceHandle ns_;
  std::unique_ptr<EngineLoop> loop_;
};

TEST_F(EngineLoopTest, ARequestRunsToItsEndAndIsCounted) {
  Start();
  auto sink = std::make_shared<CollectingSink>();
  const std::vector<uint32_t> prompt = PromptOf(40, 1);
  Submit(RequestOf(prompt, 10), sink);
  ASSERT_TRUE(sink->Wait());
  EXPECT_EQ(sink->tokens(), ReferenceAnswer(prompt, 10, kBlockTokens));
  EXPECT_EQ(sink->text(), tokenizer_.Decode(sink->tokens()));
  ASSERT_TRUE(sink->result().has_value());
  EXPECT_EQ(sink->result()->finish_reason, FinishReason::kMaxTokens);
  EXPECT_EQ(sink->result()->prompt_tokens, 40);
  EXPECT_EQ(sink->result()->new_tokens, 10);
  EXPECT_GT(sink->result()->ttft, absl::ZeroDuration());
  EXPECT_GE(sink->result()->total, sink->result()->ttft);

  auto again = std::make_shared<CollectingSink>();
  Submit(RequestOf(prompt, 10), again);
  ASSERT_TRUE(again->Wait());
  EXPECT_EQ(again->result()->cached_ram_tokens, 32);
  EXPECT_EQ(again->tokens(), sink->tokens());
  const EngineStats stats = loop_->stats();
  EXPECT_EQ(stats.finished_requests, 2);
  EXPECT_EQ(stats.failed_requests, 0);
  EXPECT_EQ(stats.prompt_tokens, 80);
  EXPECT_EQ(stats.cached_tokens, 32);
  EXPECT_EQ(stats.prefilled_tokens, 48);
  EXPECT_EQ(stats.decoded_tokens, 20);
  EXPECT_EQ(stats.waiting_requests, 0);
  EXPECT_EQ(stats.running_requests, 0);
  ExpectStoreAtRest(*store_);
}

TEST_F(EngineLoopTest, ManyThreadsAtOnceGetTheirOwnRightAnswers) {
  Start({.step_tokens = 24, .max_running = 5});
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (uint32_t i = 0; i < 6; ++i) {
        const std::vector<uint32_t> prompt = PromptOf(20 + 5 * i, t, PromptOf(16, i % 2));
        auto sink = std::make_shared<CollectingSink>();
        Submit(RequestOf(prompt, 6), sink);
        ASSERT_TRUE(sink->Wait());
        EXPECT_EQ(sink->tokens(), ReferenceAnswer(prompt, 6, kBlockTokens));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(model_.wrong_positions(), 0);
  EXPECT_GT(loop_->stats().cached_tokens, 0);
  ExpectStoreAtRest(*store_);
}

TEST_F(EngineLoopTest, SampledTokensDoNotDependOnTheBatchOrTheCache) {
  Start({.step_tokens = 16, .max_running = 8});
  GenerateRequest request = RequestOf(PromptOf(30, 3), 12);
  request.sampling = {.temperature = 1,
                      .top_k = 40,
                      .top_p = 0.95f,
                      .repetition_penalty = 1.3f,
                      .frequency_penalty = 0.5f,
                      .top_logprobs = 4,
                      .seed = 77};
  request.cache = CacheMode::kOff;
  auto alone = std::make_shared<CollectingSink>();
  Submit(request, alone);
  ASSERT_TRUE(alone->Wait());

  request.cache = CacheMode::kUse;
  std::vector<std::shared_ptr<CollectingSink>> same, others;
  for (uint32_t i = 0; i < 4; ++i) {
    same.push_back(std::make_shared<CollectingSink>());
    others.push_back(std::make_shared<CollectingSink>());
    Submit(RequestOf(PromptOf(50, i + 10), 12), others.back());
    Submit(request, same.back());
  }
  GenerateRequest other_seed = request;
  other_seed.sampling.seed = 78;
  auto different = std::make_shared<CollectingSink>();
  Submit(other_seed, different);
  for (const auto& sink : same) {
    ASSERT_TRUE(sink->Wait());
    EXPECT_EQ(sink->tokens(), alone->tokens());
    ASSERT_EQ(sink->logprobs().size(), alone->logprobs().size());
    for (size_t i = 0; i < alone->logprobs().size(); ++i) {
      EXPECT_EQ(sink->logprobs()[i].chosen, alone->logprobs()[i].chosen) << i;
    }
  }
  EXPECT_EQ(alone->logprobs().size(), alone->tokens().size());
  for (const auto& sink : others) ASSERT_TRUE(sink->Wait());
  ASSERT_TRUE(different->Wait());
  EXPECT_NE(different->tokens(), alone->tokens());
}

TEST_F(EngineLoopTest, SamplesAreTheAnswersOfTheirSeedsAndEndTogether) {
  Start({.step_tokens = 16, .max_running = 8});
  GenerateRequest request = RequestOf(PromptOf(30, 3), 12);
  request.sampling = {.temperature = 1, .seed = 77};
  std::vector<std::vector<uint32_t>> alone;
  for (int32_t i = 0; i < 3; ++i) {
    GenerateRequest one = request;
    one.sampling.seed = SeedOfSample(77, i);
    one.cache = CacheMode::kOff;
    auto sink = std::make_shared<CollectingSink>();
    Submit(one, sink);
    ASSERT_TRUE(sink->Wait());
    alone.push_back(sink->tokens());
  }
  EXPECT_NE(alone[0], alone[1]);
  const int64_t prefilled = loop_->stats().prefilled_tokens;
  request.num_samples = 3;
  auto together = std::make_shared<CollectingSink>();
  Submit(request, together);
  ASSERT_TRUE(together->Wait());
  for (int32_t i = 0; i < 3; ++i) EXPECT_EQ(together->tokens(i), alone[i]) << i;
  ASSERT_TRUE(together->result().has_value());
  const GenerateResult result = *together->result();
  EXPECT_EQ(result.new_tokens, 36);
  EXPECT_EQ(result.prompt_tokens, 30);
  ASSERT_EQ(result.samples.size(), 3u);
  for (const SampleResult& sample : result.samples) {
    EXPECT_EQ(sample.new_tokens, 12);
    EXPECT_EQ(sample.finish_reason, FinishReason::kMaxTokens);
  }
  // The prompt once, and its last token for each of the other samples.
  EXPECT_EQ(loop_->stats().prefilled_tokens - prefilled, 32);
  EXPECT_EQ(loop_->stats().finished_requests, 4);
  ExpectStoreAtRest(*store_);
}

TEST_F(EngineLoopTest, ARequestIsCancelledWithAllOfItsSamples) {
  Start({.step_tokens = 16, .max_running = 8});
  GenerateRequest request = RequestOf(PromptOf(8, 1), 400);
  request.num_samples = 4;
  auto sink = SlowSink();
  const RequestId id = Submit(request, sink);
  ASSERT_TRUE(sink->WaitForTokens(9));
  loop_->Cancel(id);
  ASSERT_TRUE(sink->Wait());
  ASSERT_TRUE(sink->result().has_value());
  const GenerateResult result = *sink->result();
  ASSERT_EQ(result.samples.size(), 4u);
  for (const SampleResult& sample : result.samples) {
    EXPECT_EQ(sample.finish_reason, FinishReason::kCancelled);
    EXPECT_GT(sample.new_tokens, 0);
  }
  ExpectStoreAtRest(*store_);
}

TEST_F(EngineLoopTest, ASampleThatFailsFailsItsRequestOnce) {
  Start();
  GenerateRequest request = RequestOf({1, CheckingModel::kNanToken}, 50);
  request.num_samples = 3;
  auto sink = std::make_shared<CollectingSink>();
  Submit(request, sink);
  ASSERT_TRUE(sink->Wait());
  EXPECT_EQ(sink->status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(loop_->stats().failed_requests, 1);
  EXPECT_EQ(loop_->stats().finished_requests, 0);
  EXPECT_EQ(loop_->stats().running_requests, 0);
  ExpectStoreAtRest(*store_);
}

TEST_F(EngineLoopTest, StopConditionsEndARequestWhereTheyApply) {
  Start();
  const std::vector<uint32_t> prompt = PromptOf(20, 4);
  const std::vector<uint32_t> answer = ReferenceAnswer(prompt, 12, kBlockTokens);
  ASSERT_EQ(std::set<uint32_t>(answer.begin(), answer.begin() + 5).size(), 5u);

  GenerateRequest by_token = RequestOf(prompt, 12);
  by_token.stop.stop_token_ids = {answer[4]};
  auto token_sink = std::make_shared<CollectingSink>();
  Submit(by_token, token_sink);
  ASSERT_TRUE(token_sink->Wait());
  EXPECT_EQ(token_sink->result()->finish_reason, FinishReason::kStopToken);
  EXPECT_EQ(token_sink->result()->new_tokens, 5);
  EXPECT_EQ(token_sink->text(), tokenizer_.Decode({answer.data(), 4}));

  GenerateRequest by_text = RequestOf(prompt, 12);
  by_text.stop.stop_strings = {tokenizer_.Decode({answer.data() + 5, 3})};
  auto text_sink = std::make_shared<CollectingSink>();
  Submit(by_text, text_sink);
  ASSERT_TRUE(text_sink->Wait());
  EXPECT_EQ(text_sink->result()->finish_reason, FinishReason::kStopString);
  EXPECT_EQ(text_sink->result()->new_tokens, 8);
  EXPECT_EQ(text_sink->text(), tokenizer_.Decode({answer.data(), 5}));
}

TEST_F(EngineLoopTest, TheContextEndsALongAnswer) {
  Start();
  auto sink = std::make_shared<CollectingSink>();
  Submit(RequestOf(PromptOf(kMaxPositions - 5, 5), 100), sink);
  ASSERT_TRUE(sink->Wait());
  ASSERT_TRUE(sink->result().has_value());
  EXPECT_EQ(sink->result()->finish_reason, FinishReason::kContextFull);
  EXPECT_EQ(sink->result()->new_tokens, 5);
}

TEST_F(EngineLoopTest, ARequestThatCanNeverFitIsRefusedAtOnce) {
  store_ = nullptr;
  store_ = OpenStore(8, kBlockTokens);
  ns_ = OpenNamespace(store_.get(), kBlockTokens);
  Start();
  const absl::Status status =
      loop_->Submit(ns_, RequestOf(PromptOf(60, 1), 6), std::make_shared<CollectingSink>())
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("needs 9 KV blocks"));
}

TEST_F(EngineLoopTest, CancelEndsARunningRequestAndAWaitingOne) {
  Start({.step_tokens = 8, .max_running = 1});
  auto running = SlowSink();
  auto waiting = std::make_shared<CollectingSink>();
  const RequestId running_id = Submit(RequestOf(PromptOf(8, 1), 500), running);
  ASSERT_TRUE(running->WaitForTokens(3));
  const RequestId waiting_id = Submit(RequestOf(PromptOf(8, 2), 400), waiting);
  loop_->Cancel(waiting_id);
  ASSERT_TRUE(waiting->Wait());
  loop_->Cancel(running_id);
  ASSERT_TRUE(running->Wait());
  loop_->Cancel(running_id);
  EXPECT_EQ(waiting->result()->finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(waiting->result()->new_tokens, 0);
  EXPECT_EQ(running->result()->finish_reason, FinishReason::kCancelled);
  EXPECT_GE(running->result()->new_tokens, 3);
  ExpectStoreAtRest(*store_);
}

TEST_F(EngineLoopTest, ASinkMayCancelItsOwnRequestAndQueueAnother) {
  Start();
  RequestId id = 0;
  absl::Notification id_known;
  auto second = std::make_shared<CollectingSink>();
  bool queued = false;  // engine thread only
  auto first = std::make_shared<CollectingSink>([&] {
    id_known.WaitForNotification();
    loop_->Cancel(id);
    if (!std::exchange(queued, true)) Submit(RequestOf({1, 2, 3}, 2), second);
  });
  id = Submit(RequestOf({4, 5, 6}, 400), first);
  id_known.Notify();
  ASSERT_TRUE(first->Wait());
  ASSERT_TRUE(second->Wait());
  EXPECT_EQ(first->result()->finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(second->result()->finish_reason, FinishReason::kMaxTokens);
}

TEST_F(EngineLoopTest, AFullQueueRefusesUntilARequestIsAdmitted) {
  Start({.step_tokens = 8, .max_running = 1}, /*max_waiting=*/2);
  auto running = SlowSink();
  const RequestId running_id = Submit(RequestOf(PromptOf(8, 1), 500), running);
  ASSERT_TRUE(running->WaitForTokens(1));
  auto second = std::make_shared<CollectingSink>();
  auto third = std::make_shared<CollectingSink>();
  Submit(RequestOf({1}, 2), second);
  Submit(RequestOf({2}, 2), third);
  EXPECT_EQ(loop_->Submit(ns_, RequestOf({3}, 2), nullptr).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(loop_->stats().waiting_requests, 2);
  loop_->Cancel(running_id);
  ASSERT_TRUE(second->Wait());
  ASSERT_TRUE(third->Wait());
  EXPECT_TRUE(third->status().ok());
}

TEST_F(EngineLoopTest, UnusableLogitsFailTheirRequestAlone) {
  Start();
  auto bad = std::make_shared<CollectingSink>();
  auto good = std::make_shared<CollectingSink>();
  Submit(RequestOf({1, CheckingModel::kNanToken}, 5), bad);
  Submit(RequestOf({1, 2}, 5), good);
  ASSERT_TRUE(bad->Wait());
  ASSERT_TRUE(good->Wait());
  EXPECT_EQ(bad->status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(bad->status().message(), HasSubstr("logit"));
  EXPECT_EQ(good->tokens(), ReferenceAnswer({1, 2}, 5, kBlockTokens));
  EXPECT_EQ(loop_->stats().failed_requests, 1);
  EXPECT_EQ(loop_->stats().finished_requests, 1);
}

TEST_F(EngineLoopTest, AFailedPassFailsItsRequestsAndTheLoopGoesOn) {
  Start();
  auto bad = std::make_shared<CollectingSink>();
  Submit(RequestOf({1, CheckingModel::kFailToken}, 5), bad);
  ASSERT_TRUE(bad->Wait());
  EXPECT_EQ(bad->status().code(), absl::StatusCode::kInternal);
  auto good = std::make_shared<CollectingSink>();
  Submit(RequestOf({1, 2}, 5), good);
  ASSERT_TRUE(good->Wait());
  EXPECT_TRUE(good->status().ok());
  ExpectStoreAtRest(*store_);
}

TEST_F(EngineLoopTest, DestructionEndsEveryRequestWithUnavailable) {
  Start({.step_tokens = 8, .max_running = 2});
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  for (uint32_t i = 0; i < 6; ++i) {
    sinks.push_back(SlowSink());
    Submit(RequestOf(PromptOf(8, i), 500), sinks.back());
  }
  ASSERT_TRUE(sinks[0]->WaitForTokens(1));
  loop_ = nullptr;
  for (const auto& sink : sinks) {
    EXPECT_EQ(sink->status().code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(sink.use_count(), 1);  // released after the last call
  }
  ExpectStoreAtRest(*store_);
}

}  // namespace
}  // namespace reprise::engine
