// AttendPairs: one step of online softmax, for a few (row, head) pairs over a tile of positions.
// Compiled once for each vector target.
//
// The sums of kPairs pairs stay in registers while a tile's keys, then its values, pass by: each
// loaded vector is used kPairs times. Every function is told the number of pairs at compile time
// and computes a pair by the same operations whatever that number is.
#if defined(REPRISE_ENGINE_BACKEND_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REPRISE_ENGINE_BACKEND_ATTENTION_TILE_INL_H_
#undef REPRISE_ENGINE_BACKEND_ATTENTION_TILE_INL_H_
#else
#define REPRISE_ENGINE_BACKEND_ATTENTION_TILE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "engine/backend/attention_task.h"
#include "engine/backend/key_transpose-inl.h"
#include "engine/backend/kv_widen-inl.h"
#include "engine/backend/tile_ahead.h"
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

constexpr int kTileVecs = static_cast<int>(kAttentionTile / kLanes);
constexpr float kUnseen = -std::numeric_limits<float>::infinity();
// (row, head) pairs and vectors whose sums fit the registers: 24 of 32 with AVX-512, else 12 of 16.
constexpr int kPairs = 6;
constexpr int kStripVecs = kLanes == 16 ? 4 : 2;

// scores[r][t] = sum over dims of q[r][dim] keys[dim][t], for kRows pairs and all t of the tile.
template <int kRows>
HWY_NOINLINE void ScoreTile(const float* HWY_RESTRICT q, int64_t q_stride, int64_t head_dim,
                            const float* HWY_RESTRICT keys, TileAhead* ahead,
                            float* HWY_RESTRICT scores) {
  const F32 d;
  for (int strip = 0; strip < kTileVecs; strip += kStripVecs) {
    Vec sum[kRows][kStripVecs];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kStripVecs; ++v) sum[r][v] = hn::Zero(d);
    }
    const float* column = keys + strip * kLanes;
    for (int64_t c = 0; c < head_dim; ++c, column += kAttentionTile) {
      ahead->FetchLine();
      Vec key[kStripVecs];
      for (int v = 0; v < kStripVecs; ++v) key[v] = hn::Load(d, column + v * kLanes);
      for (int r = 0; r < kRows; ++r) {
        const Vec query = hn::Set(d, q[r * q_stride + c]);
        for (int v = 0; v < kStripVecs; ++v) sum[r][v] = hn::MulAdd(query, key[v], sum[r][v]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      float* to = scores + r * kAttentionTile + strip * kLanes;
      for (int v = 0; v < kStripVecs; ++v) hn::Store(sum[r][v], d, to + v * kLanes);
    }
  }
}

