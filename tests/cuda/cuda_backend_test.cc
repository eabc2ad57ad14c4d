// What CudaBackend keeps from one operation to the next.
#include "engine/backend/cuda/cuda_backend.h"

#include <cstdint>
#include <vector>

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
  EXPECT_THAT(Read(sum), ElementsAre(FloatEq(11 - 3.01f)));
  backend().MatMulAdd(normed, **weight, View({0.5f}), sum);
  EXPECT_THAT(Read(sum), ElementsAre(FloatEq(2 * (11 - 3.01f) + 0.5f)));
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

}  // namespace
}  // namespace reprise::engine::cuda
