#include "engine/backend/kv_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cachestore/block/kv_layout.h"
#include "engine/backend/kv_format.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/kv_reference.h"
#include "tests/engine/backend/vector_target.h"

namespace reprise::engine {
namespace {

using cachestore::DType;
using cachestore::KvLayout;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A row's bytes, with guards behind elements and scales.
struct Encoded {
  std::vector<std::byte> elements, scales;
};

KvLayout RowLayout(DType dtype, int64_t head_dim) {
  return WithDType({.num_layers = 1,
                    .num_kv_heads = 1,
                    .head_dim = static_cast<int32_t>(head_dim),
                    .block_tokens = 1},
                   dtype);
}

Encoded Encode(DType dtype, const std::vector<float>& row) {
  const auto head_dim = static_cast<int64_t>(row.size());
  const KvLayout layout = RowLayout(dtype, head_dim);
  constexpr std::byte kGuard{0xA5};
  Encoded encoded;
  encoded.elements.assign(layout.RowBytes() + 8, kGuard);
  encoded.scales.assign(2 * layout.ScalesPerRow() + 8, kGuard);
  EncodeKvRow(dtype, row.data(), head_dim, encoded.elements.data(), encoded.scales.data());
  for (std::vector<std::byte>* bytes : {&encoded.elements, &encoded.scales}) {
    EXPECT_TRUE(
        std::all_of(bytes->end() - 8, bytes->end(), [](std::byte b) { return b == kGuard; }))
        << "wrote behind a row of " << cachestore::DTypeName(dtype);
    bytes->resize(bytes->size() - 8);
  }
  return encoded;
}

std::vector<float> Decode(DType dtype, const Encoded& encoded, int64_t head_dim) {
  const int64_t stride = (head_dim + 15) / 16 * 16;
  const auto memory = std::make_unique<float[]>(2 * stride + 16);
  float* const out =
      reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.get()) + 63) & ~uintptr_t{63});
  // Two rows, so that the second shows that the stride is kept.
  const std::byte* const elements[] = {encoded.elements.data(), encoded.elements.data()};
  const std::byte* const scales[] = {encoded.scales.data(), encoded.scales.data()};
  DecodeKvRows(dtype, elements, scales, 2, head_dim, stride, out);
  EXPECT_EQ(std::memcmp(out, out + stride, head_dim * sizeof(float)), 0);
  return std::vector<float>(out, out + head_dim);
}

std::vector<float> RoundTrip(DType dtype, const std::vector<float>& row) {
  return Decode(dtype, Encode(dtype, row), static_cast<int64_t>(row.size()));
}

// Equal, or both NaN.
bool Same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Rows of normal numbers of every magnitude that KV could have, and some that it should not.
std::vector<std::vector<float>> RandomRows(int64_t head_dim, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> rows;
  for (const float magnitude : {1.0f, 0.01f, 30.0f, 1e-4f, 300.0f, 1e5f, 1e-8f, 1e-30f, 1e30f}) {
    for (int i = 0; i < 8; ++i) {
      std::vector<float>& row = rows.emplace_back(head_dim);
      for (float& x : row) x = normal(random) * magnitude;
      if (i % 2 == 1) row[random() % head_dim] *= 50;  // an outlier
    }
  }
  return rows;
}

std::vector<int64_t> Dims(DType dtype) {
  return dtype == DType::kInt4 ? std::vector<int64_t>{64, 128, 80, 34, 32, 8, 2}
                               : std::vector<int64_t>{64, 128, 80, 33, 13, 8, 1};
}

TEST(KvCodecTest, ReadsBackAsTheReferenceOnEveryVectorTarget) {
  int targets = 0;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    const VectorTarget scope(target);
    ++targets;
    for (const DType dtype : cachestore::kAllDTypes) {
      for (const int64_t head_dim : Dims(dtype)) {
        for (const std::vector<float>& row : RandomRows(head_dim, 1)) {
          const std::vector<float> expected = ReadsBackAs(row, dtype);
          const std::vector<float> found = RoundTrip(dtype, row);
          for (int64_t c = 0; c < head_dim; ++c) {
            ASSERT_EQ(found[c], expected[c]) << cachestore::DTypeName(dtype) << " of " << row[c]
                                             << ", dim " << c << " of " << head_dim;
          }
        }
      }
    }
  }
  EXPECT_GE(targets, 1);
}

