// What CudaBackend keeps from one operation to the next.
#include "engine/backend/cuda/cuda_backend.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/run/token_draw.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cuda/emulated_card.h"

namespace reprise::engine::cuda {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;

constexpr int64_t kCols = 4;

class CudaBackendTest : public testing::Test {
 protected:
  // A row that the device keeps until the test ends.
  Activations Row(const std::vector<float>& values) {
    const auto cols = static_cast<int64_t>(values.size());
    kept_.push_back(*backend().Keep({values.data(), ElementType::kF32, 1, cols}));
    return {reinterpret_cast<float*>(kept_.back().memory.bytes().data()), 1, cols};
  }
  TensorView View(const std::vector<float>& values) {
    Row(values);
    return kept_.back().view;
  }
  std::vector<float> Read(Activations x) {
    const auto rows = backend().HostRows(x);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? std::vector<float>(rows->begin(), rows->end()) : std::vector<float>();
  }
  Backend& backend() { return *card_.backend(); }

  EmulatedCard card_;
  std::vector<KeptTensor> kept_;
};

// The bf16 copy that a norm leaves behind is of what it wrote, not of what is there later.
TEST_F(CudaBackendTest, ProductsTakeTheRoundedCopyOfNothingElse) {
  const std::vector<uint16_t> ones(kCols, 0x3F80);
  const auto weight =
      backend().Pack({ones.data(), ElementType::kBF16, 1, kCols}, WeightOrder::kOutIn);
  ASSERT_TRUE(weight.ok());
  const Activations x = Row({2, -2, 2, -2});
  const Activations normed = Row({0, 0, 0, 0});
  const Activations sum = Row({0});
  backend().RmsNorm(x, View({1, 1, 1, 3.01f}), 0, normed);
  backend().MatMul(normed, **weight, {}, sum);
  EXPECT_THAT(Read(sum), ElementsAre(1 - 3.015625f)) << "3.01 is no bf16";
  backend().Add(normed, Row({10, 0, 0, 0}));
  backend().MatMul(normed, **weight, {}, sum);
  EXPECT_THAT(Read(sum), ElementsAre(FloatEq(11 - 3.015625f)));
  backend().MatMulAdd(normed, **weight, View({0.5f}), sum);
  EXPECT_THAT(Read(sum), ElementsAre(FloatEq(2 * (11 - 3.015625f) + 0.5f)));
}

TEST_F(CudaBackendTest, WhatIsGivenBackMayBeInUse) {
  const Activations from = Row(std::vector<float>(1 << 14, 7));
  std::vector<float> read;
  for (int i = 0; i < 10; ++i) {
    auto memory = backend().Reserve(from.cols * sizeof(float));
    ASSERT_TRUE(memory.ok());
    const Activations to = {reinterpret_cast<float*>(memory->bytes().data()), 1, from.cols};
    const int64_t first_row = 0;
    backend().GatherRows(from, {&first_row, 1}, to);
    if (i == 9) read = Read(to);
  }
  EXPECT_THAT(read, Each(7.0f));
}

TEST_F(CudaBackendTest, OperandsThatNoKernelTakesAreTheStepsError) {
  const Activations x = Row({1, 2, 3});  // norms take columns by four
  const cachestore::KvLayout layout = {
      .num_layers = 1, .num_kv_heads = 1, .head_dim = 64, .block_tokens = 16};
  const std::vector<std::byte*> blocks = card_.Places(layout);
  const SequenceRows sequence = {0, 1, 0, blocks};
  const uint32_t id = 0;
  const StepInput step = {{&id, 1}, {&sequence, 1}, {}, layout};
  ASSERT_TRUE(backend().BeginStep(step).ok());
  backend().RmsNorm(x, View({1, 1, 1}), 0, x);
  EXPECT_EQ(backend().EndStep().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(backend().HostRows(x).status().code(), absl::StatusCode::kInternal);
  ASSERT_TRUE(backend().BeginStep(step).ok());
  EXPECT_TRUE(backend().EndStep().ok());
}

// The tokens are those of the host's sampler; a row that is not usable gives none.
TEST_F(CudaBackendTest, DrawsTheTokensThatTheHostDraws) {
  constexpr int64_t kVocab = 200;
  constexpr int64_t kPosition = 9;
  std::vector<float> values(4 * kVocab);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 3 * std::sin(static_cast<float>(i * i));
  values[2 * kVocab + 7] = NAN;
  const struct {
    int64_t row;
    SamplingParams params;
  } draws[] = {{3, {}},
               {0, {.temperature = 0.8f, .seed = 1}},
               {1, {.temperature = 1.2f, .top_k = 20, .top_p = 0.9f, .seed = 2}},
               {2, {}},
               {0, {.temperature = 1, .min_p = 0.1f, .seed = 3}}};
  std::vector<DrawRow> asked;
  std::vector<int32_t> expected;
  for (const auto& [row, params] : draws) {
    asked.push_back({row, params.temperature, params.top_k, params.top_p, params.min_p,
                     DrawUniform(params.seed, kPosition)});
    const auto token = TokenDraw().Draw(params, kPosition,
                                        absl::MakeConstSpan(values).subspan(row * kVocab, kVocab));
    expected.push_back(token.ok() ? static_cast<int32_t>(*token) : -1);
  }
  const Activations logits = {Row(values).data, 4, kVocab};
  std::vector<int32_t> tokens(asked.size(), 77);
  ASSERT_TRUE(backend().Draw(logits, asked, absl::MakeSpan(tokens)).ok());
  EXPECT_EQ(tokens, expected);
  EXPECT_EQ(tokens[3], -1);
  EXPECT_TRUE(backend().Draw(logits, {}, {}).ok());
  ASSERT_TRUE(NewCpuBackend(1)->Draw(logits, asked, absl::MakeSpan(tokens)).ok());
  EXPECT_THAT(tokens, Each(-1)) << "the CPU backend leaves that to engine/run";
}

}  // namespace
}  // namespace reprise::engine::cuda
