#include "engine/run/logit_adjuster.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// `logits` after `params` for what follows `prompt` and `answer`.
std::vector<float> Adjusted(const SamplingParams& params, std::vector<float> logits,
                            const std::vector<uint32_t>& prompt,
                            const std::vector<uint32_t>& answer) {
  std::vector<uint32_t> tokens = prompt;
  tokens.insert(tokens.end(), answer.begin(), answer.end());
  LogitAdjuster().Apply(params, tokens, static_cast<int64_t>(prompt.size()),
                        absl::MakeSpan(logits));
  return logits;
}

TEST(LogitAdjusterTest, NothingIsChangedWithoutABiasOrPenalty) {
  const std::vector<float> logits = {1, 2, 3};
  EXPECT_EQ(Adjusted({.temperature = 1, .top_k = 2}, logits, {0, 1}, {2, 2}), logits);
}

TEST(LogitAdjusterTest, BiasIsAddedToItsTokens) {
  EXPECT_EQ(Adjusted({.logit_bias = {{0, 5}, {2, -100}}}, {1, 2, 3}, {0}, {}),
            (std::vector<float>{6, 2, -97}));
}

TEST(LogitAdjusterTest, RepetitionMakesTokensOfPromptAndAnswerLessLikelyOnBothSidesOfZero) {
  EXPECT_EQ(Adjusted({.repetition_penalty = 2}, {4, -4, 4, -4, 0}, {0, 0, 1}, {4, 1}),
            (std::vector<float>{2, -8, 4, -4, 0}));
  EXPECT_EQ(Adjusted({.repetition_penalty = 0.5f}, {4, -4, 4}, {0}, {1}),
            (std::vector<float>{8, -2, 4}));
}

TEST(LogitAdjusterTest, FrequencyCountsUsesInTheAnswerAlone) {
  EXPECT_EQ(Adjusted({.frequency_penalty = 0.5f}, {1, 1, 1}, {0, 0, 1}, {1, 2, 1, 1}),
            (std::vector<float>{1, -0.5f, 0.5f}));
}

TEST(LogitAdjusterTest, PresenceCountsATokenOfTheAnswerOnce) {
  EXPECT_EQ(Adjusted({.presence_penalty = 0.5f}, {1, 1, 1}, {0, 0, 1}, {1, 2, 1, 1}),
            (std::vector<float>{1, 0.5f, 0.5f}));
  EXPECT_EQ(Adjusted({.presence_penalty = -2}, {1, 1}, {0}, {1}), (std::vector<float>{1, 3}));
}

TEST(LogitAdjusterTest, BiasComesBeforeRepetitionAndRepetitionBeforeTheOthers) {
  // The other way round: -1 x 4 + 3 = -1.
  EXPECT_EQ(Adjusted({.repetition_penalty = 4, .logit_bias = {{0, 3}}}, {-1}, {0}, {}),
            (std::vector<float>{0.5f}));
  // The other way round: (1 - 0.5) / 2.
  EXPECT_EQ(Adjusted({.repetition_penalty = 2, .presence_penalty = 0.5f}, {1}, {}, {0}),
            (std::vector<float>{0}));
  EXPECT_EQ(Adjusted({.repetition_penalty = 2, .frequency_penalty = 0.25f}, {1}, {}, {0, 0}),
            (std::vector<float>{0}));
}

TEST(LogitAdjusterTest, WhatIsNoNumberOrInfiniteStaysSo) {
  const std::vector<float> adjusted = Adjusted({.repetition_penalty = 2,
                                                .presence_penalty = 1,
                                                .logit_bias = {{0, 100}, {1, 100}, {2, 100}}},
                                               {NAN, -kInfinity, kInfinity}, {0, 1, 2}, {0, 1, 2});
  EXPECT_TRUE(std::isnan(adjusted[0]));
  EXPECT_EQ(adjusted[1], -kInfinity);
  EXPECT_EQ(adjusted[2], kInfinity);
}

// Bias and penalties in the plainest way: each as a pass over the whole vocabulary.
std::vector<float> PlainlyAdjusted(const SamplingParams& params, std::vector<float> logits,
                                   const std::vector<uint32_t>& tokens, int64_t prompt_tokens) {
  for (uint32_t token = 0; token < logits.size(); ++token) {
    float& logit = logits[token];
    const auto bias = params.logit_bias.find(token);
    if (bias != params.logit_bias.end()) logit += bias->second;
    if (std::count(tokens.begin(), tokens.end(), token) > 0) {
      logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    }
    const int64_t uses = std::count(tokens.begin() + prompt_tokens, tokens.end(), token);
    logit -= params.frequency_penalty * static_cast<float>(uses);
    if (uses > 0) logit -= params.presence_penalty;
  }
  return logits;
}

TEST(LogitAdjusterTest, OneAdjusterServesManySequencesAndTakesItsChangesBack) {
  constexpr uint32_t kVocabSize = 50;
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(-1, 1);
  LogitAdjuster adjuster;
  for (int round = 0; round < 500; ++round) {
    std::vector<float> logits(kVocabSize);
    for (float& logit : logits) logit = 5 * uniform(random);
    std::vector<uint32_t> tokens(random() % 80);
    for (uint32_t& token : tokens) token = random() % kVocabSize;
    const int64_t prompt_tokens = static_cast<int64_t>(random() % (tokens.size() + 1));
    SamplingParams params;
    if (round % 2 == 0) params.repetition_penalty = 1 + 0.5f * uniform(random);
    if (round % 3 == 0) params.presence_penalty = 2 * uniform(random);
    if (round % 5 == 0) params.frequency_penalty = 2 * uniform(random);
    for (uint32_t i = 0; i < random() % 6; ++i) {
      params.logit_bias[random() % kVocabSize] = 100 * uniform(random);
    }
    const std::vector<float> before = logits;
    adjuster.Apply(params, tokens, prompt_tokens, absl::MakeSpan(logits));
    EXPECT_EQ(logits, PlainlyAdjusted(params, before, tokens, prompt_tokens)) << round;
    adjuster.Undo(absl::MakeSpan(logits));
    EXPECT_EQ(std::memcmp(logits.data(), before.data(), kVocabSize * sizeof(float)), 0) << round;
  }
}

}  // namespace
}  // namespace reprise::engine
