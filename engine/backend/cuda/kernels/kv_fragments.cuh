// KV elements as operands of the tensor cores: pairs of 16-bit numbers out of the 32-bit words that
// a row was loaded in, without a table and without a conversion unit, the same on every card.
//
//     bf16, f16  as they are
//     e4m3       f16 numbers 2^-8 as large: the same bits one place further right. NaN stays NaN.
//     int8       bf16 numbers, exact: (128 + low seven bits) - (128 or, when negative, 256)
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

// Two bytes of e4m3, in the high byte of each half.
REPRISE_DEVICE uint32_t PairOfE4M3(uint32_t codes) {
  const uint32_t magnitudes = codes & 0x7F007F00u;
  const uint32_t nan = (magnitudes + 0x01000100u) & 0x80008000u;  // carried out of 0x7F only
  return magnitudes >> 1 | (codes & 0x80008000u) | nan >> 1;
}

// Two bytes of int8, in the low byte of each half.
REPRISE_DEVICE uint32_t PairOfInt8(uint32_t codes) {
  return AddBF16x2((codes & 0x007F007Fu) | 0x43004300u, (codes & 0x00800080u) | 0xC300C300u);
}

template <KvType kType>
struct KvFragment {
  static_assert(kType == KvType::kBF16 || kType == KvType::kF16 || kType == KvType::kE4M3 ||
                kType == KvType::kInt8);
  static constexpr bool kIs16Bit = kType == KvType::kBF16 || kType == KvType::kF16;
  static constexpr int kElementBytes = kIs16Bit ? 2 : 1;
  static constexpr bool kHasScales = kType == KvType::kInt8;
  // What an operand must be multiplied by to be the element (before its scale).
  static constexpr float kFactor = kType == KvType::kE4M3 ? 256.0f : 1.0f;

  // Elements 2 i and 2 i + 1 of the row in `words`.
  static REPRISE_DEVICE uint32_t Adjacent(const uint32_t* words, int i) {
    if constexpr (kIs16Bit) return words[i];
    const uint32_t word = words[i / 2];
    if constexpr (kType == KvType::kE4M3) {
      return PairOfE4M3(BytePermute(word, 0, i % 2 == 0 ? 0x1000 : 0x3020));
    }
    return PairOfInt8(BytePermute(word, 0, i % 2 == 0 ? 0x0100 : 0x0302));
  }

  // Element i of row `a` and element i of row `b`.
  static REPRISE_DEVICE uint32_t Across(const uint32_t* a, const uint32_t* b, int i) {
    if constexpr (kIs16Bit) {
      return BytePermute(a[i / 2], b[i / 2], i % 2 == 0 ? 0x5410 : 0x7632);
    }
    const uint32_t k = i % 4;
    if constexpr (kType == KvType::kE4M3) {
      return PairOfE4M3(BytePermute(a[i / 4], b[i / 4], (4 + k) << 12 | k << 4));
    }
    return PairOfInt8(BytePermute(a[i / 4], b[i / 4], (4 + k) << 8 | k));
  }

  // Bytes `which` and `which` + 2 of a word: elements of 8 bits that ldmatrix transposed in pairs.
  static REPRISE_DEVICE uint32_t Alternate(uint32_t word, int which) {
    static_assert(!kIs16Bit);
    const uint32_t k = which;
    if constexpr (kType == KvType::kE4M3) {
      return PairOfE4M3(BytePermute(word, 0, (2 + k) << 12 | k << 4));
    }
    return PairOfInt8(BytePermute(word, 0, (2 + k) << 8 | k));
  }

  // Two numbers in the type that elements are multiplied in, within its range.
  static REPRISE_DEVICE uint32_t Pack(float low, float high) {
    if constexpr (kType == KvType::kF16 || kType == KvType::kE4M3) return PackF16(low, high);
    return PackBF16(low, high);
  }
  // For numbers of any size: beyond f16's largest comes that.
  static REPRISE_DEVICE uint32_t PackBounded(float low, float high) {
    if constexpr (kType == KvType::kF16 || kType == KvType::kE4M3) {
      constexpr float kMost = 65504.0f;
      low = low > kMost ? kMost : low < -kMost ? -kMost : low;
      high = high > kMost ? kMost : high < -kMost ? -kMost : high;
    }
    return Pack(low, high);
  }

  // C += A B.
  static REPRISE_DEVICE void MultiplyAdd(const uint32_t a[4], const uint32_t b[2], float c[4]) {
    if constexpr (kType == KvType::kF16 || kType == KvType::kE4M3) {
      MultiplyAddF16(a, b, c);
    } else {
      MultiplyAddBF16(a, b, c);
    }
  }
};

}  // namespace reprise::engine::cuda
