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
#include "engine/backend/tile_ahead.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::CappedTag<float, 16>;
using Vec = hn::Vec<F32>;

constexpr int64_t kLanes = hn::MaxLanes(F32());
// Lines of the next tile fetched while four vectors are turned around: half of a tile of f32.
constexpr int kFetchedLines = static_cast<int>(kLanes) / 4;

#if HWY_TARGET != HWY_SCALAR  // has no vectors of four

// Elements [c, c + 4) of rows 0, 4, 8 ..., one run of four after another.
template <class D>
HWY_INLINE hn::Vec<D> LoadEveryFourthRow(D d, const float* const* rows, int64_t c) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::LoadU(d, rows[0] + c);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, LoadEveryFourthRow(half, rows + hn::MaxLanes(half), c),
                       LoadEveryFourthRow(half, rows, c));
  }
}

// Turns elements [c, c + 4) of kLanes rows into four whole vectors, at `to` and one tile apart.
HWY_INLINE void TransposeFour(const float* const* rows, int64_t c, float* HWY_RESTRICT to) {
  const F32 d;
  const hn::Repartition<double, F32> pairs;
  const Vec r0 = LoadEveryFourthRow(d, rows, c);
  const Vec r1 = LoadEveryFourthRow(d, rows + 1, c);
  const Vec r2 = LoadEveryFourthRow(d, rows + 2, c);
  const Vec r3 = LoadEveryFourthRow(d, rows + 3, c);
  // Within each run of four: (r0[0] r1[0] r0[1] r1[1]) and so on, two elements at a time after
  // that.
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
  hn::Store(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, to);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, to + kAttentionTile);
  hn::Store(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, to + 2 * kAttentionTile);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, to + 3 * kAttentionTile);
}

#endif  // HWY_SCALAR

// keys[c][t] = rows[t][c], for all c < head_dim and all t of the tile.
HWY_NOINLINE void TransposeKeys(const float* const* rows, int64_t head_dim, TileAhead* ahead,
                                float* HWY_RESTRICT keys) {
  int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; c + 4 <= head_dim; c += 4) {
    for (int64_t t = 0; t < kAttentionTile; t += kLanes) {
      for (int line = 0; line < kFetchedLines; ++line) ahead->FetchLine();
      TransposeFour(rows + t, c, keys + c * kAttentionTile + t);
    }
  }
#endif
  for (; c < head_dim; ++c) {
    for (int64_t t = 0; t < kAttentionTile; ++t) keys[c * kAttentionTile + t] = rows[t][c];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#endif  // REPRISE_ENGINE_BACKEND_KEY_TRANSPOSE_INL_H_
