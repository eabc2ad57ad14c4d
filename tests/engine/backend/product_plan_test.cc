// ProductPlan: which tile heights it keeps, and that what it keeps agrees on numbers that the trial
// did not see.

#include "engine/backend/product_plan.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "engine/backend/onednn_weight.h"
#include "engine/backend/weight_memory.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using dnnl::memory;

constexpr int64_t kRows = 256;

class ProductPlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (OneDnnProducts::Create(BF16Products::kNarrowed) == nullptr) GTEST_SKIP() << "needs AVX-512";
    omp_set_num_threads(2);
  }

  bool MultipliesBF16() const {
    const auto has = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
    const auto bf16 = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
    return (has & bf16) == bf16;
  }

  // Rows of random numbers of small integers over 256, which f32 and bf16 hold both.
  static std::vector<std::byte> RandomInputs(memory::data_type type, int64_t count) {
    std::mt19937 random(7);
    const size_t width = type == memory::data_type::bf16 ? 2 : 4;
    std::vector<std::byte> bytes(count * width);
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(static_cast<int>(random() % 255) - 127) / 256.0f;
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      if (width == 2) bits >>= 16;
      std::memcpy(bytes.data() + i * width, &bits, width);
    }
    return bytes;
  }

  // All kRows rows by tiles of one height, from row 0 on; rows past the last whole tile stay zero.
  static std::vector<float> ByHeight(ProductPlan& plan, int64_t height, const SlabInputs& x,
                                     absl::Span<const memory> weights) {
    std::vector<float> out(kRows * plan.out());
    const std::vector<float> bias(plan.out(), 0.25f);
    for (int64_t row = 0; row + height <= kRows; row += height) {
      plan.Multiply(height, x, row, weights, bias.data(), out.data() + row * plan.out());
    }
    return out;
  }

  const dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
};

TEST_F(ProductPlanTest, KeptHeightsAgreeBitForBit) {
  struct Case {
    int64_t in, out;
    memory::data_type type;
  };
  std::vector<Case> cases = {{768, 768, memory::data_type::f32},
                             {1500, 96, memory::data_type::f32}};
  if (MultipliesBF16()) {
    cases.push_back({3072, 768, memory::data_type::bf16});
    cases.push_back({64, 64, memory::data_type::bf16});
    cases.push_back({33, 17, memory::data_type::bf16});
  }
  for (const Case& c : cases) {
    SCOPED_TRACE(::testing::Message() << c.in << " x " << c.out);
    ProductPlan plan(engine_, c.in, c.out, c.type);
    auto packed = AllocateWeightMemory(plan.packed_bytes());
    ASSERT_TRUE(packed.ok());
    plan.KeepHeightsThatAgree(packed->get());
    ASSERT_GE(plan.heights().size(), 2u);
    const size_t width = c.type == memory::data_type::bf16 ? 2 : 4;
    const std::vector<std::byte> w = RandomInputs(c.type, plan.packed_bytes() / width);
    std::memcpy(packed->get(), w.data(), w.size());
    const std::vector<memory> weights = plan.Slice(packed->get());
    const std::vector<std::byte> x = RandomInputs(c.type, kRows * c.in);
    const SlabInputs inputs = {x.data(), kRows};
    const std::vector<float> expected = ByHeight(plan, plan.heights().front(), inputs, weights);
    for (const int64_t height : plan.heights()) {
      const int64_t whole = kRows / height * height * c.out;
      const int64_t compared =
          std::min(whole, kRows / plan.heights().front() * plan.heights().front() * c.out);
      const std::vector<float> result = ByHeight(plan, height, inputs, weights);
      EXPECT_EQ(std::memcmp(result.data(), expected.data(), compared * sizeof(float)), 0) << height;
      EXPECT_NE(result[0], 0.25f) << "the bias alone";
    }
    // Other inputs give other bits.
    std::vector<std::byte> other = x;
    std::rotate(other.begin(), other.begin() + width, other.end());
    const SlabInputs shifted = {other.data(), kRows};
    const std::vector<float> changed = ByHeight(plan, plan.heights().front(), shifted, weights);
    EXPECT_NE(std::memcmp(changed.data(), expected.data(), expected.size() * sizeof(float)), 0);
  }
}

TEST_F(ProductPlanTest, KeepsTheHeightsOfDecodeAndPrefillForModelShapes) {
  const auto keeps = [&](const ProductPlan& plan, int64_t height) {
    return std::find(plan.heights().begin(), plan.heights().end(), height) != plan.heights().end();
  };
  std::vector<memory::data_type> types = {memory::data_type::f32};
  if (MultipliesBF16()) types.push_back(memory::data_type::bf16);
  for (const memory::data_type type : types) {
    for (const int64_t in : {768, 3072}) {
      ProductPlan plan(engine_, in, 768, type);
      auto packed = AllocateWeightMemory(plan.packed_bytes());
      ASSERT_TRUE(packed.ok());
      plan.KeepHeightsThatAgree(packed->get());
      EXPECT_TRUE(keeps(plan, 1));
      EXPECT_TRUE(keeps(plan, 64));
      EXPECT_TRUE(keeps(plan, 128));
      EXPECT_FALSE(keeps(plan, 65));
      EXPECT_EQ(plan.slabs().size(), type == memory::data_type::bf16 && in > 1024 ? 3u : 1u);
    }
  }
}

}  // namespace
}  // namespace reprise::engine
