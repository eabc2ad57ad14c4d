#include <algorithm>
#include <cstring>

#include "engine/backend/kv_codec.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/kv_decode.cc"
// The order of these matters.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/kv_widen-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

using cachestore::DType;
using I32 = hn::Rebind<int32_t, F32>;
using I8 = hn::Rebind<int8_t, F32>;
using U8 = hn::Rebind<uint8_t, F32>;

constexpr int64_t kGroup = 32;  // elements that share an int4 scale

float WidenScale(const std::byte* scale) {
  uint16_t upper;
  std::memcpy(&upper, scale, sizeof(upper));
  const uint32_t bits = uint32_t{upper} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// out[c] = load(address of element c) for whole vectors; the last one from a copy, since what comes
// behind the row need not be readable.
template <typename Load>
HWY_INLINE void DecodeVectors(const std::byte* from, int64_t element_bytes, int64_t head_dim,
                              float* HWY_RESTRICT out, const Load& load) {
  const F32 d;
  int64_t c = 0;
  for (; c + kLanes <= head_dim; c += kLanes) {
    hn::Store(load(from + c * element_bytes), d, out + c);
  }
  if (c >= head_dim) return;
  std::byte tail[kLanes * sizeof(float)] = {};
  std::memcpy(tail, from + c * element_bytes, (head_dim - c) * element_bytes);
  hn::Store(load(tail), d, out + c);
}

// The same bits one place further right are an f16 2^-8 as large; 480 would be NaN's.
HWY_INLINE Vec LoadE4M3(const std::byte* from) {
  const F32 d;
  const U16 d16;
  const auto code = hn::PromoteTo(d16, hn::LoadU(U8(), reinterpret_cast<const uint8_t*>(from)));
  const auto sign = hn::ShiftLeft<8>(hn::And(code, hn::Set(d16, 0x80)));
  const auto magnitude = hn::ShiftLeft<7>(hn::And(code, hn::Set(d16, 0x7F)));
  const auto half = hn::BitCast(F16(), hn::Or(sign, magnitude));
  const Vec value = hn::Mul(hn::PromoteTo(d, half), hn::Set(d, 256.0f));
  return hn::IfThenElse(hn::Eq(hn::Abs(value), hn::Set(d, 480.0f)), hn::NaN(d), value);
}

HWY_INLINE Vec LoadInt8(const std::byte* from, Vec scale) {
  const auto code = hn::LoadU(I8(), reinterpret_cast<const int8_t*>(from));
  return hn::Mul(hn::ConvertTo(F32(), hn::PromoteTo(I32(), code)), scale);
}

// `half` bytes of a group, a multiple of the vector's lanes, hold 2 x half elements. (code - 8) x
// scale has few enough bits to be exact however it is computed.
HWY_INLINE void DecodeHalves(const std::byte* from, int64_t half, float scale, float* low_out,
                             float* high_out) {
  const F32 d;
  const I32 di;
  const Vec factor = hn::Set(d, scale);
  const Vec offset = hn::Set(d, -8 * scale);
  for (int64_t j = 0; j < half; j += kLanes) {
    const auto pair =
        hn::PromoteTo(di, hn::LoadU(U8(), reinterpret_cast<const uint8_t*>(from) + j));
    const auto low = hn::ConvertTo(d, hn::And(pair, hn::Set(di, 15)));
    const auto high = hn::ConvertTo(d, hn::ShiftRight<4>(pair));
    hn::StoreU(hn::MulAdd(low, factor, offset), d, low_out + j);
    hn::StoreU(hn::MulAdd(high, factor, offset), d, high_out + j);
  }
}

HWY_INLINE void DecodeInt4(const std::byte* from, const std::byte* scales, int64_t head_dim,
                           float* HWY_RESTRICT out) {
  int64_t c = 0;
  for (; c + kGroup <= head_dim; c += kGroup, scales += 2) {
    DecodeHalves(from + c / 2, kGroup / 2, WidenScale(scales), out + c, out + c + kGroup / 2);
  }
  if (c == head_dim) return;
  const int64_t half = (head_dim - c) / 2;
  std::byte bytes[kGroup / 2] = {};
  float low[kGroup / 2];
  float high[kGroup / 2];
  std::memcpy(bytes, from + c / 2, half);
  DecodeHalves(bytes, kGroup / 2, WidenScale(scales), low, high);
  std::memcpy(out + c, low, half * sizeof(float));
  std::memcpy(out + c + half, high, half * sizeof(float));
}

// One dtype's loop over rows: decode(row, its scales, where to).
template <typename Decode>
HWY_INLINE void ForEachRow(const std::byte* const* elements, const std::byte* const* scales,
                           int64_t count, int64_t stride, float* out, const Decode& decode) {
  for (int64_t r = 0; r < count; ++r) decode(elements[r], scales[r], out + r * stride);
}

void DecodeRows(DType dtype, const std::byte* const* elements, const std::byte* const* scales,
                int64_t count, int64_t head_dim, int64_t stride, float* out) {
  const auto rows = [&](const auto& decode)
                        HWY_ATTR { ForEachRow(elements, scales, count, stride, out, decode); };
  // Rows of `bytes` an element without scales.
  const auto plain = [&](int64_t bytes, const auto& load) HWY_ATTR {
    rows([&](const std::byte* from, const std::byte*, float* to)
             HWY_ATTR { DecodeVectors(from, bytes, head_dim, to, load); });
  };
  switch (dtype) {
    case DType::kF32:
      return plain(4, [](const std::byte* p) HWY_ATTR { return F32Elements::Load(p); });
    case DType::kF16:
      return plain(2, [](const std::byte* p) HWY_ATTR { return F16Elements::Load(p); });
    case DType::kBF16:
      return plain(2, [](const std::byte* p) HWY_ATTR { return BF16Elements::Load(p); });
    case DType::kF8E4M3:
      return plain(1, [](const std::byte* p) HWY_ATTR { return LoadE4M3(p); });
    case DType::kInt8:
      return rows([&](const std::byte* from, const std::byte* scale, float* to) HWY_ATTR {
        const Vec factor = hn::Set(F32(), WidenScale(scale));
        DecodeVectors(from, 1, head_dim, to,
                      [factor](const std::byte* p) HWY_ATTR { return LoadInt8(p, factor); });
      });
    case DType::kInt4:
      return rows([&](const std::byte* from, const std::byte* scale, float* to)
                      HWY_ATTR { DecodeInt4(from, scale, head_dim, to); });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace reprise::engine {

HWY_EXPORT(DecodeRows);

void DecodeKvRows(cachestore::DType dtype, const std::byte* const* elements,
                  const std::byte* const* scales, int64_t count, int64_t head_dim, int64_t stride,
                  float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeRows)(dtype, elements, scales, count, head_dim, stride, out);
}

}  // namespace reprise::engine
#endif  // HWY_ONCE
