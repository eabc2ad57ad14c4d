#include "engine/backend/cpu_logits.h"

#include <algorithm>
#include <limits>

#include "cachestore/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu_logits.cc"
// The order of these matters.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using Vec = hn::Vec<F32>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kRun = 1024;  // whole vectors of any length

// Calls visit(vector, index of its first value) for all of `values`. The last vector is filled up
// with `padding`.
template <class Visit>
HWY_INLINE void ForEachVector(const float* values, size_t count, float padding,
                              const Visit& visit) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) visit(hn::LoadU(d, values + i), i);
  if (i == count) return;
  HWY_ALIGN float last[HWY_MAX_BYTES / sizeof(float)];
  std::fill(std::copy(values + i, values + count, last), last + lanes, padding);
  visit(hn::Load(d, last), i);
}

// The sum of weigh(vector, index).
template <class Weigh>
HWY_INLINE double SumOf(const float* values, size_t count, float padding, const Weigh& weigh) {
  const F32 d;
  double sum = 0;
  for (size_t begin = 0; begin < count; begin += kRun) {
    Vec run = hn::Zero(d);
    ForEachVector(values + begin, std::min(kRun, count - begin), padding,
                  [&](Vec v, size_t i) { run = hn::Add(run, weigh(v, begin + i)); });
    sum += hn::GetLane(hn::SumOfLanes(d, run));
  }
  return sum;
}

LargestLogit FindLargest(const float* logits, size_t count) {
  const F32 d;
  const Vec infinity = hn::Set(d, kInfinity);
  Vec largest = hn::Set(d, -kInfinity);
  auto usable = hn::Eq(infinity, infinity);
  ForEachVector(logits, count, -kInfinity, [&](Vec v, size_t) {
    largest = hn::Max(largest, v);
    usable = hn::And(usable, hn::Lt(v, infinity));  // false for NaN, too
  });
  // Not by the largest of the lanes: Highway's emulation takes no less than the lowest finite
  // float.
  const bool any = !hn::AllFalse(d, hn::Gt(largest, hn::Set(d, -kInfinity)));
  return {hn::GetLane(hn::MaxOfLanes(d, largest)), hn::AllTrue(d, usable) && any};
}

size_t FirstAbove(const float* values, size_t begin, size_t count, float bound) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  const Vec bounds = hn::Set(d, bound);
  size_t i = begin;
  for (; i + lanes <= count; i += lanes) {
    const intptr_t first = hn::FindFirstTrue(d, hn::Gt(hn::LoadU(d, values + i), bounds));
    if (first >= 0) return i + static_cast<size_t>(first);
  }
  while (i < count && !(values[i] > bound)) ++i;
  return i;
}

HWY_INLINE Vec Weight(Vec logits, float largest, float inverse_temperature) {
  const F32 d;
  // exp of less than -104 is 0, also of -infinity.
  return hn::Exp(d, hn::Mul(hn::Sub(logits, hn::Set(d, largest)), hn::Set(d, inverse_temperature)));
}

double ExpWeights(const float* logits, size_t count, float largest, float inverse_temperature,
                  float* weights) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  return SumOf(logits, count, -kInfinity, [&](Vec v, size_t i) {
    const Vec weight = Weight(v, largest, inverse_temperature);
    if (i + lanes <= count) {
      hn::StoreU(weight, d, weights + i);
    } else {
      HWY_ALIGN float last[HWY_MAX_BYTES / sizeof(float)];
      hn::Store(weight, d, last);
      std::copy(last, last + (count - i), weights + i);
    }
    return weight;
  });
}

double SumOfExp(const float* logits, size_t count, float largest) {
  return SumOf(logits, count, -kInfinity, [&](Vec v, size_t) { return Weight(v, largest, 1); });
}

double SumFrom(const float* weights, size_t count, float least) {
  const F32 d;
  const Vec bounds = hn::Set(d, least);
  return SumOf(weights, count, 0,
               [&](Vec v, size_t) { return hn::IfThenElseZero(hn::Ge(v, bounds), v); });
}

size_t IndicesFrom(const float* weights, size_t count, float least, uint32_t* indices) {
  const F32 d;
  const hn::RebindToUnsigned<F32> du;
  const size_t lanes = hn::Lanes(d);
  const Vec bounds = hn::Set(d, least);
  size_t found = 0;
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto is_kept = hn::Ge(hn::LoadU(d, weights + i), bounds);
    found += hn::CompressBlendedStore(hn::Iota(du, static_cast<uint32_t>(i)),
                                      hn::RebindMask(du, is_kept), du, indices + found);
  }
  for (; i < count; ++i) {
    if (weights[i] >= least) indices[found++] = static_cast<uint32_t>(i);
  }
  return found;
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace reprise::engine {

HWY_EXPORT(FindLargest);
HWY_EXPORT(FirstAbove);
HWY_EXPORT(ExpWeights);
HWY_EXPORT(SumOfExp);
HWY_EXPORT(SumFrom);
HWY_EXPORT(IndicesFrom);

LargestLogit FindLargestLogit(absl::Span<const float> logits) {
  return HWY_DYNAMIC_DISPATCH(FindLargest)(logits.data(), logits.size());
}

size_t FirstAbove(absl::Span<const float> values, size_t begin, float bound) {
  return HWY_DYNAMIC_DISPATCH(FirstAbove)(values.data(), begin, values.size(), bound);
}

double ExpWeights(absl::Span<const float> logits, float largest, float inverse_temperature,
                  absl::Span<float> weights) {
  CHECK(weights.size() == logits.size());
  return HWY_DYNAMIC_DISPATCH(ExpWeights)(logits.data(), logits.size(), largest,
                                          inverse_temperature, weights.data());
}

double SumOfExp(absl::Span<const float> logits, float largest) {
  return HWY_DYNAMIC_DISPATCH(SumOfExp)(logits.data(), logits.size(), largest);
}

double SumFrom(absl::Span<const float> weights, float least) {
  return HWY_DYNAMIC_DISPATCH(SumFrom)(weights.data(), weights.size(), least);
}

size_t IndicesFrom(absl::Span<const float> weights, float least, absl::Span<uint32_t> indices) {
  CHECK(indices.size() >= weights.size());
  return HWY_DYNAMIC_DISPATCH(IndicesFrom)(weights.data(), weights.size(), least, indices.data());
}

}  // namespace reprise::engine
#endif  // HWY_ONCE