// sums[r][dims] += sum over t < count of p[r][t] values[t][dims], for kRows pairs and kVecs
// vectors.
template <class Elements, int kRows, int kVecs>
HWY_NOINLINE void AddValueStrip(const float* HWY_RESTRICT p, const std::byte* const* values,
                                int64_t dim, int64_t count, TileAhead* ahead,
                                float* HWY_RESTRICT sums, int64_t stride) {
  constexpr int64_t kBytes = 4 / Elements::kPerWord;
  const F32 d;
  Vec sum[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::Load(d, sums + r * stride + dim + v * kLanes);
  }
  for (int64_t t = 0; t < count; ++t) {
    ahead->FetchLine();
    Vec value[kVecs];
    for (int v = 0; v < kVecs; ++v) {
      value[v] = Elements::Load(values[t] + (dim + v * kLanes) * kBytes);
    }
    for (int r = 0; r < kRows; ++r) {
      const Vec weight = hn::Set(d, p[r * kAttentionTile + t]);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::MulAdd(weight, value[v], sum[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) hn::Store(sum[r][v], d, sums + r * stride + dim + v * kLanes);
  }
}

template <class Elements, int kRows>
HWY_INLINE void AddValues(const float* p, const std::byte* const* values, int64_t dims,
                          int64_t count, TileAhead* ahead, float* sums, int64_t stride) {
  constexpr int64_t kStrip = kStripVecs * kLanes;
  int64_t dim = 0;
  for (; dim + kStrip <= dims; dim += kStrip) {
    AddValueStrip<Elements, kRows, kStripVecs>(p, values, dim, count, ahead, sums, stride);
  }
  for (; dim < dims; dim += kLanes) {
    AddValueStrip<Elements, kRows, 1>(p, values, dim, count, ahead, sums, stride);
  }
}

// scores = cap x tanh(scores / cap), of `rows` pairs.
HWY_NOINLINE void CapScores(float cap, int64_t rows, float* HWY_RESTRICT scores) {
  const F32 d;
  const Vec caps = hn::Set(d, cap);
  for (int64_t i = 0; i < rows * kAttentionTile; i += kLanes) {
    hn::Store(hn::Mul(caps, hn::Tanh(d, hn::Div(hn::Load(d, scores + i), caps))), d, scores + i);
  }
}

// Sets the scores of positions outside of [first, end) to minus infinity.
void HideScores(float* HWY_RESTRICT scores, int64_t first, int64_t end) {
  const F32 d;
  const Vec hidden = hn::Set(d, kUnseen);
  const Vec first_seen = hn::Set(d, static_cast<float>(first));
  const Vec first_hidden = hn::Set(d, static_cast<float>(end));
  for (int v = 0; v < kTileVecs; ++v) {
    const Vec position = hn::Iota(d, static_cast<float>(v * kLanes));
    const auto seen = hn::And(hn::Ge(position, first_seen), hn::Lt(position, first_hidden));
    const Vec score = hn::Load(d, scores + v * kLanes);
    hn::Store(hn::IfThenElse(seen, score, hidden), d, scores + v * kLanes);
  }
}

// Scales a pair's lane sums and output by exp(before - after), for a maximum that grew.
HWY_NOINLINE void Rescale(float before, float after, int64_t dims, float* HWY_RESTRICT lane_sums,
                          float* HWY_RESTRICT sums) {
  const F32 d;
  const Vec shrink = hn::Exp(d, hn::Set(d, before - after));
  hn::Store(hn::Mul(hn::Load(d, lane_sums), shrink), d, lane_sums);
  for (int64_t dim = 0; dim < dims; dim += kLanes) {
    hn::Store(hn::Mul(hn::Load(d, sums + dim), shrink), d, sums + dim);
  }
}

// Turns the scores of kRows pairs from `pair` on into weights p, and brings the pairs' maxima, lane
// sums and outputs up to them. In passes over all rows, so that the rows' chains overlap.
template <int kRows>
HWY_NOINLINE void SoftmaxTile(const AttentionState& state, int64_t pair, int64_t padded,
                              int64_t dims, float* HWY_RESTRICT scores) {
  const F32 d;
  Vec largest[kRows];
  for (int r = 0; r < kRows; ++r) {
    const float* row = scores + r * kAttentionTile;
    largest[r] = hn::Load(d, row);
    for (int v = 1; v < kTileVecs; ++v) {
      largest[r] = hn::Max(largest[r], hn::Load(d, row + v * kLanes));
    }
  }
  float top[kRows];
  for (int r = 0; r < kRows; ++r) {
    top[r] = std::max(state.maxima[pair + r], hn::GetLane(hn::MaxOfLanes(d, largest[r])));
  }
  for (int r = 0; r < kRows; ++r) {
    const float before = state.maxima[pair + r];
    // exp(0) is 1, so leaving this out when the maximum stays changes no bit.
    if (top[r] == before) continue;
    Rescale(before, top[r], dims, state.weights + (pair + r) * 16,
            state.sums + (pair + r) * padded);
    state.maxima[pair + r] = top[r];
  }
  for (int r = 0; r < kRows; ++r) {
    float* row = scores + r * kAttentionTile;
    float* lane_sums = state.weights + (pair + r) * 16;
    const Vec subtracted = hn::Set(d, top[r]);
    Vec lane_sum = hn::Load(d, lane_sums);
    for (int v = 0; v < kTileVecs; ++v) {
      const Vec p = hn::Exp(d, hn::Sub(hn::Load(d, row + v * kLanes), subtracted));
      hn::Store(p, d, row + v * kLanes);
      lane_sum = hn::Add(lane_sum, p);
    }
    hn::Store(lane_sum, d, lane_sums);
  }
}

// Adds the tile at position `begin` to `state`, for pairs [pair, pair + kRows). REQUIRES: each sees
// a position of the tile.
template <class Elements, int kRows>
HWY_INLINE void AttendPairs(const AttentionTask& task, const AttentionBuffers& buffers,
                            const AttentionState& state, int64_t begin, int64_t pair,
                            const std::byte* const* values, TileAhead* ahead) {
  const int64_t padded = PaddedHeadDim(task.head_dim);
  // Whole vectors that hold head_dim; rows in place end there.
  const int64_t dims = (task.head_dim + kLanes - 1) / kLanes * kLanes;
  ScoreTile<kRows>(buffers.queries + pair * padded, padded, task.head_dim, buffers.keys, ahead,
                   buffers.scores);
  if (task.softcap > 0) CapScores(task.softcap, kRows, buffers.scores);
  int64_t count = kAttentionTile;
  const int64_t first_row = task.start + pair / task.group;
  const int64_t last_row = task.start + (pair + kRows - 1) / task.group;
  if (begin + kAttentionTile > first_row || begin < last_row + 1 - task.window) {
    count = 0;
    for (int r = 0; r < kRows; ++r) {
      const int64_t end = task.start + (pair + r) / task.group + 1 - begin;
      HideScores(buffers.scores + r * kAttentionTile, end - task.window, end);
      count = std::max(count, std::min(end, kAttentionTile));
    }
  }
  SoftmaxTile<kRows>(state, pair, padded, dims, buffers.scores);
  AddValues<Elements, kRows>(buffers.scores, values, dims, count, ahead, state.sums + pair * padded,
                             padded);
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#endif  // REPRISE_ENGINE_BACKEND_ATTENTION_TILE_INL_H_
