// What a row of KV reads back as after it was kept in a dtype: by the definition of the formats, in
// plain arithmetic on numbers, not on bits. Independent of the code that it is compared with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "cachestore/block/kv_layout.h"

namespace reprise::engine {

// `x` rounded to the nearest multiple, ties to the even one, of the last place of a binary float
// with `digits` significant digits whose smallest normal number is 2^least_exponent; no larger than
// `most`.
inline float RoundToFloat(float x, int digits, int least_exponent, double most) {
  if (std::isnan(x)) return x;
  if (std::isinf(x)) return static_cast<float>(std::copysign(most, x));
  int exponent = 0;
  std::frexp(x, &exponent);  // |x| in [2^(exponent - 1), 2^exponent)
  const double place = std::ldexp(1.0, std::max(exponent - 1, least_exponent) - (digits - 1));
  const double rounded = std::nearbyint(x / place) * place;
  return static_cast<float>(std::clamp(rounded, -most, most));
}

// The scale of a group for integers up to `steps`: the largest magnitude over steps, rounded up to
// 8 significant digits; 0 when that would be subnormal, NaN when the group is not finite.
inline float ReferenceScale(const float* x, int64_t count, float steps) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(x[i])) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, std::abs(x[i]));
  }
  const float exact = largest / steps;
  if (exact < std::numeric_limits<float>::min()) return 0;
  int exponent = 0;
  std::frexp(exact, &exponent);
  const double place = std::ldexp(1.0, exponent - 8);
  return static_cast<float>(std::ceil(exact / place) * place);
}

inline void RoundToSteps(float* x, int64_t count, float steps) {
  const float scale = ReferenceScale(x, count, steps);
  for (int64_t i = 0; i < count; ++i) {
    if (scale == 0) {
      x[i] = 0;
    } else {
      x[i] = std::clamp(std::nearbyint(x[i] / scale), -steps, steps) * scale;
    }
  }
}

inline std::vector<float> ReadsBackAs(std::vector<float> row, cachestore::DType dtype) {
  using cachestore::DType;
  const auto each = [&row](auto fn) { std::transform(row.begin(), row.end(), row.begin(), fn); };
  switch (dtype) {
    case DType::kF32:
      break;
    case DType::kF16:
      each([](float x) { return RoundToFloat(x, 11, -14, 65504); });
      break;
    case DType::kBF16:
      each([](float x) { return RoundToFloat(x, 8, -126, std::ldexp(255.0, 120)); });
      break;
    case DType::kF8E4M3:
      each([](float x) { return RoundToFloat(x, 4, -6, 448); });
      break;
    case DType::kInt8:
      RoundToSteps(row.data(), static_cast<int64_t>(row.size()), 127);
      break;
    case DType::kInt4:
      for (size_t c = 0; c < row.size(); c += 32) {
        RoundToSteps(row.data() + c, std::min<int64_t>(32, row.size() - c), 7);
      }
      break;
  }
  return row;
}

}  // namespace reprise::engine
