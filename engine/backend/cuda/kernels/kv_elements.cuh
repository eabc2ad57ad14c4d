// One token's keys or values of one kv head, as numbers and as bytes of a block: the formats, and
// the bits, of engine/backend/kv_codec.h.
//
// EncodeRow: one warp, a row [head_dim] of f32 (4 head_dim bytes read), row_bytes + scales_bytes
// written; about 10 operations an element. Memory is the limit.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

inline constexpr int kScaleGroup = 32;  // elements that share an int4 scale
inline constexpr uint16_t kNanScale = 0x7FC0;

REPRISE_DEVICE float FloatOfBF16(uint16_t bits) {
  return FloatOf(static_cast<uint32_t>(bits) << 16);
}
// Scale i of a row. Byte by byte: behind an odd number of int8 elements it is not aligned.
REPRISE_DEVICE float ScaleAt(const uint8_t* scales, int i) {
  return FloatOfBF16(static_cast<uint16_t>(scales[2 * i] | scales[2 * i + 1] << 8));
}
REPRISE_DEVICE void StoreScale(uint16_t scale, uint8_t* scales, int i) {
  scales[2 * i] = static_cast<uint8_t>(scale);
  scales[2 * i + 1] = static_cast<uint8_t>(scale >> 8);
}

// The same bits one place further right are an f16 2^-8 as large; 480 would be NaN's.
REPRISE_DEVICE float FloatOfE4M3(uint8_t code) {
  const uint32_t half = (code & 0x80u) << 8 | (code & 0x7Fu) << 7;
  return (code & 0x7F) == 0x7F ? FloatOf(0x7FC00000u) : MulRn(FloatOfF16(half), 256.0f);
}

// Element c of a row of head_dim.
REPRISE_DEVICE float DecodeElement(KvType type, const uint8_t* elements, const uint8_t* scales,
                                   int head_dim, int c) {
  switch (type) {
    case KvType::kF32:
      return reinterpret_cast<const float*>(elements)[c];
    case KvType::kF16: {
      const uint16_t bits = reinterpret_cast<const uint16_t*>(elements)[c];
      // Blocks hold no infinity.
      return (bits & 0x7FFF) > 0x7BFF ? FloatOf(0x7FC00000u) : FloatOfF16(bits);
    }
    case KvType::kBF16:
      return FloatOfBF16(reinterpret_cast<const uint16_t*>(elements)[c]);
    case KvType::kE4M3:
      return FloatOfE4M3(elements[c]);
    case KvType::kInt8:
      return MulRn(static_cast<float>(static_cast<int8_t>(elements[c])), ScaleAt(scales, 0));
    case KvType::kInt4: {
      const int group = c / kScaleGroup;
      const int left = head_dim - group * kScaleGroup;
      const int half = (left < kScaleGroup ? left : kScaleGroup) / 2;
      const int j = c % kScaleGroup;
      const int pair = elements[group * (kScaleGroup / 2) + j % half];
      const int code = j < half ? pair & 15 : pair >> 4;
      return MulRn(static_cast<float>(code - 8), ScaleAt(scales, group));
    }
  }
  return FloatOf(0x7FC00000u);
}

REPRISE_DEVICE bool IsNan(float x) { return (BitsOf(x) & 0x7FFFFFFFu) > 0x7F800000u; }

// Comparisons with NaN are false: it passes.
REPRISE_DEVICE float Bounded(float x, float most) {
  return x > most ? most : x < -most ? -most : x;
}

REPRISE_DEVICE uint16_t EncodeF16(float x) {
  if (IsNan(x)) return static_cast<uint16_t>((BitsOf(x) >> 16 & 0x8000u) | 0x7E00u);
  return static_cast<uint16_t>(PackF16(Bounded(x, 65504.0f), 0.0f));
}

REPRISE_DEVICE uint16_t EncodeBF16(float x) {
  if (IsNan(x)) return static_cast<uint16_t>((BitsOf(x) | 0x00400000u) >> 16);
  return static_cast<uint16_t>(PackBF16(Bounded(x, FloatOf(0x7F7F0000u)), 0.0f));
}

