// Elements of KV rows that need no scale, as vectors of f32. Compiled once for each vector target.
//
// A word is 32 bits of a row: one f32, or two neighbouring elements of 16 bits.
#if defined(REPRISE_ENGINE_BACKEND_KV_WIDEN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REPRISE_ENGINE_BACKEND_KV_WIDEN_INL_H_
#undef REPRISE_ENGINE_BACKEND_KV_WIDEN_INL_H_
#else
#define REPRISE_ENGINE_BACKEND_KV_WIDEN_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::CappedTag<float, 16>;
using U32 = hn::Rebind<uint32_t, F32>;
using F16 = hn::Rebind<hwy::float16_t, F32>;
using U16 = hn::Rebind<uint16_t, F32>;
using Vec = hn::Vec<F32>;

constexpr int64_t kLanes = hn::MaxLanes(F32());

struct F32Elements {
  static constexpr int64_t kPerWord = 1;

  // Elements [0, kLanes) at `from`.
  static HWY_INLINE Vec Load(const std::byte* from) {
    return hn::LoadU(F32(), reinterpret_cast<const float*>(from));
  }
  // Element `i` of each word.
  template <int i>
  static HWY_INLINE Vec OfWords(Vec words) {
    return words;
  }
};

struct F16Elements {
  static constexpr int64_t kPerWord = 2;

  static HWY_INLINE Vec Load(const std::byte* from) {
    return Widen(hn::LoadU(U16(), reinterpret_cast<const uint16_t*>(from)));
  }
  template <int i>
  static HWY_INLINE Vec OfWords(Vec words) {
    const auto bits = hn::BitCast(U32(), words);
    if constexpr (i == 0) return Widen(hn::TruncateTo(U16(), bits));
    return Widen(hn::TruncateTo(U16(), hn::ShiftRight<16>(bits)));
  }

 private:
  static HWY_INLINE Vec Widen(hn::Vec<U16> bits) {
    const F32 d;
    const Vec value = hn::PromoteTo(d, hn::BitCast(F16(), bits));
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2  // has an instruction for it
    return value;
#else
    // Blocks hold no infinity, and not every target tells NaN from a number beyond the largest.
    return hn::IfThenElse(hn::Le(hn::Abs(value), hn::Set(d, 65504.0f)), value, hn::NaN(d));
#endif
  }
};

struct BF16Elements {
  static constexpr int64_t kPerWord = 2;

  static HWY_INLINE Vec Load(const std::byte* from) {
    const auto upper = hn::LoadU(U16(), reinterpret_cast<const uint16_t*>(from));
    return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), upper)));
  }
  template <int i>
  static HWY_INLINE Vec OfWords(Vec words) {
    const auto bits = hn::BitCast(U32(), words);
    if constexpr (i == 0) return hn::BitCast(F32(), hn::ShiftLeft<16>(bits));
    return hn::BitCast(F32(), hn::And(bits, hn::Set(U32(), 0xFFFF0000u)));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#endif  // REPRISE_ENGINE_BACKEND_KV_WIDEN_INL_H_
