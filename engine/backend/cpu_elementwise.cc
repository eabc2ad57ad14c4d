#include "engine/backend/cpu_elementwise.h"

#include <cmath>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu_elementwise.cc"
// The order of these matters.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using U32 = hn::ScalableTag<uint32_t>;
using I32 = hn::ScalableTag<int32_t>;
using U16Half = hn::Rebind<uint16_t, F32>;
using Vec = hn::Vec<F32>;

// bf16 is the upper half of an f32.
void WidenBF16(const uint16_t* source, int64_t count, float* out) {
  const F32 d;
  const U32 du;
  const U16Half dh;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dh, source + i)));
    hn::StoreU(hn::BitCast(d, bits), d, out + i);
  }
  for (; i < count; ++i) {
    uint16_t upper;  // `source` need not be aligned
    std::memcpy(&upper, source + i, sizeof(upper));
    const uint32_t bits = uint32_t{upper} << 16;
    std::memcpy(out + i, &bits, sizeof(bits));
  }
}

// Scales the exponent by a product, which also makes subnormals normal.
void WidenF16(const uint16_t* source, int64_t count, float* out) {
  const F32 d;
  const U32 du;
  const U16Half dh;
  const I32 di;
  const auto scale = hn::Set(d, 0x1.0p112f);
  const auto infinite = hn::Set(du, 0x7F800000u);
  const int64_t lanes = hn::Lanes(d);
  uint16_t tail_in[HWY_MAX_BYTES / 4] = {};
  float tail_out[HWY_MAX_BYTES / 4];
  for (int64_t i = 0; i < count; i += lanes) {
    const bool whole = i + lanes <= count;
    if (!whole) std::memcpy(tail_in, source + i, (count - i) * sizeof(uint16_t));
    const auto half = hn::PromoteTo(du, hn::LoadU(dh, whole ? source + i : tail_in));
    const auto sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(du, 0x8000u)));
    const auto magnitude = hn::ShiftLeft<13>(hn::And(half, hn::Set(du, 0x7FFFu)));
    const auto scaled = hn::BitCast(du, hn::Mul(hn::BitCast(d, magnitude), scale));
    const auto special = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x0F7FFFFF));
    const auto value =
        hn::IfThenElse(hn::RebindMask(du, special), hn::Or(magnitude, infinite), scaled);
    hn::StoreU(hn::BitCast(d, hn::Or(value, sign)), d, whole ? out + i : tail_out);
    if (!whole) std::memcpy(out + i, tail_out, (count - i) * sizeof(float));
  }
}

void NarrowBF16(const float* x, int64_t count, uint16_t* out) {
  const F32 d;
  const U32 du;
  const U16Half dh;
  const I32 di;
  const int64_t lanes = hn::Lanes(d);
  float tail_in[HWY_MAX_BYTES / 4] = {};
  uint16_t tail_out[HWY_MAX_BYTES / 4];
  for (int64_t i = 0; i < count; i += lanes) {
    const bool whole = i + lanes <= count;
    if (!whole) std::memcpy(tail_in, x + i, (count - i) * sizeof(float));
    const auto v = hn::LoadU(d, whole ? x + i : tail_in);
    const auto bits = hn::BitCast(du, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu)));
    // Rounding could carry a NaN into infinity; it keeps its upper half instead, made quiet.
    const auto nan = hn::RebindMask(du, hn::IsNaN(v));
    const auto kept = hn::IfThenElse(nan, hn::Or(bits, hn::Set(du, 0x00400000u)), rounded);
    const auto upper = hn::BitCast(di, hn::ShiftRight<16>(kept));
    hn::StoreU(hn::DemoteTo(dh, upper), dh, whole ? out + i : tail_out);
    if (!whole) std::memcpy(out + i, tail_out, (count - i) * sizeof(uint16_t));
  }
}

void ScaleRange(float* x, float factor, int64_t count) {
  const F32 d;
  const int64_t lanes = hn::Lanes(d);
  const auto factors = hn::Set(d, factor);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), factors), d, x + i);
  }
  for (; i < count; ++i) x[i] *= factor;
}

void AddRange(float* HWY_RESTRICT x, const float* HWY_RESTRICT y, int64_t count) {
  const F32 d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, x + i);
  }
  for (; i < count; ++i) x[i] += y[i];
}

