#include "engine/run/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace reprise::engine {
namespace {

using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The token after `tokens`, all of them prompt but the last `answer_tokens`.
SampledToken Next(const SamplingParams& params, std::vector<float> logits,
                  const std::vector<uint32_t>& tokens, int64_t answer_tokens = 0) {
  const absl::StatusOr<SampledToken> sampled = Sampler().Sample(
      params, tokens, static_cast<int64_t>(tokens.size()) - answer_tokens, absl::MakeSpan(logits));
  EXPECT_TRUE(sampled.ok()) << sampled.status();
  return sampled.value_or(SampledToken{});
}

// One case of tests/parity/sampling.json.
struct ParityCase {
  explicit ParityCase(const nlohmann::json& json)
      : logits(json.at("logits").get<std::vector<float>>()),
        tokens(json.at("prompt").get<std::vector<uint32_t>>()),
        prompt_tokens(static_cast<int64_t>(tokens.size())),
        adjusted(json.at("adjusted").get<std::vector<float>>()),
        probabilities(json.at("probabilities").get<std::vector<double>>()) {
    for (const uint32_t token : json.at("answer")) tokens.push_back(token);
    const nlohmann::json& given = json.at("parameters");
    params.temperature = given.at("temperature");
    params.top_k = given.value("top_k", 0);
    params.top_p = given.value("top_p", 1.0f);
    params.min_p = given.value("min_p", 0.0f);
    params.repetition_penalty = given.value("repetition_penalty", 1.0f);
    if (!given.contains("logit_bias")) return;
    for (const auto& [token, bias] : given.at("logit_bias").items()) {
      params.logit_bias[static_cast<uint32_t>(std::stoul(token))] = bias;
    }
  }

