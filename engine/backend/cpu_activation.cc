#include "engine/backend/cpu_activation.h"

#include <algorithm>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu_activation.cc"
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

// x / (1 + exp(-z)). exp is finite up to 88; beyond that the quotient is 0 to f32 anyway.
HWY_INLINE Vec TimesLogistic(F32 d, Vec x, Vec z) {
  const Vec power = hn::Exp(d, hn::Min(hn::Neg(z), hn::Set(d, 88.0f)));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), power));
}

// erfc(y) for y >= 0, as t exp(-y^2 + p(t)) with t = 1 / (1 + y / 2); p interpolates
// log(erfc(y)) + y^2 - log(t) at the Chebyshev points of t in [1/6.2, 1], to 6e-8.
HWY_INLINE Vec ErfcOfPositive(F32 d, Vec y) {
  constexpr float kP[] = {-1.2654643221320148f,  0.9989767367377076f,   0.3835867224064778f,
                          0.049630150368576785f, -0.04404776816585273f, 0.006876612024329874f,
                          -0.8035774588018345f,  1.238627809951667f,    -0.7160840895640868f,
                          0.151475659327106f};
  const Vec one = hn::Set(d, 1.0f);
  const Vec t = hn::Div(one, hn::MulAdd(hn::Set(d, 0.5f), y, one));
  Vec p = hn::Set(d, kP[9]);
  for (int i = 8; i >= 0; --i) p = hn::MulAdd(p, t, hn::Set(d, kP[i]));
  return hn::Mul(t, hn::Exp(d, hn::NegMulAdd(y, y, p)));
}

struct Silu {
  HWY_INLINE Vec operator()(F32 d, Vec x) const { return TimesLogistic(d, x, x); }
};

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)) with u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  HWY_INLINE Vec operator()(F32 d, Vec x) const {
    const Vec cube = hn::Mul(hn::Mul(x, x), x);
    const Vec inner = hn::MulAdd(cube, hn::Set(d, 0.044715f), x);
    return TimesLogistic(d, x, hn::Mul(inner, hn::Set(d, 1.5957691216057308f)));
  }
};

// x Phi(x), with Phi(-|x|) = erfc(|x| / sqrt(2)) / 2, which does not cancel for negative x.
struct GeluErf {
  HWY_INLINE Vec operator()(F32 d, Vec x) const {
    const Vec y = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678118654752f));
    const Vec tail = hn::Mul(hn::Set(d, 0.5f), ErfcOfPositive(d, y));
    const Vec phi = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(hn::Set(d, 1.0f), tail));
    return hn::Mul(x, phi);
  }
};

struct Relu {
  HWY_INLINE Vec operator()(F32 d, Vec x) const { return hn::Max(x, hn::Zero(d)); }
};

struct Capped {
  float cap;
  HWY_INLINE Vec operator()(F32 d, Vec x) const {
    const Vec caps = hn::Set(d, cap);
    return hn::Mul(caps, hn::Tanh(d, hn::Div(x, caps)));
  }
};

// Tails go through a whole vector in `scratch`, so that an element's value does not depend on where
// in its row it stands.
template <class Function>
HWY_INLINE void Apply(const Function& function, const float* x, int64_t count, float* out) {
  const F32 d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(function(d, hn::LoadU(d, x + i)), d, out + i);
  if (i == count) return;
  HWY_ALIGN float scratch[HWY_MAX_BYTES / sizeof(float)] = {};
  std::copy(x + i, x + count, scratch);
  hn::Store(function(d, hn::Load(d, scratch)), d, scratch);
  std::copy(scratch, scratch + (count - i), out + i);
}

template <class Function>
HWY_INLINE void ApplyGated(const Function& function, const float* gate, const float* up,
                           int64_t count, float* out) {
  const F32 d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const Vec value = function(d, hn::LoadU(d, gate + i));
    hn::StoreU(hn::Mul(value, hn::LoadU(d, up + i)), d, out + i);
  }
  if (i == count) return;
  HWY_ALIGN float scratch[HWY_MAX_BYTES / sizeof(float)] = {};
  std::copy(gate + i, gate + count, scratch);
  hn::Store(function(d, hn::Load(d, scratch)), d, scratch);
  for (int64_t tail = i; tail < count; ++tail) out[tail] = scratch[tail - i] * up[tail];
}

void ActivateElements(Activation activation, const float* x, int64_t count, float* out) {
  switch (activation) {
    case Activation::kGeluTanh:
      return Apply(GeluTanh(), x, count, out);
    case Activation::kGeluErf:
      return Apply(GeluErf(), x, count, out);
    case Activation::kRelu:
      return Apply(Relu(), x, count, out);
    case Activation::kSiluMul:
      return ApplyGated(Silu(), x, x + count, count, out);
    case Activation::kGeluTanhMul:
      return ApplyGated(GeluTanh(), x, x + count, count, out);
  }
}

void CapElements(float cap, int64_t count, float* x) { Apply(Capped{cap}, x, count, x); }

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cachestore/base/check.h"
#include "engine/backend/cpu_parallel.h"

namespace reprise::engine {

HWY_EXPORT(ActivateElements);
HWY_EXPORT(CapElements);

namespace {

// One element costs about as much as ten of a plain sum.
constexpr int64_t kParallelElements = 4 * 1024;

// Calls fn(first, count) for pieces of [0, count), on all threads: a single decode row is shared by
// them too.
template <typename Function>
void ForEachRun(int64_t count, const Function& fn) {
  constexpr int64_t kRun = 1024;
  ParallelRanges((count + kRun - 1) / kRun, kRun, kParallelElements,
                 [&](int, int64_t begin, int64_t end) {
                   const int64_t first = begin * kRun;
                   fn(first, std::min(end * kRun, count) - first);
                 });
}

}  // namespace

void ActivateRows(Activation activation, Activations x, Activations out) {
  const bool gated = activation == Activation::kSiluMul || activation == Activation::kGeluTanhMul;
  CHECK(x.rows == out.rows && x.cols == (gated ? 2 : 1) * out.cols);
  if (!gated) {
    return ForEachRun(x.rows * x.cols, [&](int64_t first, int64_t count) {
      HWY_DYNAMIC_DISPATCH(ActivateElements)(activation, x.data + first, count, out.data + first);
    });
  }
  ParallelRanges(x.rows, out.cols, kParallelElements, [&](int, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      HWY_DYNAMIC_DISPATCH(ActivateElements)(activation, x.row(r), out.cols, out.row(r));
    }
  });
}

void SoftCapInPlace(Activations x, float cap) {
  ForEachRun(x.rows * x.cols, [&](int64_t first, int64_t count) {
    HWY_DYNAMIC_DISPATCH(CapElements)(cap, count, x.data + first);
  });
}

}  // namespace reprise::engine
#endif  // HWY_ONCE
