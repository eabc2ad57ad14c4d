// Several answers to one prompt: it is prefilled once, and its blocks are shared.
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 8;
constexpr int32_t kSamples = 4;

GenerateRequest RequestOf(int64_t prompt_tokens, CacheMode cache, int32_t num_samples) {
  GenerateRequest request;
  request.prompt = PromptOf(prompt_tokens, 7);
  request.stop.max_new_tokens = 12;
  request.cache = cache;
  request.num_samples = num_samples;
  return request;
}

// What a sample answers that has all to itself.
std::vector<uint32_t> AnswerAlone(int64_t prompt_tokens, uint64_t seed) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  GenerateRequest request = RequestOf(prompt_tokens, CacheMode::kOff, 1);
  request.sampling.seed = seed;
  const SequenceId id = driver.Submit(request);
  driver.RunUntilEnded(1);
  return driver.answer(id);
}

struct Case {
  int64_t prompt_tokens;
  CacheMode cache;
};

class SchedulerSamplesTest : public testing::TestWithParam<Case> {};

TEST_P(SchedulerSamplesTest, ThePromptIsPrefilledOnceAndEverySampleIsItsOwn) {
  const auto [prompt_tokens, cache] = GetParam();
  auto store = OpenStore(128, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 16, .max_running = 8});
  const SequenceId first = driver.Submit(RequestOf(prompt_tokens, cache, kSamples));
  driver.RunUntilEnded(kSamples);
  for (uint32_t i = 0; i < kSamples; ++i) {
    EXPECT_EQ(driver.answer(first + i), AnswerAlone(prompt_tokens, i)) << i;
    EXPECT_EQ(driver.result(first + i).cached_ram_tokens, i == 0 ? 0 : prompt_tokens - 1);
  }
  EXPECT_NE(driver.answer(first), driver.answer(first + 1));
  // The prompt once, its last token once more for each other sample, and 11 tokens of each answer.
  EXPECT_EQ(driver.model().computed_tokens(), prompt_tokens + (kSamples - 1) + kSamples * 11);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

INSTANTIATE_TEST_SUITE_P(PromptLengths, SchedulerSamplesTest,
                         testing::Values(Case{1, CacheMode::kUse}, Case{5, CacheMode::kUse},
                                         Case{31, CacheMode::kUse}, Case{32, CacheMode::kUse},
                                         Case{33, CacheMode::kUse}, Case{37, CacheMode::kOff}));

TEST(SchedulerSamplesTest, SamplesShareTheFullBlocksOfTheirPrompt) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  driver.Submit(RequestOf(100, CacheMode::kUse, kSamples));
  driver.Step(absl::Now());
  driver.Step(absl::Now());
  // 12 full blocks together, and the partial one of each.
  EXPECT_EQ(store->stats().pinned_blocks, 12);
  EXPECT_EQ(store->stats().writing_blocks, kSamples);
  driver.RunUntilEnded(kSamples);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerSamplesTest, TheOthersGetThePromptOfAFirstOneThatEndsAtOnce) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  GenerateRequest request = RequestOf(37, CacheMode::kUse, 3);
  request.stop.max_new_tokens = 1;
  const SequenceId first = driver.Submit(request);
  driver.RunUntilEnded(3);
  for (uint64_t i : {1, 2}) EXPECT_EQ(driver.result(first + i).cached_ram_tokens, 36);
  EXPECT_EQ(driver.model().computed_tokens(), 37 + 2);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerSamplesTest, ASampleWhoseFirstOneIsGoneComputesTheTailItself) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.max_running = 1});  // one after the other
  const SequenceId first = driver.Submit(RequestOf(37, CacheMode::kUse, 2));
  driver.RunUntilEnded(2);
  EXPECT_EQ(driver.result(first + 1).cached_ram_tokens, 32);
  EXPECT_EQ(driver.answer(first + 1), AnswerAlone(37, 1));
  ExpectStoreAtRest(*store);
}

TEST(SchedulerSamplesTest, WhatTheFirstOneComputesDoesNotCountAsPrefillOfTheOthers) {
  auto store = OpenStore(64, kBlockTokens);
  // Two of these prompts are more than the two steps' tokens that may wait to be prefilled.
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 11, .max_running = 8});
  driver.Submit(RequestOf(15, CacheMode::kOff, kSamples));
  driver.Step(absl::Now());
  EXPECT_EQ(driver.scheduler().num_admitted(), kSamples);
  driver.RunUntilEnded(kSamples);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerSamplesTest, WhenTheFirstIsCancelledWhileItPrefillsAnotherGoesOn) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 16, .max_running = 4});
  const SequenceId first = driver.Submit(RequestOf(100, CacheMode::kUse, 3));
  driver.Step(absl::Now());
  driver.Step(absl::Now());
  driver.scheduler().Cancel(first, absl::Now());
  driver.RunUntilEnded(3);
  for (uint64_t i : {1, 2}) EXPECT_EQ(driver.answer(first + i), AnswerAlone(100, i));
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

}  // namespace
}  // namespace reprise::engine
