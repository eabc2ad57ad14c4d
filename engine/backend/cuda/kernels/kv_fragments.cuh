// KV elements as operands of the tensor cores: pairs of 16-bit numbers out of the 32-bit words that
// a row was loaded in, without a table.
//
//     bf16, f16  as they are
//     e4m3       f16 numbers, where the card converts; else 2^-8 as large: the same bits one place
//                further right. NaN stays NaN.
//     int8       bf16 numbers, exact: (128 + low seven bits) - (128 or, when negative, 256)
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

// Two bytes of e4m3, in the high byte of each half.
REPRISE_DEVICE uint32_t PairOfE4M3(uint32_t codes) {
  const uint32_t magnitudes = codes & 0x7F007F00u;
  const uint32_t nan = (magnitudes + 0x01000100u) & 0x80008000u;  // carried out of 0x7F only
  return (magnitudes | nan) >> 1 | (codes & 0x80008000u);
}

// Two bytes of int8, in the low byte of each half.
REPRISE_DEVICE uint32_t PairOfInt8(uint32_t codes) {
  return AddBF16x2(MaskedOr(codes, 0x007F007Fu, 0x43004300u),
                   MaskedOr(codes, 0x00800080u, 0xC300C300u));
}

template <KvType kType, bool kConverts = kConvertsE4M3>
struct KvFragment {
  static_assert(kType == KvType::kBF16 || kType == KvType::kF16 || kType == KvType::kE4M3 ||
                kType == KvType::kInt8);
  static constexpr bool kIs16Bit = kType == KvType::kBF16 || kType == KvType::kF16;
  static constexpr int kElementBytes = kIs16Bit ? 2 : 1;
  static constexpr bool kHasScales = kType == KvType::kInt8;
  // What an operand must be multiplied by to be the element (before its scale).
  static constexpr float kFactor = kType == KvType::kE4M3 && !kConverts ? 256.0f : 1.0f;

  // Elements 2 i and 2 i + 1 of the row in `words`.
  static REPRISE_DEVICE uint32_t Adjacent(const uint32_t* words, int i) {
    if constexpr (kIs16Bit) return words[i];
    return Pair(words[i / 2], 0, i % 2 * 2, i % 2 * 2 + 1);
  }

  // Element i of row `a` and element i of row `b`.
  static REPRISE_DEVICE uint32_t Across(const uint32_t* a, const uint32_t* b, int i) {
    if constexpr (kIs16Bit) {
      return BytePermute(a[i / 2], b[i / 2], i % 2 == 0 ? 0x5410 : 0x7632);
    }
    return Pair(a[i / 4], b[i / 4], i % 4, 4 + i % 4);
  }

  // Bytes `which` and `which` + 2 of a word: elements of 8 bits that ldmatrix transposed in pairs.
  static REPRISE_DEVICE uint32_t Alternate(uint32_t word, int which) {
    static_assert(!kIs16Bit);
    return Pair(word, 0, which, which + 2);
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

 private:
  // The elements in bytes i and j of low (0 to 3) and high (4 to 7).
  static REPRISE_DEVICE uint32_t Pair(uint32_t low, uint32_t high, uint32_t i, uint32_t j) {
    if constexpr (kType == KvType::kInt8) return PairOfInt8(BytePermute(low, high, j << 8 | i));
    if constexpr (kConverts) return F16OfE4M3(BytePermute(low, high, j << 4 | i));
    return PairOfE4M3(BytePermute(low, high, j << 12 | i << 4));
  }
};

}  // namespace reprise::engine::cuda
