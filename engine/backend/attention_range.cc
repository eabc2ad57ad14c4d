#include "engine/backend/attention_range.h"

#include <algorithm>

#include "engine/backend/kv_codec.h"
#include "engine/backend/tile_ahead.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/attention_range.cc"
// The order of these matters.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/attention_tile-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

// Points rows[t] at the elements of position begin + t, and the rest of the tile at zeros: in the
// blocks, or as f32 in buffers.rows.
void GatherRows(const AttentionTask& task, const KvRows& source, int64_t begin, int64_t count,
                bool in_place, const AttentionBuffers& buffers, const std::byte** rows) {
  const std::byte* scales[kAttentionTile] = {};
  source.Locate(begin, count, rows, scales);
  if (!in_place) {
    const int64_t padded = PaddedHeadDim(task.head_dim);
    DecodeKvRows(task.kv_dtype, rows, scales, count, task.head_dim, padded, buffers.rows);
    for (int64_t t = 0; t < count; ++t) {
      rows[t] = reinterpret_cast<const std::byte*>(buffers.rows + t * padded);
    }
  }
  std::fill(rows + count, rows + kAttentionTile, reinterpret_cast<const std::byte*>(buffers.zeros));
}

// q x scale, one padded row a pair; and the row of zeros.
void LoadQueries(const AttentionTask& task, const AttentionBuffers& buffers) {
  const int64_t padded = PaddedHeadDim(task.head_dim);
  for (int64_t pair = 0; pair < task.num_rows * task.group; ++pair) {
    const float* from =
        task.q + pair / task.group * task.row_stride + pair % task.group * task.head_dim;
    float* to = buffers.queries + pair * padded;
    for (int64_t c = 0; c < task.head_dim; ++c) to[c] = from[c] * task.scale;
    std::fill(to + task.head_dim, to + padded, 0.0f);
  }
  std::fill(buffers.zeros, buffers.zeros + padded, 0.0f);
}

// Of `left` pairs, those to be computed next: the last ones in two equal parts rather than as
// kPairs and one or two, whose few chains would leave the multipliers idle.
int64_t NextPairs(int64_t left) {
  if (left <= kPairs) return left;
  return left < 2 * kPairs ? (left + 1) / 2 : kPairs;
}

// AttendPairs of `count` pairs, at most kMost.
template <class Elements, int kMost, typename... Args>
HWY_INLINE void AttendSomePairs(int64_t count, const Args&... args) {
  if constexpr (kMost > 1) {
    if (count < kMost) return AttendSomePairs<Elements, kMost - 1>(count, args...);
  }
  AttendPairs<Elements, kMost>(args...);
}

// AttendRange by kernels that read `Elements`: those in the blocks, or f32 decoded from them.
template <class Elements>
void AttendRangeOf(const AttentionTask& task, const AttentionBuffers& buffers, int64_t begin,
                   bool in_place, const AttentionState& state) {
  const std::byte* rows[kAttentionTile];
  TileAhead ahead;
  const int64_t end = std::min(begin + kAttentionRange, task.end());
  for (; begin < end; begin += kAttentionTile) {
    const int64_t first_row = std::max<int64_t>(0, begin - task.start);
    const int64_t end_row =
        std::min(task.num_rows, begin + kAttentionTile + task.window - 1 - task.start);
    if (first_row >= end_row) continue;
    const int64_t count = std::min(kAttentionTile, end - begin);
    ahead.Locate(task, begin + count);
    GatherRows(task, task.keys, begin, count, in_place, buffers, rows);
    TransposeKeys<Elements>(rows, task.head_dim, &ahead, buffers.keys);
    GatherRows(task, task.values, begin, count, in_place, buffers, rows);
    int64_t pair = first_row * task.group;
    const int64_t last = end_row * task.group;
    while (pair < last) {
      const int64_t taken = NextPairs(last - pair);
      AttendSomePairs<Elements, kPairs>(taken, task, buffers, state, begin, pair, rows, &ahead);
      pair += taken;
    }
  }
}

// Sets `state` to what it is after positions [begin, begin + kAttentionRange) alone. Rows that see
// none of them are left unseen. A row takes part in the tiles that it sees something of, and in no
// other, whatever rows are computed with it.
void AttendRange(const AttentionTask& task, const AttentionBuffers& buffers, int64_t begin,
                 const AttentionState& state) {
  using cachestore::DType;
  const int64_t padded = PaddedHeadDim(task.head_dim);
  const int64_t pairs = task.num_rows * task.group;
  std::fill(state.sums, state.sums + pairs * padded, 0.0f);
  std::fill(state.weights, state.weights + pairs * 16, 0.0f);
  std::fill(state.maxima, state.maxima + pairs, kUnseen);
  if (task.kv_dtype == DType::kF32 && task.head_dim % kLanes == 0) {
    return AttendRangeOf<F32Elements>(task, buffers, begin, /*in_place=*/true, state);
  }
  // Rows of 16 bits are widened each time they are read: for a few pairs that is less than writing
  // them to the buffer. It is exact, so no bit depends on where it is done.
  const bool widens_often = pairs > 2 * kPairs;
  if (HWY_TARGET != HWY_SCALAR && !widens_often && task.head_dim % 16 == 0) {
    if (task.kv_dtype == DType::kF16) {
      return AttendRangeOf<F16Elements>(task, buffers, begin, /*in_place=*/true, state);
    }
    if (task.kv_dtype == DType::kBF16) {
      return AttendRangeOf<BF16Elements>(task, buffers, begin, /*in_place=*/true, state);
    }
  }
  AttendRangeOf<F32Elements>(task, buffers, begin, /*in_place=*/false, state);
}

