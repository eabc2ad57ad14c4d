#include "engine/run/validate_sampling.h"

#include <cmath>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using testing::HasSubstr;

constexpr int64_t kVocabSize = 100;

// The message of the kInvalidArgument error, or what came instead.
std::string Error(const SamplingParams& params) {
  const absl::Status status = ValidateSampling(params, kVocabSize);
  if (status.code() == absl::StatusCode::kInvalidArgument) return std::string(status.message());
  return "not invalid: " + status.ToString();
}

TEST(ValidateSamplingTest, TheEndsOfTheRangesAreAllowed) {
  EXPECT_TRUE(ValidateSampling({}, kVocabSize).ok());
  EXPECT_TRUE(ValidateSampling({.temperature = 2,
                                .top_k = 50,
                                .top_p = 1,
                                .min_p = 1,
                                .repetition_penalty = 100,
                                .presence_penalty = 2,
                                .frequency_penalty = -2,
                                .logit_bias = {{0, -100}, {99, 100}},
                                .top_logprobs = 20},
                               kVocabSize)
                  .ok());
  EXPECT_TRUE(ValidateSampling({.repetition_penalty = 0.01f, .top_logprobs = 0}, kVocabSize).ok());
}

TEST(ValidateSamplingTest, AParameterOutOfRangeIsNamedWithItsValue) {
  EXPECT_THAT(Error({.temperature = -1}), HasSubstr("temperature is -1"));
  EXPECT_THAT(Error({.temperature = NAN}), HasSubstr("temperature is nan"));
  EXPECT_THAT(Error({.temperature = INFINITY}), HasSubstr("temperature is inf"));
  EXPECT_THAT(Error({.top_k = -1}), HasSubstr("top_k is -1"));
  EXPECT_THAT(Error({.top_p = 0}), HasSubstr("top_p is 0"));
  EXPECT_THAT(Error({.top_p = 1.5f}), HasSubstr("top_p is 1.5"));
  EXPECT_THAT(Error({.top_p = NAN}), HasSubstr("top_p is nan"));
  EXPECT_THAT(Error({.min_p = -0.5f}), HasSubstr("min_p is -0.5"));
  EXPECT_THAT(Error({.min_p = 1.5f}), HasSubstr("min_p is 1.5"));
  EXPECT_THAT(Error({.min_p = NAN}), HasSubstr("min_p is nan"));
  EXPECT_THAT(Error({.repetition_penalty = 0}), HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(Error({.repetition_penalty = -2}), HasSubstr("repetition_penalty is -2"));
  EXPECT_THAT(Error({.repetition_penalty = INFINITY}), HasSubstr("repetition_penalty is inf"));
  EXPECT_THAT(Error({.repetition_penalty = NAN}), HasSubstr("repetition_penalty is nan"));
  EXPECT_THAT(Error({.presence_penalty = 2.5f}), HasSubstr("presence_penalty is 2.5"));
  EXPECT_THAT(Error({.presence_penalty = NAN}), HasSubstr("presence_penalty is nan"));
  EXPECT_THAT(Error({.frequency_penalty = -2.5f}), HasSubstr("frequency_penalty is -2.5"));
  EXPECT_THAT(Error({.frequency_penalty = NAN}), HasSubstr("frequency_penalty is nan"));
  EXPECT_THAT(Error({.top_logprobs = -1}), HasSubstr("top_logprobs is -1"));
  EXPECT_THAT(Error({.top_logprobs = 21}), HasSubstr("top_logprobs is 21"));
}

TEST(ValidateSamplingTest, ALogitBiasIsBoundedInNumberTokensAndValues) {
  EXPECT_THAT(Error({.logit_bias = {{5, 100.5f}}}), HasSubstr("logit_bias of token 5 is 100.5"));
  EXPECT_THAT(Error({.logit_bias = {{5, -101}}}), HasSubstr("logit_bias of token 5 is -101"));
  EXPECT_THAT(Error({.logit_bias = {{5, NAN}}}), HasSubstr("logit_bias of token 5 is nan"));
  EXPECT_THAT(Error({.logit_bias = {{5, -INFINITY}}}), HasSubstr("logit_bias of token 5 is -inf"));
  EXPECT_THAT(Error({.logit_bias = {{100, 1}}}), HasSubstr("logit_bias has token 100"));
  EXPECT_THAT(Error({.logit_bias = {{100, 1}}}), HasSubstr("vocabulary has 100"));
  SamplingParams many;
  for (uint32_t token = 0; token < kMaxLogitBiases; ++token) many.logit_bias[token] = 1;
  EXPECT_TRUE(ValidateSampling(many, 1 << 20).ok());
  many.logit_bias[kMaxLogitBiases] = 1;
  EXPECT_THAT(std::string(ValidateSampling(many, 1 << 20).message()),
              HasSubstr("logit_bias has 1025 tokens; at most 1024"));
}

}  // namespace
}  // namespace reprise::engine
