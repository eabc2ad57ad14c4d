#include <algorithm>
#include <cstring>

#include "engine/backend/kv_codec.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/kv_encode.cc"
// The order of these matters.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::CappedTag<float, 16>;
using I32 = hn::Rebind<int32_t, F32>;
using U32 = hn::Rebind<uint32_t, F32>;
using I8 = hn::Rebind<int8_t, F32>;
using U8 = hn::Rebind<uint8_t, F32>;
using Vec = hn::Vec<F32>;

constexpr int64_t kLanes = hn::MaxLanes(F32());
// Elements that share an int4 scale, and that are encoded at a time: whole vectors on every target.
constexpr int64_t kGroup = 32;
constexpr uint16_t kNanScale = 0x7FC0;

// Stores the scale of a group whose largest magnitude is `largest`, for integers up to `steps`, and
// returns it; 0 when all of the group is to be stored as 0.
float StoreScale(float largest, float steps, std::byte* out) {
  uint32_t bits;
  std::memcpy(&bits, &largest, sizeof(bits));
  uint16_t upper = kNanScale;
  if (bits < 0x7F800000u) {
    const float exact = largest / steps;
    std::memcpy(&bits, &exact, sizeof(bits));
    // Subnormal scales are no scales: their elements would lose more than half a step.
    upper = bits < 0x00800000u ? 0 : static_cast<uint16_t>((bits + 0xFFFFu) >> 16);
  }
  std::memcpy(out, &upper, sizeof(upper));
  if (upper == kNanScale) return 0;
  bits = uint32_t{upper} << 16;
  float scale;
  std::memcpy(&scale, &bits, sizeof(scale));
  return scale;
}

// The largest magnitude; NaN and infinity are larger than every number.
float LargestMagnitude(const float* x, int64_t count) {
  const F32 d;
  const U32 du;
  const I32 di;
  const auto magnitude = hn::Set(du, 0x7FFFFFFFu);
  auto largest = hn::Zero(di);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const auto bits = hn::And(hn::BitCast(du, hn::LoadU(d, x + i)), magnitude);
    largest = hn::Max(largest, hn::BitCast(di, bits));
  }
  int32_t top = hn::GetLane(hn::MaxOfLanes(di, largest));
  for (; i < count; ++i) {
    int32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    top = std::max(top, bits & 0x7FFFFFFF);
  }
  float value;
  std::memcpy(&value, &top, sizeof(value));
  return value;
}

// out[i] = x[i] / scale, rounded; all 0 for scale 0. For up to kGroup elements; sets kGroup.
HWY_INLINE void RoundGroup(const float* x, int64_t count, float scale, float steps, int8_t* out) {
  const F32 d;
  const I8 d8;
  float group[kGroup] = {};
  if (scale != 0) std::memcpy(group, x, count * sizeof(float));
  const Vec divisor = hn::Set(d, scale == 0 ? 1.0f : scale);
  const Vec most = hn::Set(d, steps);
  for (int64_t i = 0; i < kGroup; i += kLanes) {
    const Vec value = hn::Div(hn::LoadU(d, group + i), divisor);
    const Vec bounded = hn::Min(hn::Max(value, hn::Neg(most)), most);
    hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(bounded)), d8, out + i);
  }
}

void EncodeInt8(const float* row, int64_t head_dim, std::byte* elements, std::byte* scales) {
  const float scale = StoreScale(LargestMagnitude(row, head_dim), 127, scales);
  int8_t rounded[kGroup];
  for (int64_t c = 0; c < head_dim; c += kGroup) {
    const int64_t count = std::min(kGroup, head_dim - c);
    RoundGroup(row + c, count, scale, 127, rounded);
    std::memcpy(elements + c, rounded, count);
  }
}

void EncodeInt4(const float* row, int64_t head_dim, std::byte* elements, std::byte* scales) {
  int8_t rounded[kGroup];
  for (int64_t c = 0; c < head_dim; c += kGroup, scales += 2) {
    const int64_t half = std::min(kGroup, head_dim - c) / 2;
    const float scale = StoreScale(LargestMagnitude(row + c, 2 * half), 7, scales);
    RoundGroup(row + c, 2 * half, scale, 7, rounded);
    for (int64_t j = 0; j < half; ++j) {
      elements[c / 2 + j] =
          static_cast<std::byte>((rounded[j] + 8) | ((rounded[half + j] + 8) << 4));
    }
  }
}