void AddScaledRange(const float* HWY_RESTRICT y, float scale, int64_t count,
                    float* HWY_RESTRICT x) {
  const F32 d;
  const int64_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(hn::MulAdd(factor, hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, x + i);
  }
  for (; i < count; ++i) x[i] += scale * y[i];
}

// Sum of f(x[i]) over a row: lanes first, then across, then the tail.
template <typename VecFn, typename ScalarFn>
HWY_INLINE float RowSum(const float* x, int64_t cols, const VecFn& vec_fn,
                        const ScalarFn& scalar_fn) {
  const F32 d;
  const int64_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= cols; i += 2 * lanes) {
    sum0 = hn::Add(sum0, vec_fn(hn::LoadU(d, x + i)));
    sum1 = hn::Add(sum1, vec_fn(hn::LoadU(d, x + i + lanes)));
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; i < cols; ++i) sum += scalar_fn(x[i]);
  return sum;
}

void RmsNormRange(const float* x, int64_t rows, int64_t cols, const float* weight, float epsilon,
                  float* out) {
  const F32 d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t r = 0; r < rows; ++r, x += cols, out += cols) {
    const float squares = RowSum(
        x, cols, [](auto v) HWY_ATTR { return hn::Mul(v, v); }, [](float v) { return v * v; });
    const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(cols) + epsilon);
    const auto scale = hn::Set(d, inverse);
    int64_t i = 0;
    for (; i + lanes <= cols; i += lanes) {
      const auto normal = hn::Mul(hn::LoadU(d, x + i), scale);
      hn::StoreU(hn::Mul(normal, hn::LoadU(d, weight + i)), d, out + i);
    }
    for (; i < cols; ++i) out[i] = x[i] * inverse * weight[i];
  }
}

void LayerNormRange(const float* x, int64_t rows, int64_t cols, const float* weight,
                    const float* bias, float epsilon, float* out) {
  const F32 d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t r = 0; r < rows; ++r, x += cols, out += cols) {
    const float mean = RowSum(
                           x, cols, [](auto v) HWY_ATTR { return v; }, [](float v) { return v; }) /
                       static_cast<float>(cols);
    const auto center = hn::Set(d, mean);
    const float squares = RowSum(
        x, cols,
        [center](auto v) HWY_ATTR {
          const auto off = hn::Sub(v, center);
          return hn::Mul(off, off);
        },
        [mean](float v) { return (v - mean) * (v - mean); });
    const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(cols) + epsilon);
    const auto scale = hn::Set(d, inverse);
    int64_t i = 0;
    for (; i + lanes <= cols; i += lanes) {
      const auto normal = hn::Mul(hn::Sub(hn::LoadU(d, x + i), center), scale);
      hn::StoreU(hn::MulAdd(normal, hn::LoadU(d, weight + i), hn::LoadU(d, bias + i)), d, out + i);
    }
    for (; i < cols; ++i) out[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
  }
}

// One head: first' = first c - second s, second' = second c + first s, over `half` pairs.
void RotateHead(float* HWY_RESTRICT first, float* HWY_RESTRICT second,
                const float* HWY_RESTRICT cosines, const float* HWY_RESTRICT sines, int64_t half) {
  const F32 d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const auto a = hn::LoadU(d, first + i);
    const auto b = hn::LoadU(d, second + i);
    const auto c = hn::LoadU(d, cosines + i);
    const auto s = hn::LoadU(d, sines + i);
    hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), d, first + i);
    hn::StoreU(hn::Add(hn::Mul(b, c), hn::Mul(a, s)), d, second + i);
  }
  for (; i < half; ++i) {
    const float a = first[i];
    const float b = second[i];
    first[i] = a * cosines[i] - b * sines[i];
    second[i] = b * cosines[i] + a * sines[i];
  }
}

