// TransposeKeys: turns the keys of a tile around, so that a vector holds one dim of many positions.
// Compiled once for each vector target.
#if defined(REPRISE_ENGINE_BACKEND_KEY_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REPRISE_ENGINE_BACKEND_KEY_TRANSPOSE_INL_H_
#undef REPRISE_ENGINE_BACKEND_KEY_TRANSPOSE_INL_H_
#else
#define REPRISE_ENGINE_BACKEND_KEY_TRANSPOSE_INL_H_
#endif

#include <cstdint>

#include "engine/backend/attention_task.h"
#include "engine/backend/kv_widen-inl.h"
#include "engine/backend/tile_ahead.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

// Lines of the next tile fetched while four vectors are turned around: half of a tile of f32.
constexpr int kFetchedLines = static_cast<int>(kLanes) / 4;

#if HWY_TARGET != HWY_SCALAR  // has no vectors of four

// The four words at byte `at` of rows 0, 4, 8 ..., one run of four after another.
template <class D>
HWY_INLINE hn::Vec<D> LoadEveryFourthRow(D d, const std::byte* const* rows, int64_t at) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::LoadU(d, reinterpret_cast<const float*>(rows[0] + at));
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, LoadEveryFourthRow(half, rows + hn::MaxLanes(half), at),
                       LoadEveryFourthRow(half, rows, at));
  }
}

// Stores the elements of a word of each position, at `to` and one tile apart.
template <class Elements>
HWY_INLINE void StoreWords(Vec words, float* HWY_RESTRICT to) {
  const F32 d;
  hn::Store(Elements::template OfWords<0>(words), d, to);
  if constexpr (Elements::kPerWord == 2) {
    hn::Store(Elements::template OfWords<1>(words), d, to + kAttentionTile);
  }
}

// Turns the four words at byte `at` of kLanes rows into whole vectors, at `to` and one tile apart.
template <class Elements>
HWY_INLINE void TransposeFour(const std::byte* const* rows, int64_t at, float* HWY_RESTRICT to) {
  constexpr int64_t kWord = Elements::kPerWord * kAttentionTile;
  const F32 d;
  const hn::Repartition<double, F32> pairs;
  const Vec r0 = LoadEveryFourthRow(d, rows, at);
  const Vec r1 = LoadEveryFourthRow(d, rows + 1, at);
  const Vec r2 = LoadEveryFourthRow(d, rows + 2, at);
  const Vec r3 = LoadEveryFourthRow(d, rows + 3, at);
  // Within each run of four: (r0[0] r1[0] r0[1] r1[1]) and so on, two elements at a time after
  // that.
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
  StoreWords<Elements>(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), to);
  StoreWords<Elements>(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), to + kWord);
  StoreWords<Elements>(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), to + 2 * kWord);
  StoreWords<Elements>(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), to + 3 * kWord);
}

#endif  // HWY_SCALAR

// keys[c][t] = element c of rows[t], for all c < head_dim and all t of the tile. REQUIRES: elements
// are f32, or head_dim is a multiple of 16.
template <class Elements>
HWY_NOINLINE void TransposeKeys(const std::byte* const* rows, int64_t head_dim, TileAhead* ahead,
                                float* HWY_RESTRICT keys) {
  int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  constexpr int64_t kStep = 4 * Elements::kPerWord;  // elements in four words
  for (; c + kStep <= head_dim; c += kStep) {
    for (int64_t t = 0; t < kAttentionTile; t += kLanes) {
      for (int line = 0; line < kFetchedLines; ++line) ahead->FetchLine();
      TransposeFour<Elements>(rows + t, c / kStep * 16, keys + c * kAttentionTile + t);
    }
  }
#endif
  for (; c < head_dim; ++c) {
    for (int64_t t = 0; t < kAttentionTile; ++t) {
      keys[c * kAttentionTile + t] = reinterpret_cast<const float*>(rows[t])[c];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#endif  // REPRISE_ENGINE_BACKEND_KEY_TRANSPOSE_INL_H_