// Adds the range `part`, which follows, to `merged`. Leaves `part` undefined.
void MergeRange(const AttentionTask& task, const AttentionState& part,
                const AttentionState& merged) {
  const F32 d;
  const int64_t padded = PaddedHeadDim(task.head_dim);
  const int64_t dims = (task.head_dim + kLanes - 1) / kLanes * kLanes;
  for (int64_t pair = 0; pair < task.num_rows * task.group; ++pair) {
    if (part.maxima[pair] == kUnseen) continue;
    float* to_sums = merged.sums + pair * padded;
    float* to_weights = merged.weights + pair * 16;
    float* sums = part.sums + pair * padded;
    float* weights = part.weights + pair * 16;
    if (merged.maxima[pair] == kUnseen) {
      // Not added to its zeros: whether there was a range before depends on the rows beside this
      // one, and 0 + -0 has other bits than -0.
      std::copy(sums, sums + dims, to_sums);
      std::copy(weights, weights + 16, to_weights);
      merged.maxima[pair] = part.maxima[pair];
      continue;
    }
    const float top = std::max(merged.maxima[pair], part.maxima[pair]);
    if (top != merged.maxima[pair]) Rescale(merged.maxima[pair], top, dims, to_weights, to_sums);
    if (top != part.maxima[pair]) Rescale(part.maxima[pair], top, dims, weights, sums);
    hn::Store(hn::Add(hn::Load(d, to_weights), hn::Load(d, weights)), d, to_weights);
    for (int64_t dim = 0; dim < dims; dim += kLanes) {
      hn::Store(hn::Add(hn::Load(d, to_sums + dim), hn::Load(d, sums + dim)), d, to_sums + dim);
    }
    merged.maxima[pair] = top;
  }
}

void StoreOutputs(const AttentionTask& task, const AttentionState& state) {
  const F32 d;
  const int64_t padded = PaddedHeadDim(task.head_dim);
  for (int64_t pair = 0; pair < task.num_rows * task.group; ++pair) {
    const Vec lane_sum = hn::Load(d, state.weights + pair * 16);
    const float inverse = 1.0f / hn::GetLane(hn::SumOfLanes(d, lane_sum));
    const float* from = state.sums + pair * padded;
    float* to = task.out + pair / task.group * task.row_stride + pair % task.group * task.head_dim;
    for (int64_t c = 0; c < task.head_dim; ++c) to[c] = from[c] * inverse;
  }
}

// A whole task. What it does to a row, AttendPart of its ranges and MergeParts do in the same
// order.
void Attend(const AttentionTask& task, const AttentionBuffers& buffers) {
  LoadQueries(task, buffers);
  int64_t begin = task.first_range();
  AttendRange(task, buffers, begin, buffers.merged);
  for (begin += kAttentionRange; begin < task.end(); begin += kAttentionRange) {
    AttendRange(task, buffers, begin, buffers.range);
    MergeRange(task, buffers.range, buffers.merged);
  }
  StoreOutputs(task, buffers.merged);
}

// The range of a task that begins at `begin`.
void AttendPart(const AttentionTask& task, const AttentionBuffers& buffers, int64_t begin,
                const AttentionState& part) {
  LoadQueries(task, buffers);
  AttendRange(task, buffers, begin, part);
}

// The output of a task from the states of all its ranges, in order.
void MergeParts(const AttentionTask& task, absl::Span<const AttentionState> parts) {
  for (const AttentionState& part : parts.subspan(1)) MergeRange(task, part, parts.front());
  StoreOutputs(task, parts.front());
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace reprise::engine {

HWY_EXPORT(Attend);
HWY_EXPORT(AttendPart);
HWY_EXPORT(MergeParts);

void AttendTask(const AttentionTask& task, const AttentionBuffers& buffers) {
  HWY_DYNAMIC_DISPATCH(Attend)(task, buffers);
}

void AttendTaskRange(const AttentionTask& task, const AttentionBuffers& buffers, int64_t begin,
                     const AttentionState& state) {
  HWY_DYNAMIC_DISPATCH(AttendPart)(task, buffers, begin, state);
}

void MergeTaskRanges(const AttentionTask& task, absl::Span<const AttentionState> states) {
  HWY_DYNAMIC_DISPATCH(MergeParts)(task, states);
}

}  // namespace reprise::engine
#endif  // HWY_ONCE