TEST(KvCodecTest, ErrorsKeepToTheirBounds) {
  for (const DType dtype : cachestore::kAllDTypes) {
    double worst = 0;  // share of the bound that is used
    for (const std::vector<float>& row : RandomRows(64, 2)) {
      const std::vector<float> found = RoundTrip(dtype, row);
      for (int64_t c = 0; c < 64; ++c) {
        const double x = std::abs(row[c]);
        if (dtype == DType::kF8E4M3 && x > 448) continue;
        if (dtype == DType::kF16 && x > 65504) continue;
        double bound = 0;
        const auto group = [&](int64_t begin, int64_t count) {
          double largest = 0;
          for (int64_t i = begin; i < begin + count; ++i) {
            largest = std::max<double>(largest, std::abs(row[i]));
          }
          return largest;
        };
        switch (dtype) {
          case DType::kF32:
            break;
          case DType::kF16:
            bound = std::max(x * 0x1p-11, 0x1p-25);
            break;
          case DType::kBF16:
            bound = x * 0x1p-8;
            break;
          case DType::kF8E4M3:
            bound = std::max(x * 0x1p-4, 0x1p-10);
            break;
          case DType::kInt8:
            bound = group(0, 64) * 1.008 / 254;
            break;
          case DType::kInt4:
            bound = group(c / 32 * 32, 32) * 1.008 / 14;
            break;
        }
        const double error = std::abs(double{found[c]} - row[c]);
        ASSERT_LE(error, bound) << cachestore::DTypeName(dtype) << " of " << row[c];
        if (bound > 0) worst = std::max(worst, error / bound);
      }
    }
    // The bound is no larger than it has to be, and the lossy ones do lose.
    EXPECT_EQ(worst > 0.7, !IsExact(dtype)) << cachestore::DTypeName(dtype);
  }
}

TEST(KvCodecTest, LargerElementsReadBackNoSmaller) {
  for (const DType dtype : cachestore::kAllDTypes) {
    for (std::vector<float> row : RandomRows(32, 3)) {
      std::sort(row.begin(), row.end());
      const std::vector<float> found = RoundTrip(dtype, row);
      EXPECT_TRUE(std::is_sorted(found.begin(), found.end())) << cachestore::DTypeName(dtype);
    }
  }
}

TEST(KvCodecTest, EveryE4M3CodeReadsBackAsItself) {
  for (int code = 0; code < 256; ++code) {
    Encoded encoded{{static_cast<std::byte>(code)}, {}};
    const float value = Decode(DType::kF8E4M3, encoded, 1)[0];
    const int magnitude = code & 0x7F;
    if (magnitude == 0x7F) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    const int exponent = magnitude >> 3;
    const double expected = exponent == 0 ? std::ldexp(magnitude & 7, -9)
                                          : std::ldexp(8 + (magnitude & 7), exponent - 10);
    EXPECT_EQ(value, code < 128 ? expected : -expected) << code;
    EXPECT_EQ(Encode(DType::kF8E4M3, {value}).elements[0], static_cast<std::byte>(code));
  }
}

TEST(KvCodecTest, TiesGoToEven) {
  // Half-way between neighbours: 17/16 and 19/16 in e4m3, 2^-10 and 3 x 2^-10 among its subnormals.
  EXPECT_EQ(RoundTrip(DType::kF8E4M3, {1.0625f, 1.1875f, 0x1p-10f, 0x3p-10f}),
            (std::vector<float>{1.0f, 1.25f, 0.0f, 0x1p-8f}));
  // A scale of 1: 127 is the largest.
  EXPECT_EQ(RoundTrip(DType::kInt8, {127, 0.5f, 1.5f, -2.5f}), (std::vector<float>{127, 0, 2, -2}));
  EXPECT_EQ(RoundTrip(DType::kInt4, {7, 0.5f, 1.5f, -2.5f}), (std::vector<float>{7, 0, 2, -2}));
}

TEST(KvCodecTest, NumbersBeyondTheDTypeSaturate) {
  EXPECT_EQ(RoundTrip(DType::kF8E4M3, {448, 449, 1e9f, -1e9f, kInfinity, -kInfinity}),
            (std::vector<float>{448, 448, 448, -448, 448, -448}));
  EXPECT_EQ(RoundTrip(DType::kF16, {65504, 65519, 65520, -1e9f, kInfinity}),
            (std::vector<float>{65504, 65504, 65504, -65504, 65504}));
  const std::vector<float> bf16 = RoundTrip(DType::kBF16, {3.4e38f, -kInfinity});
  EXPECT_TRUE(std::isfinite(bf16[0]) && std::isfinite(bf16[1]));
  EXPECT_GT(bf16[0], 3.38e38f);
  EXPECT_LT(bf16[1], -3.38e38f);
}

