#include "engine/backend/cuda/emulation/warp_mma.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include "engine/backend/cuda/kernels/device_code.h"
#include "tests/engine/backend/cuda/schedules.h"
#include "tests/engine/backend/kv_reference.h"

namespace reprise::engine::cuda {
namespace {

using emulation::Launch;
using emulation::Schedule;

constexpr int kM = 16, kN = 8, kK = 16;

struct Matrices {
  std::vector<float> a, b;  // [kM][kK], [kK][kN]
};

Matrices RandomMatrices() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  Matrices m{std::vector<float>(kM * kK), std::vector<float>(kK * kN)};
  // bf16 and f16 both have 8 significant digits.
  const auto short_number = [&] { return std::round(normal(random) * 32) / 32; };
  for (float& x : m.a) x = short_number();
  for (float& x : m.b) x = short_number();
  return m;
}

// C = A B by one warp whose lanes hold A as the ISA says when `k_of` maps 2 t to 2 t.
std::vector<float> Product(const Matrices& m, const Schedule& schedule, bool bf16,
                           const std::function<int(int)>& k_of) {
  std::vector<float> out(kM * kN, std::nanf(""));
  const absl::Status status = Launch({}, schedule, [&] {
    const int g = Lane() / 4;
    const int t = Lane() % 4;
    const auto pack = bf16 ? PackBF16 : PackF16;
    uint32_t a[4];
    uint32_t b[2];
    for (int i = 0; i < 4; ++i) {
      const float* at = &m.a[(g + i % 2 * 8) * kK + k_of(2 * t) + i / 2 * 8];
      a[i] = pack(at[0], at[1]);
    }
    for (int i = 0; i < 2; ++i) {
      const int k = 2 * t + 8 * i;
      b[i] = pack(m.b[k * kN + g], m.b[(k + 1) * kN + g]);
    }
    float c[4] = {};
    bf16 ? MultiplyAddBF16(a, b, c) : MultiplyAddF16(a, b, c);
    for (int i = 0; i < 4; ++i) out[(g + i / 2 * 8) * kN + 2 * t + i % 2] = c[i];
  });
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

std::vector<float> PlainProduct(const Matrices& m) {
  std::vector<float> out(kM * kN);
  for (int i = 0; i < kM * kN; ++i) {
    double sum = 0;
    for (int k = 0; k < kK; ++k) sum += double{m.a[i / kN * kK + k]} * m.b[k * kN + i % kN];
    out[i] = static_cast<float>(sum);
  }
  return out;
}

TEST(WarpMmaTest, MultipliesWhatTheLanesHold) {
  const Matrices m = RandomMatrices();
  for (const bool bf16 : {false, true}) {
    const auto outputs = OnAllSchedules<float>(
        [&](const Schedule& s) { return Product(m, s, bf16, [](int k) { return k; }); });
    EXPECT_TRUE(AreSame(outputs));
    EXPECT_EQ(outputs[0], PlainProduct(m));
  }
}

TEST(WarpMmaTest, AWrongLaneIndexShows) {
  const Matrices m = RandomMatrices();
  EXPECT_NE(Product(m, {}, true, [](int k) { return 6 - k; }), PlainProduct(m));
}

TEST(WarpMmaTest, MatricesAreReadAsRowsAndAsColumns) {
  const auto run = [](const Schedule& schedule) {
    std::vector<uint32_t> out(2 * 32 * 4);
    const absl::Status status = Launch({1, 1, 32, 512}, schedule, [&] {
      const Shared<uint16_t> elements(SharedBase());
      for (int i = Lane(); i < 256; i += 32) elements[i] = static_cast<uint16_t>(i);
      SyncWarp();
      LoadMatrices(elements.at(8 * Lane()), &out[4 * Lane()]);
      LoadMatricesTransposed(elements.at(8 * Lane()), &out[128 + 4 * Lane()]);
    });
    EXPECT_TRUE(status.ok()) << status;
    return out;
  };
  const auto outputs = OnAllSchedules<uint32_t>(run);
  EXPECT_TRUE(AreSame(outputs));
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const uint32_t g = lane / 4;
      const uint32_t t = lane % 4;
      const uint32_t row = 64 * i + 8 * g + 2 * t;
      const uint32_t column = 64 * i + 8 * 2 * t + g;
      EXPECT_EQ(outputs[0][4 * lane + i], row | (row + 1) << 16);
      EXPECT_EQ(outputs[0][128 + 4 * lane + i], column | (column + 8) << 16);
    }
  }
}

// Of all 2^16 upper halves of a float, with lower halves that round up, down and to even.
TEST(WarpMmaTest, NumbersAreRoundedToNearest) {
  for (uint32_t upper = 0; upper < 1 << 16; ++upper) {
    for (const uint32_t lower : {0u, 0x1000u, 0x7FFFu, 0x8000u, 0x8001u, 0xF000u}) {
      const float value = FloatOf(upper << 16 | lower);
      const float f16 = emulation::FloatOfF16(emulation::F16OfFloat(value));
      const float bf16 = emulation::FloatOfBF16(emulation::BF16OfFloat(value));
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(f16) && std::isnan(bf16));
        continue;
      }
      if (std::isinf(value)) {
        EXPECT_TRUE(f16 == value && bf16 == value);
        continue;
      }
      const float expected = RoundToFloat(value, 11, -14, 1e30);
      EXPECT_EQ(f16, std::fabs(expected) < 65536 ? expected : std::copysign(kInfinity, value));
      EXPECT_EQ(bf16, RoundToFloat(value, 8, -126, 1e39)) << value;
    }
  }
}

}  // namespace
}  // namespace reprise::engine::cuda