std::string VectorArithmeticOfTarget() {
  return absl::StrCat(hn::Lanes(hn::ScalableTag<float>()), " lanes",
                      HWY_NATIVE_FMA ? ", fused" : "");
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cachestore/base/check.h"
#include "engine/backend/cpu_parallel.h"

namespace reprise::engine {

HWY_EXPORT(WidenBF16);
HWY_EXPORT(WidenF16);
HWY_EXPORT(NarrowBF16);
HWY_EXPORT(ScaleRange);
HWY_EXPORT(AddRange);
HWY_EXPORT(AddScaledRange);
HWY_EXPORT(RmsNormRange);
HWY_EXPORT(LayerNormRange);
HWY_EXPORT(RotateHead);
HWY_EXPORT(VectorArithmeticOfTarget);

namespace {

// Elements below which a second thread costs more than it saves.
constexpr int64_t kParallelElements = 32 * 1024;

uint16_t RoundToF16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // rounds past 65504
  if (magnitude < 0x38800000u) {
    // Subnormal: adding 0.5 leaves the f16 mantissa, rounded, in the low bits.
    float shifted;
    std::memcpy(&shifted, &magnitude, sizeof(shifted));
    shifted += 0.5f;
    std::memcpy(&bits, &shifted, sizeof(bits));
    return static_cast<uint16_t>(sign | (bits - 0x3F000000u));
  }
  const uint32_t odd = (magnitude >> 13) & 1;
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13));
}

}  // namespace

std::string VectorArithmetic() { return HWY_DYNAMIC_DISPATCH(VectorArithmeticOfTarget)(); }

void Widen(const void* source, ElementType type, int64_t count, float* out) {
  switch (type) {
    case ElementType::kF32:
      std::memcpy(out, source, count * sizeof(float));
      return;
    case ElementType::kBF16:
      HWY_DYNAMIC_DISPATCH(WidenBF16)(static_cast<const uint16_t*>(source), count, out);
      return;
    case ElementType::kF16:
      HWY_DYNAMIC_DISPATCH(WidenF16)(static_cast<const uint16_t*>(source), count, out);
      return;
  }
}

void NarrowToBF16(const float* x, int64_t count, uint16_t* out) {
  HWY_DYNAMIC_DISPATCH(NarrowBF16)(x, count, out);
}

void NarrowToF16(const float* x, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = RoundToF16(x[i]);
}

void ScaleInPlace(float* x, float factor, int64_t count) {
  ParallelRanges(count, 1, kParallelElements, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(ScaleRange)(x + begin, factor, end - begin);
  });
}

void AddInPlace(float* x, const float* y, int64_t count) {
  ParallelRanges(count, 1, kParallelElements, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddRange)(x + begin, y + begin, end - begin);
  });
}

void AddScaledTo(Activations y, absl::Span<const int64_t> rows, absl::Span<const float> scales,
                 Activations x) {
  CHECK(y.rows == static_cast<int64_t>(rows.size()) && scales.size() == rows.size());
  CHECK(x.cols == y.cols);
  ParallelRanges(y.rows, y.cols, kParallelElements, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      CHECK(rows[i] >= 0 && rows[i] < x.rows);
      HWY_DYNAMIC_DISPATCH(AddScaledRange)(y.row(i), scales[i], y.cols, x.row(rows[i]));
    }
  });
}

void RmsNormRows(Activations x, const float* weight, float epsilon, Activations out) {
  ParallelRanges(x.rows, x.cols, kParallelElements, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(RmsNormRange)
    (x.row(begin), end - begin, x.cols, weight, epsilon, out.row(begin));
  });
}

void LayerNormRows(Activations x, const float* weight, const float* bias, float epsilon,
                   Activations out) {
  ParallelRanges(x.rows, x.cols, kParallelElements, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(LayerNormRange)
    (x.row(begin), end - begin, x.cols, weight, bias, epsilon, out.row(begin));
  });
}

void RotateRows(Activations x, int64_t head_dim, const RopeTable& table,
                absl::Span<const int32_t> positions) {
  const int64_t half = table.rotary_dim() / 2;
  ParallelRanges(x.rows, x.cols, kParallelElements, [&](int, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      CHECK(positions[r] >= 0 && positions[r] < table.num_positions());
      const float* cosines = table.cosines(positions[r]);
      const float* sines = table.sines(positions[r]);
      for (int64_t head = 0; head < x.cols; head += head_dim) {
        float* first = x.row(r) + head;
        HWY_DYNAMIC_DISPATCH(RotateHead)
        (first, first + half, cosines, sines, half);
      }
    }
  });
}

}  // namespace reprise::engine
#endif  // HWY_ONCE