TEST(KvCodecTest, WhatIsNoNumberStaysSoAndSpoilsOnlyItsGroup) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      const VectorTarget scope(target);
      const std::vector<float> found = RoundTrip(dtype, {1, kNaN, -kNaN, 2});
      EXPECT_TRUE(found[0] == 1 && std::isnan(found[1]) && std::isnan(found[2]) && found[3] == 2)
          << cachestore::DTypeName(dtype) << " " << hwy::TargetName(target);
    }
  }
  for (const float bad : {kNaN, kInfinity, -kInfinity}) {
    std::vector<float> row(64, 1.0f);
    row[40] = bad;
    for (const float x : RoundTrip(DType::kInt8, row)) EXPECT_TRUE(std::isnan(x));
    const std::vector<float> found = RoundTrip(DType::kInt4, row);
    for (int64_t c = 0; c < 64; ++c) EXPECT_EQ(std::isnan(found[c]), c >= 32) << c;
  }
}

TEST(KvCodecTest, RowsOfZerosAndTinyRowsAreSafe) {
  for (const DType dtype : cachestore::kAllDTypes) {
    for (const float x : RoundTrip(dtype, std::vector<float>(64, 0.0f))) EXPECT_EQ(x, 0);
    for (const float tiny : {1e-45f, 1e-38f, 1e-36f, -1e-37f}) {
      for (const float x : RoundTrip(dtype, std::vector<float>(64, tiny))) {
        EXPECT_LE(std::abs(x - tiny), 2e-36f);
      }
    }
  }
}

TEST(KvCodecTest, BytesAreAsDocumented) {
  const auto bytes = [](std::initializer_list<int> values) {
    std::vector<std::byte> out;
    for (const int value : values) out.push_back(static_cast<std::byte>(value));
    return out;
  };
  EXPECT_EQ(Encode(DType::kF8E4M3, {1, -2, 448, kNaN}).elements, bytes({0x38, 0xC0, 0x7E, 0x7F}));
  EXPECT_EQ(Encode(DType::kF16, {1, -2}).elements, bytes({0x00, 0x3C, 0x00, 0xC0}));
  EXPECT_EQ(Encode(DType::kBF16, {1, -2}).elements, bytes({0x80, 0x3F, 0x00, 0xC0}));
  const Encoded int8 = Encode(DType::kInt8, {-127, 1, 0, 64});
  EXPECT_EQ(int8.elements, bytes({0x81, 0x01, 0x00, 0x40}));
  EXPECT_EQ(int8.scales, bytes({0x80, 0x3F}));
  // 34 dims: a group of 32 with scale 1, whose byte j holds elements j and j + 16; a group of 2
  // with scale 2.
  std::vector<float> row(34, 0.0f);
  row[0] = 7, row[16] = -7, row[1] = 1, row[17] = 2, row[32] = 14, row[33] = -2;
  const Encoded int4 = Encode(DType::kInt4, row);
  ASSERT_EQ(int4.elements.size(), 17u);
  EXPECT_EQ(int4.elements[0], std::byte{0x1F});
  EXPECT_EQ(int4.elements[1], std::byte{0xA9});
  EXPECT_EQ(int4.elements[2], std::byte{0x88});
  EXPECT_EQ(int4.elements[16], std::byte{0x7F});
  EXPECT_EQ(int4.scales, bytes({0x80, 0x3F, 0x00, 0x40}));
}

TEST(KvCodecTest, TheReferenceCanTellAWrongByte) {
  for (const DType dtype : cachestore::kAllDTypes) {
    for (const std::vector<float>& row : RandomRows(64, 4)) {
      Encoded encoded = Encode(dtype, row);
      const std::vector<float> expected = ReadsBackAs(row, dtype);
      if (expected.back() == 0) continue;  // and so is what its sign makes of it
      encoded.elements.back() ^= std::byte{0x80};
      const std::vector<float> found = Decode(dtype, encoded, 64);
      bool equal = true;
      for (int64_t c = 0; c < 64; ++c) equal = equal && Same(found[c], expected[c]);
      EXPECT_FALSE(equal) << cachestore::DTypeName(dtype);
    }
  }
}

}  // namespace
}  // namespace reprise::engine
