#include "engine/backend/cuda/kernels/sample.cuh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/backend/cpu_logits.h"
#include "engine/run/sampler.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using emulation::Launch;
using emulation::Schedule;
using testing::Each;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kPosition = 5;  // of the token that is drawn

struct Row {
  std::string name;
  std::vector<float> logits;
};

std::vector<float> Normal(int vocab, float deviation, int seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> logits(vocab);
  for (float& x : logits) x = normal(random);
  return logits;
}

// Flat, peaked, with ties, with tokens that cannot be, and with 0 and -0.
std::vector<Row> Distributions(int vocab) {
  std::vector<Row> rows = {{"flat", std::vector<float>(vocab, 1.5f)},
                           {"nearly flat", Normal(vocab, 0.01f)},
                           {"wide", Normal(vocab, 3)},
                           {"peaked", Normal(vocab, 1)},
                           {"rounded", Normal(vocab, 2)},
                           {"masked", Normal(vocab, 2)},
                           {"one is possible", std::vector<float>(vocab, -kInf)},
                           {"zeros", std::vector<float>(vocab, -1)}};
  rows[3].logits[vocab / 3] = 40;
  for (float& x : rows[4].logits) x = std::round(x);
  for (int i = 0; i < vocab; ++i) {
    if (i % 3 != 1) rows[5].logits[i] = -kInf;
    if (i % 5 == 2) rows[7].logits[i] = i % 2 == 0 ? 0.0f : -0.0f;
  }
  if (vocab == 1) rows[5].logits[0] = -2;
  rows[6].logits[vocab / 2] = -7;
  return rows;
}