REPRISE_DEVICE uint8_t EncodeE4M3(float x) {
  const uint32_t sign = BitsOf(x) >> 24 & 0x80u;
  const uint32_t magnitude = BitsOf(x) & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint8_t>(sign | 0x7F);
  const uint32_t bounded = magnitude < 0x43E00000u ? magnitude : 0x43E00000u;  // 448
  uint32_t code;
  if (bounded < 0x3C800000u) {
    // Steps of 2^-9: adding 2^14, whose last bit is worth that, rounds to them.
    code = BitsOf(AddRn(FloatOf(bounded), 16384.0f)) - 0x46800000u;
  } else {
    // Three bits of mantissa, and a bias of 7 instead of 127.
    code = ((bounded + (bounded >> 20 & 1) + 0x7FFFFu) >> 20) - (120u << 3);
  }
  return static_cast<uint8_t>(sign | code);
}

// The scale of a group whose largest magnitude has the bits `largest`, for integers up to `steps`.
REPRISE_DEVICE uint16_t ScaleOf(int largest, float steps) {
  if (largest >= 0x7F800000) return kNanScale;
  const uint32_t exact = BitsOf(DivRn(FloatOf(static_cast<uint32_t>(largest)), steps));
  // Subnormal scales are no scales: their elements would lose more than half a step.
  return exact < 0x00800000u ? 0 : static_cast<uint16_t>((exact + 0xFFFFu) >> 16);
}

// x in steps of the scale; 0 where there is none.
REPRISE_DEVICE int StepsOf(float x, uint16_t scale, float most) {
  if (scale == 0 || scale == kNanScale) return 0;
  return RoundToInt(Min(Max(DivRn(x, FloatOfBF16(scale)), -most), most));
}

// The bits of the largest magnitude among the lanes; NaN and infinity above every number.
REPRISE_DEVICE int WarpLargest(int bits) {
  for (int mask = kLanes / 2; mask > 0; mask /= 2) {
    const int other = ShuffleXor(bits, mask);
    bits = other > bits ? other : bits;
  }
  return bits;
}

// x[c] is element c; read by all lanes, in any order. By one warp.
template <typename Row>
REPRISE_DEVICE void EncodeInt8Row(const Row& x, int head_dim, uint8_t* elements, uint8_t* scales) {
  int largest = 0;
  for (int c = Lane(); c < head_dim; c += kLanes) {
    const int bits = static_cast<int>(BitsOf(x[c]) & 0x7FFFFFFFu);
    largest = bits > largest ? bits : largest;
  }
  const uint16_t scale = ScaleOf(WarpLargest(largest), 127);
  if (Lane() == 0) StoreScale(scale, scales, 0);
  for (int c = Lane(); c < head_dim; c += kLanes) {
    elements[c] = static_cast<uint8_t>(StepsOf(x[c], scale, 127));
  }
}

// A group is as wide as a warp.
template <typename Row>
REPRISE_DEVICE void EncodeInt4Row(const Row& x, int head_dim, uint8_t* elements, uint8_t* scales) {
  for (int begin = 0; begin < head_dim; begin += kScaleGroup) {
    const int left = head_dim - begin;
    const int half = (left < kScaleGroup ? left : kScaleGroup) / 2;
    const float value = Lane() < 2 * half ? x[begin + Lane()] : 0.0f;
    const uint16_t scale = ScaleOf(WarpLargest(static_cast<int>(BitsOf(value) & 0x7FFFFFFFu)), 7);
    const int code = StepsOf(value, scale, 7) + 8;
    const int upper = ShuffleFrom(code, (Lane() + half) % kLanes);
    if (Lane() == 0) StoreScale(scale, scales, begin / kScaleGroup);
    if (Lane() < half) elements[begin / 2 + Lane()] = static_cast<uint8_t>(code | upper << 4);
  }
}

// Writes head_dim elements and their scales. By one warp.
template <typename Row>
REPRISE_DEVICE void EncodeRow(KvType type, const Row& x, int head_dim, uint8_t* elements,
                              uint8_t* scales) {
  if (type == KvType::kInt8) return EncodeInt8Row(x, head_dim, elements, scales);
  if (type == KvType::kInt4) return EncodeInt4Row(x, head_dim, elements, scales);
  for (int c = Lane(); c < head_dim; c += kLanes) {
    if (type == KvType::kF32) reinterpret_cast<float*>(elements)[c] = x[c];
    if (type == KvType::kF16) reinterpret_cast<uint16_t*>(elements)[c] = EncodeF16(x[c]);
    if (type == KvType::kBF16) reinterpret_cast<uint16_t*>(elements)[c] = EncodeBF16(x[c]);
    if (type == KvType::kE4M3) elements[c] = EncodeE4M3(x[c]);
  }
}

}  // namespace reprise::engine::cuda
