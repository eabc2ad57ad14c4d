#include "engine/backend/cuda/kernels/kv_elements.cuh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "cachestore/block/kv_layout.h"
#include "engine/backend/cuda/kernels/kv_fragments.cuh"
#include "engine/backend/kv_codec.h"
#include "engine/backend/kv_format.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;
using emulation::Launch;

struct EncodedRow {
  std::vector<uint8_t> elements, scales;
  bool operator==(const EncodedRow&) const = default;
};

EncodedRow EmptyRow(DType dtype, int head_dim) {
  cachestore::KvLayout layout;
  layout.num_layers = layout.num_kv_heads = layout.block_tokens = 1;
  layout.head_dim = head_dim;
  layout = WithDType(layout, dtype);
  return {std::vector<uint8_t>(layout.RowBytes(), 0xEE),
          std::vector<uint8_t>(layout.ScalesPerRow() * 2, 0xEE)};
}

EncodedRow EncodeOnCpu(DType dtype, const std::vector<float>& x) {
  EncodedRow row = EmptyRow(dtype, static_cast<int>(x.size()));
  EncodeKvRow(dtype, x.data(), static_cast<int64_t>(x.size()),
              reinterpret_cast<std::byte*>(row.elements.data()),
              reinterpret_cast<std::byte*>(row.scales.data()));
  return row;
}

std::vector<EncodedRow> EncodeAll(DType dtype, const std::vector<std::vector<float>>& rows,
                                  const emulation::Schedule& schedule = {}) {
  std::vector<EncodedRow> encoded;
  for (const auto& x : rows) encoded.push_back(EmptyRow(dtype, static_cast<int>(x.size())));
  const absl::Status status = Launch({}, schedule, [&] {
    for (size_t r = 0; r < rows.size(); ++r) {
      EncodeRow(static_cast<KvType>(dtype), rows[r], static_cast<int>(rows[r].size()),
                encoded[r].elements.data(), encoded[r].scales.data());
    }
  });
  EXPECT_TRUE(status.ok()) << status;
  return encoded;
}

void ExpectCpusBytes(DType dtype, const std::vector<std::vector<float>>& rows) {
  const std::vector<EncodedRow> encoded = EncodeAll(dtype, rows);
  for (size_t r = 0; r < rows.size(); ++r) {
    ASSERT_EQ(encoded[r], EncodeOnCpu(dtype, rows[r]))
        << cachestore::DTypeName(dtype) << " row " << r << " of " << rows[r].size();
  }
}

// Every upper half of a float, with lower halves that round up, down, and to even.
TEST(KvElementsTest, EveryFloatIsEncodedAsTheCpuDoes) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    for (const uint32_t lower : {0u, 1u, 0x0FFFu, 0x1000u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      std::vector<std::vector<float>> rows(1, std::vector<float>(1 << 16));
      for (uint32_t upper = 0; upper < 1 << 16; ++upper) {
        const uint32_t bits = upper << 16 | lower;
        std::memcpy(&rows[0][upper], &bits, sizeof(bits));
      }
      ExpectCpusBytes(dtype, rows);
    }
  }
}

// Magnitudes around every exponent, so that every rounding of a scale happens; groups of zeros, of
// subnormals, with NaN and infinities.
TEST(KvElementsTest, ScaledRowsAreEncodedAsTheCpuDoes) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  for (const int head_dim : {2, 16, 30, 32, 34, 64, 80, 128}) {
    std::vector<std::vector<float>> rows;
    for (int exponent = -149; exponent < 128; ++exponent) {
      std::vector<float> row(head_dim);
      for (float& x : row) x = std::ldexp(normal(random) / 8, exponent);
      rows.push_back(row);
    }
    rows.emplace_back(head_dim, 0.0f);
    rows.emplace_back(head_dim, -1e-40f);
    rows.emplace_back(head_dim, 3e38f);
    for (const float special : {NAN, INFINITY, -INFINITY}) {
      rows.push_back(rows[100]);
      rows.back()[random() % head_dim] = special;
    }
    ExpectCpusBytes(DType::kInt8, rows);
    ExpectCpusBytes(DType::kInt4, rows);
    if (head_dim != 34) continue;  // a group, and what is left of one
    for (const emulation::Schedule& schedule : AllSchedules()) {
      EXPECT_EQ(EncodeAll(DType::kInt4, rows, schedule), EncodeAll(DType::kInt4, rows));
    }
  }
}