std::vector<SamplingParams> AllParams() {
  std::vector<SamplingParams> all(1);
  const auto add = [&](float temperature, int32_t top_k, float top_p, float min_p) {
    SamplingParams params;
    params.temperature = temperature;
    params.top_k = top_k;
    params.top_p = top_p;
    params.min_p = min_p;
    params.seed = all.size();
    all.push_back(params);
  };
  all[0].temperature = 0;
  for (const float temperature : {1.0f, 0.6f, 20.0f, 1e-30f, 1e-45f}) {
    add(temperature, 0, 1, 0);
    add(temperature, 0, 0.9f, 0);
    add(temperature, 40, 1, 0);
  }
  for (const float top_p : {1e-6f, 0.1f, 0.5f, 0.999f}) add(1, 0, top_p, 0);
  for (const float min_p : {1e-4f, 0.05f, 1.0f}) add(0.8f, 0, 1, min_p);
  for (const int32_t top_k : {1, 3, 100'000}) add(0.8f, top_k, 1, 0);
  add(0.9f, 50, 0.8f, 0);
  add(0.9f, 50, 1, 0.1f);
  add(0.9f, 0, 0.8f, 0.1f);
  add(1.3f, 20, 0.95f, 0.02f);
  return all;
}

SampleRow RowOf(int32_t row, const SamplingParams& params) {
  return {row,          params.temperature, params.top_k,
          params.top_p, params.min_p,       DrawUniform(params.seed, kPosition)};
}

std::vector<int32_t> Sample(const std::vector<float>& logits, int vocab,
                            const std::vector<SampleRow>& rows, const Schedule& schedule = {},
                            int threads = kSampleBins) {
  std::vector<int32_t> tokens(rows.size(), -77);
  const SampleParams params = {logits.data(), rows.data(), tokens.data(), vocab};
  const LaunchShape shape = SampleShape(static_cast<int>(rows.size()), threads);
  const absl::Status status =
      Launch({shape.grid_x, shape.grid_y, shape.threads, shape.shared_bytes}, schedule,
             [&] { SampleBlock(params); });
  EXPECT_TRUE(status.ok()) << status;
  return tokens;
}

int32_t HostToken(const SamplingParams& params, std::vector<float> logits) {
  const std::vector<uint32_t> before(kPosition);
  const absl::StatusOr<SampledToken> sampled =
      Sampler().Sample(params, before, 1, absl::MakeSpan(logits));
  return sampled.ok() ? static_cast<int32_t>(sampled->token) : kNoToken;
}

void ExpectTheHostsTokens(int vocab, const std::vector<SamplingParams>& all_params) {
  std::vector<float> logits;
  std::vector<SampleRow> rows;
  std::vector<int32_t> expected;
  std::vector<std::string> names;
  for (const Row& row : Distributions(vocab)) {
    logits.insert(logits.end(), row.logits.begin(), row.logits.end());
    for (const SamplingParams& params : all_params) {
      const auto number = static_cast<int32_t>(logits.size() / vocab - 1);
      rows.push_back(RowOf(number, params));
      expected.push_back(HostToken(params, row.logits));
      names.push_back(absl::StrCat(row.name, " vocab ", vocab, " temperature ", params.temperature,
                                   " top_k ", params.top_k, " top_p ", params.top_p, " min_p ",
                                   params.min_p, " seed ", params.seed));
    }
  }
  const std::vector<int32_t> tokens = Sample(logits, vocab, rows);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(tokens[i], expected[i]) << names[i];
}

TEST(SampleTest, DrawsTheHostsTokens) { ExpectTheHostsTokens(733, AllParams()); }

TEST(SampleTest, DrawsTheHostsTokensFromAnyVocabulary) {
  std::vector<SamplingParams> few;
  for (const SamplingParams& params : AllParams()) {
    if (params.temperature == 0 || (params.temperature > 0.7f && params.temperature < 1)) {
      few.push_back(params);
    }
  }
  for (const int vocab : {1, 33, 3000}) ExpectTheHostsTokens(vocab, few);
}

// What the host refuses is left to it: it says why.
TEST(SampleTest, UnusableRowsGiveNoToken) {
  constexpr int kVocab = 100;
  for (const float wrong : {kNaN, kInf}) {
    std::vector<float> logits = Normal(kVocab, 1);
    logits[70] = wrong;
    for (SamplingParams params : AllParams()) {
      EXPECT_EQ(HostToken(params, logits), kNoToken);
      EXPECT_THAT(Sample(logits, kVocab, {RowOf(0, params)}), Each(kNoToken));
    }
  }
  const std::vector<float> none(kVocab, -kInf);
  EXPECT_THAT(Sample(none, kVocab, {RowOf(0, AllParams()[0]), RowOf(0, AllParams()[1])}),
              Each(kNoToken));
}

TEST(SampleTest, NeitherOrderNorNumberOfThreadsMatters) {
  constexpr int kVocab = 2600;
  const std::vector<float> logits = Normal(kVocab, 2);
  std::vector<SampleRow> rows;
  for (const SamplingParams& params : AllParams()) {
    if (params.temperature == 0 || params.temperature == 0.9f) rows.push_back(RowOf(0, params));
  }
  auto outputs = OnSchedules<int32_t>(FewSchedules(), [&](const Schedule& schedule) {
    return Sample(logits, kVocab, rows, schedule);
  });
  outputs.push_back(Sample(logits, kVocab, rows, {}, kSampleThreads));
  EXPECT_TRUE(AreSame(outputs));
}

// A token is drawn as often as it weighs: the share of a grid of random numbers that it gets.
TEST(SampleTest, SharesAreTheWeights) {
  const std::vector<float> logits = {0, std::log(2.0f), std::log(5.0f), -kInf};
  for (const int32_t top_k : {0, 3}) {
    std::vector<SampleRow> rows;
    for (int i = 0; i < 80; ++i) rows.push_back({0, 1, top_k, 1, 0, (i + 0.5) / 80});
    std::vector<int> counts(4);
    for (const int32_t token : Sample(logits, 4, rows)) ++counts[token];
    EXPECT_THAT(counts, testing::ElementsAre(10, 20, 50, 0)) << "top_k " << top_k;
  }
}

TEST(SampleTest, WeightsAreTheHosts) {
  std::vector<float> logits;
  for (float x = 0; x > -110; x -= 0.0371f) logits.push_back(x);
  std::vector<float> expected(logits.size());
  ExpWeights(logits, 0, 0.77f, absl::MakeSpan(expected));
  for (size_t i = 0; i < logits.size(); ++i) {
    // Less than normal numbers weigh nothing either way.
    EXPECT_NEAR(ExpOfNegative(MulRn(logits[i], 0.77f)), expected[i], 1.2e-7 * expected[i] + 1e-38)
        << logits[i];
  }
}

}  // namespace
}  // namespace reprise::engine::cuda
