// Tokens drawn on the device against the host's sampler: fresh random rows, tokens poisoned. As
// op_parity_attention_test.cc: Small tests run on the emulation too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/run/sampler.h"
#include "tests/fakes/test_seed.h"
#include "tests/gpu/kernel_bed.h"

namespace reprise::engine::cuda {
namespace {

constexpr int64_t kPosition = 3;
constexpr double kRounding = 1e-6;  // of a random number, by sample.cuh

class OpParitySamplingTest : public KernelTest {
 protected:
  // Rows with many possible tokens, with few, and with equal ones.
  std::vector<float> RandomRow(int vocab, int kind) {
    std::normal_distribution<float> normal(0, kind == 1 ? 6.0f : 1.5f);
    std::vector<float> row(vocab);
    for (float& x : row) x = kind == 2 ? std::round(normal(random_)) : normal(random_);
    return row;
  }

  SamplingParams RandomParams(int kind) {
    std::uniform_real_distribution<float> uniform(0.05f, 1);
    SamplingParams params;
    params.temperature = kind == 0 ? 0 : 1.5f * uniform(random_);
    if (kind == 2 || kind == 4) params.top_p = uniform(random_);
    if (kind == 3 || kind == 4) params.top_k = 1 + static_cast<int32_t>(random_() % 100);
    if (kind == 5) params.min_p = 0.2f * uniform(random_);
    params.seed = random_();
    return params;
  }

  static int32_t HostToken(const SamplingParams& params, std::vector<float> row) {
    const std::vector<uint32_t> before(kPosition);
    const absl::StatusOr<SampledToken> sampled =
        Sampler().Sample(params, before, 1, absl::MakeSpan(row));
    return sampled.ok() ? static_cast<int32_t>(sampled->token) : kNoToken;
  }

  // How many of `rows` rows have another token than the host's, with `shift` added to their random
  // numbers. The host's sums are rounded: tokens that follow within kRounding of it will do.
  int CountOthers(int rows, int vocab, double shift = 0);

  std::mt19937 random_{TestSeed()};
};

int OpParitySamplingTest::CountOthers(int rows, int vocab, double shift) {
  std::vector<float> logits;
  std::vector<SampleRow> asked;
  std::vector<int32_t> expected;
  for (int r = 0; r < rows; ++r) {
    std::vector<float> row = RandomRow(vocab, r % 3);
    if (r % 11 == 10) row[vocab / 2] = std::numeric_limits<float>::quiet_NaN();
    logits.insert(logits.end(), row.begin(), row.end());
    const SamplingParams params = RandomParams(r % 6);
    for (const double off : {-kRounding, 0.0, kRounding}) {
      const double uniform = DrawUniform(params.seed, kPosition) + shift + off;
      asked.push_back({r, params.temperature, params.top_k, params.top_p, params.min_p,
                       uniform - std::floor(uniform)});
    }
    expected.push_back(HostToken(params, std::move(row)));
  }
  const int draws = 3 * rows;
  const auto tokens = bed().Poisoned<int32_t>(draws);
  SampleParams params;
  params.logits = bed().Put(logits).data;
  params.rows = bed().Put(asked).data;
  params.tokens = tokens.data;
  params.vocab = vocab;
  EXPECT_EQ(LaunchSample(params, draws, bed().stream()), cudaSuccess);
  const std::vector<int32_t> drawn = bed().Get(tokens);
  int others = 0;
  for (int r = 0; r < rows; ++r) {
    const auto its = drawn.begin() + 3 * r;
    others += std::find(its, its + 3, expected[r]) == its + 3 ? 1 : 0;
  }
  return others;
}

TEST_F(OpParitySamplingTest, SmallRowsHaveTheHostsTokens) {
  EXPECT_EQ(CountOthers(24, 500), 0);
  EXPECT_EQ(CountOthers(12, 33), 0);
}

// Else nothing of this file means anything.
TEST_F(OpParitySamplingTest, SmallOtherRandomNumbersAreSeen) {
  EXPECT_GT(CountOthers(24, 500, 0.4), 5);
}

// Of many tokens, top-p may take one more or less when the host's sums are rounded.
TEST_F(OpParitySamplingTest, VocabulariesOfModels) {
  if (KernelsAreEmulated()) GTEST_SKIP() << "too large for the emulation";
  EXPECT_LE(CountOthers(60, 32'000), 1);
  EXPECT_LE(CountOthers(60, 151'936), 1);
  EXPECT_LE(CountOthers(12, kMostVocab), 1);
}

}  // namespace
}  // namespace reprise::engine::cuda