void EncodeE4M3(const float* row, int64_t head_dim, std::byte* elements) {
  const F32 d;
  const U32 du;
  const I32 di;
  const U8 d8;
  for (int64_t c = 0; c < head_dim; c += kLanes) {
    const int64_t count = std::min(kLanes, head_dim - c);
    float in[kLanes] = {};
    uint8_t out[kLanes];
    std::memcpy(in, row + c, count * sizeof(float));
    const auto bits = hn::BitCast(du, hn::LoadU(d, in));
    const auto sign = hn::ShiftRight<24>(hn::And(bits, hn::Set(du, 0x80000000u)));
    const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFu));
    const auto nan = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x7F800000));
    const auto bounded = hn::Min(hn::BitCast(di, magnitude), hn::Set(di, 0x43E00000));  // 448
    // From 2^-6 on: three bits of mantissa, and a bias of 7 instead of 127.
    const auto odd = hn::And(hn::ShiftRight<20>(bounded), hn::Set(di, 1));
    const auto rounded = hn::Add(bounded, hn::Add(odd, hn::Set(di, 0x7FFFF)));
    const auto normal = hn::Sub(hn::ShiftRight<20>(rounded), hn::Set(di, 120 << 3));
    // Below it steps of 2^-9: adding 2^14, whose last bit is worth that, rounds to them.
    const Vec shifted = hn::Add(hn::BitCast(d, bounded), hn::Set(d, 0x1.0p14f));
    const auto small = hn::Sub(hn::BitCast(di, shifted), hn::Set(di, 0x46800000));
    const auto is_small = hn::Lt(bounded, hn::Set(di, 0x3C800000));
    const auto finite = hn::IfThenElse(is_small, small, normal);
    const auto code = hn::IfThenElse(nan, hn::Set(di, 0x7F), finite);
    hn::StoreU(hn::DemoteTo(d8, hn::Or(code, hn::BitCast(di, sign))), d8, out);
    std::memcpy(elements + c, out, count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "engine/backend/cpu_elementwise.h"

namespace reprise::engine {

HWY_EXPORT(EncodeInt8);
HWY_EXPORT(EncodeInt4);
HWY_EXPORT(EncodeE4M3);

namespace {

constexpr float kMostF16 = 65504.0f;
constexpr float kMostBF16 = 0x1.FEp127f;

// Narrows a row of 16-bit floats in pieces, none beyond `most`.
template <typename Narrow>
void EncodeHalf(const float* row, int64_t head_dim, float most, const Narrow& narrow,
                std::byte* elements) {
  constexpr int64_t kPiece = 128;
  float bounded[kPiece];
  uint16_t narrowed[kPiece];
  for (int64_t c = 0; c < head_dim; c += kPiece) {
    const int64_t count = std::min(kPiece, head_dim - c);
    // Comparisons with NaN are false: it passes.
    for (int64_t i = 0; i < count; ++i) {
      const float x = row[c + i];
      bounded[i] = x > most ? most : x < -most ? -most : x;
    }
    narrow(bounded, count, narrowed);
    std::memcpy(elements + 2 * c, narrowed, 2 * count);
  }
}

}  // namespace

void EncodeKvRow(cachestore::DType dtype, const float* row, int64_t head_dim, std::byte* elements,
                 std::byte* scales) {
  switch (dtype) {
    case cachestore::DType::kF32:
      std::memcpy(elements, row, head_dim * sizeof(float));
      return;
    case cachestore::DType::kF16:
      return EncodeHalf(row, head_dim, kMostF16, NarrowToF16, elements);
    case cachestore::DType::kBF16:
      return EncodeHalf(row, head_dim, kMostBF16, NarrowToBF16, elements);
    case cachestore::DType::kF8E4M3:
      return HWY_DYNAMIC_DISPATCH(EncodeE4M3)(row, head_dim, elements);
    case cachestore::DType::kInt8:
      return HWY_DYNAMIC_DISPATCH(EncodeInt8)(row, head_dim, elements, scales);
    case cachestore::DType::kInt4:
      return HWY_DYNAMIC_DISPATCH(EncodeInt4)(row, head_dim, elements, scales);
  }
}

}  // namespace reprise::engine
#endif  // HWY_ONCE