  std::vector<float> logits;
  std::vector<uint32_t> tokens;
  int64_t prompt_tokens;
  std::vector<float> adjusted;
  std::vector<double> probabilities;
  SamplingParams params;
};

std::vector<ParityCase> ParityCases() {
  std::ifstream file(std::string(REPRISE_SOURCE_DIR) + "/tests/parity/sampling.json");
  std::vector<ParityCase> cases;
  for (const nlohmann::json& json : nlohmann::json::parse(file)) cases.emplace_back(json);
  return cases;
}

TEST(SamplerTest, BiasAndRepetitionPenaltyAreThoseOfTransformers) {
  int acted = 0;
  LogitAdjuster adjuster;
  for (const ParityCase& one : ParityCases()) {
    std::vector<float> logits = one.logits;
    adjuster.Apply(one.params, one.tokens, one.prompt_tokens, absl::MakeSpan(logits));
    for (size_t i = 0; i < logits.size(); ++i) EXPECT_FLOAT_EQ(logits[i], one.adjusted[i]) << i;
    acted += logits != one.logits;
  }
  EXPECT_GT(acted, 15);
}

struct Fit {
  double chi_square = 0;
  int degrees = -1;  // of freedom
};

// Pearson's statistic of `draws` tokens against transformers' probabilities, over the tokens that 5
// draws or more are expected of. Fails on a token that transformers never draws.
Fit FitOf(const ParityCase& one, int draws) {
  Sampler sampler;
  std::vector<float> logits = one.logits;
  std::vector<int64_t> counts(logits.size());
  SamplingParams params = one.params;
  for (int i = 0; i < draws; ++i) {
    params.seed = static_cast<uint64_t>(i);
    const absl::StatusOr<SampledToken> sampled =
        sampler.Sample(params, one.tokens, one.prompt_tokens, absl::MakeSpan(logits));
    EXPECT_TRUE(sampled.ok()) << sampled.status();
    ++counts[sampled->token];
  }
  Fit fit;
  for (size_t token = 0; token < counts.size(); ++token) {
    const double expected = one.probabilities[token] * draws;
    if (expected == 0) {
      EXPECT_EQ(counts[token], 0) << "token " << token;
    }
    if (expected < 5) continue;
    const double difference = static_cast<double>(counts[token]) - expected;
    fit.chi_square += difference * difference / expected;
    ++fit.degrees;
  }
  return fit;
}

TEST(SamplerTest, DrawsAreThoseOfTransformers) {
  int choices = 0;
  int index = 0;
  for (const ParityCase& one : ParityCases()) {
    const Fit fit = FitOf(one, 10'000);
    // Four standard deviations above the mean, and some for few degrees of freedom.
    const double degrees = std::max(fit.degrees, 1);
    EXPECT_LT(fit.chi_square, degrees + 4 * std::sqrt(2 * degrees) + 4) << "case " << index;
    choices += fit.degrees > 0;
    ++index;
  }
  EXPECT_GE(choices, 20);  // else most cases leave nothing to draw
}

TEST(SamplerTest, ABiasForcesOrBansATokenAtAnyTemperature) {
  const std::vector<float> logits = {3, 1, -5, 2};
  for (const float temperature : {0.0f, 1.0f}) {
    for (uint64_t seed = 0; seed < 50; ++seed) {
      SamplingParams params = {.temperature = temperature, .logit_bias = {{2, 100}}, .seed = seed};
      EXPECT_EQ(Next(params, logits, {0}).token, 2u);
      params.logit_bias = {{0, -100}, {3, -100}};
      EXPECT_THAT(Next(params, logits, {0}).token, testing::AnyOf(1u, 2u));
    }
  }
}

TEST(SamplerTest, PenaltiesTurnAGreedyAnswer) {
  const std::vector<float> logits = {2.0f, 1.9f, 1.0f};
  EXPECT_EQ(Next({}, logits, {0, 0}, 1).token, 0u);
  EXPECT_EQ(Next({.repetition_penalty = 1.1f}, logits, {0}).token, 1u);
  EXPECT_EQ(Next({.presence_penalty = 0.2f}, logits, {0}).token, 0u);  // in the prompt alone
  EXPECT_EQ(Next({.presence_penalty = 0.2f}, logits, {0, 0}, 1).token, 1u);
  EXPECT_EQ(Next({.frequency_penalty = 0.06f}, logits, {0, 0}, 1).token, 0u);
  EXPECT_EQ(Next({.frequency_penalty = 0.06f}, logits, {0, 0, 0}, 2).token, 1u);
}

TEST(SamplerTest, LogprobsAreOfTheLogitsAsTheyCame) {
  std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  const std::vector<float> before = logits;
  const SamplingParams params = {.temperature = 3,
                                 .top_k = 1,
                                 .repetition_penalty = 2,
                                 .presence_penalty = 1,
                                 .logit_bias = {{2, 50}},
                                 .top_logprobs = 2};
  const absl::StatusOr<SampledToken> sampled =
      Sampler().Sample(params, {2, 1, 2}, 2, absl::MakeSpan(logits));
  ASSERT_TRUE(sampled.ok()) << sampled.status();
  EXPECT_EQ(sampled->token, 2u);
  ASSERT_TRUE(sampled->logprobs.has_value());
  EXPECT_NEAR(sampled->logprobs->chosen, std::log(0.2), 1e-6);
  ASSERT_EQ(sampled->logprobs->top.size(), 2u);
  EXPECT_EQ(sampled->logprobs->top[0].token, 0u);
  EXPECT_NEAR(sampled->logprobs->top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(sampled->logprobs->top[1].token, 1u);
  EXPECT_EQ(std::memcmp(logits.data(), before.data(), 3 * sizeof(float)), 0);
  EXPECT_FALSE(Next({}, logits, {0}).logprobs.has_value());
}

TEST(SamplerTest, ATokenIsTheSameWhateverTheSamplerDidBefore) {
  Sampler used;
  for (const ParityCase& one : ParityCases()) {
    std::vector<float> logits = one.logits;
    SamplingParams params = one.params;
    params.frequency_penalty = 0.3f;
    params.seed = 5;
    const absl::StatusOr<SampledToken> sampled =
        used.Sample(params, one.tokens, one.prompt_tokens, absl::MakeSpan(logits));
    ASSERT_TRUE(sampled.ok());
    const int64_t answer_tokens = static_cast<int64_t>(one.tokens.size()) - one.prompt_tokens;
    EXPECT_EQ(sampled->token, Next(params, one.logits, one.tokens, answer_tokens).token);
  }
}

TEST(SamplerTest, ADrawDependsOnTheNumberOfTokensBefore) {
  const std::vector<float> logits(1000, 0.0f);
  std::set<uint32_t> tokens;
  for (size_t length = 1; length <= 30; ++length) {
    tokens.insert(Next({.temperature = 1, .seed = 9}, logits, std::vector<uint32_t>(length)).token);
  }
  EXPECT_GT(tokens.size(), 25u);
}

TEST(SamplerTest, LogitsThatAreNotNumbersAreAnErrorAndComeBackAsTheyWere) {
  const SamplingParams all = {.temperature = 1,
                              .repetition_penalty = 2,
                              .presence_penalty = 1,
                              .logit_bias = {{1, -100}},
                              .top_logprobs = 3};
  for (const float bad : {NAN, kInfinity}) {
    std::vector<float> logits = {1, bad, 2};
    const absl::Status status =
        Sampler().Sample(all, {1, 1, 0}, 1, absl::MakeSpan(logits)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("token 1"));
    EXPECT_EQ(logits[0], 1);
    EXPECT_EQ(std::memcmp(&logits[1], &bad, sizeof(bad)), 0);
  }
  std::vector<float> none(3, -kInfinity);
  EXPECT_FALSE(Sampler().Sample(all, {1}, 1, absl::MakeSpan(none)).ok());
}

}  // namespace
}  // namespace reprise::engine