void ExpectSameFloat(float actual, float expected) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual));
  } else {
    EXPECT_EQ(BitsOf(actual), BitsOf(expected));
  }
}

TEST(KvElementsTest, EveryCodeIsDecodedAsTheCpuDoes) {
  for (const DType dtype : cachestore::kAllDTypes) {
    for (const int head_dim : {256, 30}) {
      for (const int variant : {0, 1, 2, 3}) {
        EncodedRow row = EmptyRow(dtype, head_dim);
        std::mt19937 random(variant);
        for (size_t i = 0; i < row.elements.size(); ++i) {
          row.elements[i] = variant == 0 ? static_cast<uint8_t>(i) : static_cast<uint8_t>(random());
        }
        for (uint8_t& byte : row.scales) byte = static_cast<uint8_t>(random() % 128);
        alignas(64) float expected[256];
        const auto* elements = reinterpret_cast<const std::byte*>(row.elements.data());
        const auto* scales = reinterpret_cast<const std::byte*>(row.scales.data());
        DecodeKvRows(dtype, &elements, &scales, 1, head_dim, 256, expected);
        for (int c = 0; c < head_dim; ++c) {
          ExpectSameFloat(DecodeElement(static_cast<KvType>(dtype), row.elements.data(),
                                        row.scales.data(), head_dim, c),
                          expected[c]);
        }
      }
    }
  }
}

// All pairs of byte codes; c and what is made of it as an operand, times the factor, are equal.
template <KvType kType, bool kConverts>
void ExpectFragmentsExact(float (*widen)(uint16_t)) {
  using Fragment = KvFragment<kType, kConverts>;
  const uint16_t one = 0x3F80;  // a scale of 1
  const auto* scales = reinterpret_cast<const uint8_t*>(&one);
  const auto expect = [&](uint32_t operand, int half, uint8_t code) {
    if (kType == KvType::kInt8 && code == 0x80) return;  // is never written
    ExpectSameFloat(widen(static_cast<uint16_t>(operand >> (16 * half))) * Fragment::kFactor,
                    DecodeElement(kType, &code, scales, 1, 0));
  };
  for (int code = 0; code < 256; ++code) {
    for (int i = 0; i < 8; ++i) {
      uint8_t a[8];
      uint8_t b[8];
      for (int j = 0; j < 8; ++j) {
        a[j] = static_cast<uint8_t>(code + 31 * j);
        b[j] = static_cast<uint8_t>(code * 7 + j);
      }
      uint32_t a_words[2];
      uint32_t b_words[2];
      std::memcpy(a_words, a, 8);
      std::memcpy(b_words, b, 8);
      const uint32_t across = Fragment::Across(a_words, b_words, i);
      expect(across, 0, a[i]);
      expect(across, 1, b[i]);
      if (i >= 4) continue;
      const uint32_t alternate = Fragment::Alternate(a_words[0], i % 2);
      expect(alternate, 0, a[i % 2]);
      expect(alternate, 1, a[i % 2 + 2]);
      const uint32_t adjacent = Fragment::Adjacent(a_words, i);
      expect(adjacent, 0, a[2 * i]);
      expect(adjacent, 1, a[2 * i + 1]);
    }
  }
}

TEST(KvFragmentsTest, OperandsAreTheElementsExactly) {
  ExpectFragmentsExact<KvType::kE4M3, false>(emulation::FloatOfF16);
  ExpectFragmentsExact<KvType::kE4M3, true>(emulation::FloatOfF16);
  ExpectFragmentsExact<KvType::kInt8, false>(emulation::FloatOfBF16);
  const uint32_t a[2] = {0x00020001, 0x00040003};
  const uint32_t b[2] = {0x00120011, 0x00140013};
  using Fragment = KvFragment<KvType::kBF16>;
  EXPECT_EQ(Fragment::Adjacent(a, 1), 0x00040003u);
  EXPECT_EQ(Fragment::Across(a, b, 0), 0x00110001u);
  EXPECT_EQ(Fragment::Across(a, b, 3), 0x00140004u);
}

}  // namespace
}  // namespace reprise::engine::cuda
