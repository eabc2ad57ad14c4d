#include "engine/backend/cpu_attention.h"

#include <algorithm>
#include <limits>

#include "absl/types/span.h"
#include "engine/backend/attention_task.h"
#include "engine/backend/cpu_elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu_attention.cc"
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
using F32 = hn::CappedTag<float, 16>;
using Vec = hn::Vec<F32>;

constexpr int64_t kLanes = hn::MaxLanes(F32());
constexpr int kTileVecs = static_cast<int>(kAttentionTile / kLanes);
constexpr float kUnseen = -std::numeric_limits<float>::infinity();
// (row, head) pairs and vectors whose sums fit the registers: 24 of 32 with AVX-512, else 12 of 16.
constexpr int kPairs = 6;
constexpr int kStripVecs = kLanes == 16 ? 4 : 2;

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
HWY_NOINLINE void TransposeKeys(const float* const* rows, int64_t head_dim,
                                float* HWY_RESTRICT keys) {
  int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; c + 4 <= head_dim; c += 4) {
    for (int64_t t = 0; t < kAttentionTile; t += kLanes) {
      TransposeFour(rows + t, c, keys + c * kAttentionTile + t);
    }
  }
#endif
  for (; c < head_dim; ++c) {
    for (int64_t t = 0; t < kAttentionTile; ++t) keys[c * kAttentionTile + t] = rows[t][c];
  }
}

// scores[r][t] = sum over dims of q[r][dim] keys[dim][t], for kRows pairs and all t of the tile.
template <int kRows>
HWY_NOINLINE void ScoreTile(const float* HWY_RESTRICT q, int64_t q_stride, int64_t head_dim,
                            const float* HWY_RESTRICT keys, float* HWY_RESTRICT scores) {
  const F32 d;
  for (int strip = 0; strip < kTileVecs; strip += kStripVecs) {
    Vec sum[kRows][kStripVecs];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kStripVecs; ++v) sum[r][v] = hn::Zero(d);
    }
    const float* column = keys + strip * kLanes;
    for (int64_t c = 0; c < head_dim; ++c, column += kAttentionTile) {
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
template <int kRows, int kVecs>
HWY_NOINLINE void AddValueStrip(const float* HWY_RESTRICT p, const float* const* values,
                                int64_t dim, int64_t count, float* HWY_RESTRICT sums,
                                int64_t stride) {
  const F32 d;
  Vec sum[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::Load(d, sums + r * stride + dim + v * kLanes);
  }
  for (int64_t t = 0; t < count; ++t) {
    Vec value[kVecs];
    for (int v = 0; v < kVecs; ++v) value[v] = hn::LoadU(d, values[t] + dim + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const Vec weight = hn::Set(d, p[r * kAttentionTile + t]);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::MulAdd(weight, value[v], sum[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) hn::Store(sum[r][v], d, sums + r * stride + dim + v * kLanes);
  }
}

template <int kRows>
HWY_INLINE void AddValues(const float* p, const float* const* values, int64_t dims, int64_t count,
                          float* sums, int64_t stride) {
  constexpr int64_t kStrip = kStripVecs * kLanes;
  int64_t dim = 0;
  for (; dim + kStrip <= dims; dim += kStrip) {
    AddValueStrip<kRows, kStripVecs>(p, values, dim, count, sums, stride);
  }
  for (; dim < dims; dim += kLanes) {
    AddValueStrip<kRows, 1>(p, values, dim, count, sums, stride);
  }
}

// Sets the scores of positions from `visible` on to minus infinity.
void HideScores(float* HWY_RESTRICT scores, int64_t visible) {
  const F32 d;
  const Vec hidden = hn::Set(d, kUnseen);
  const Vec first_hidden = hn::Set(d, static_cast<float>(visible));
  for (int v = 0; v < kTileVecs; ++v) {
    const auto seen = hn::Lt(hn::Iota(d, static_cast<float>(v * kLanes)), first_hidden);
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

// Adds the tile at position `begin` to `state`, for pairs [pair, pair + kRows).
template <int kRows>
HWY_INLINE void AttendPairs(const AttentionTask& task, const AttentionBuffers& buffers,
                            const AttentionState& state, int64_t begin, int64_t pair,
                            const float* const* values) {
  const int64_t padded = PaddedHeadDim(task.head_dim);
  // Whole vectors that hold head_dim; rows in place end there.
  const int64_t dims = (task.head_dim + kLanes - 1) / kLanes * kLanes;
  ScoreTile<kRows>(buffers.queries + pair * padded, padded, task.head_dim, buffers.keys,
                   buffers.scores);
  int64_t count = kAttentionTile;
  if (begin + kAttentionTile > task.start + pair / task.group) {
    count = 0;
    for (int r = 0; r < kRows; ++r) {
      const int64_t seen = task.start + (pair + r) / task.group + 1 - begin;
      HideScores(buffers.scores + r * kAttentionTile, seen);
      count = std::max(count, std::min(seen, kAttentionTile));
    }
  }
  SoftmaxTile<kRows>(state, pair, padded, dims, buffers.scores);
  AddValues<kRows>(buffers.scores, values, dims, count, state.sums + pair * padded, padded);
}

// Points rows[t] at the f32 elements of position begin + t, and the rest of the tile at zeros.
// Copies them to buffers.rows first when they are not f32 or do not end with a whole vector.
void GatherRows(const AttentionTask& task, const KvRows& source, int64_t begin, int64_t count,
                const AttentionBuffers& buffers, const float** rows) {
  source.Locate(begin, count, rows);
  std::fill(rows + count, rows + kAttentionTile, buffers.zeros);
  if (task.kv_type == ElementType::kF32 && task.head_dim % kLanes == 0) return;
  const int64_t padded = PaddedHeadDim(task.head_dim);
  for (int64_t t = 0; t < count; ++t) {
    float* copy = buffers.rows + t * padded;
    Widen(rows[t], task.kv_type, task.head_dim, copy);
    std::fill(copy + task.head_dim, copy + padded, 0.0f);
    rows[t] = copy;
  }
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

// Sets `state` to what it is after positions [begin, begin + kAttentionRange) alone. Rows that come
// before `begin` are left unseen.
void AttendRange(const AttentionTask& task, const AttentionBuffers& buffers, int64_t begin,
                 const AttentionState& state) {
  const int64_t padded = PaddedHeadDim(task.head_dim);
  const int64_t pairs = task.num_rows * task.group;
  std::fill(state.sums, state.sums + pairs * padded, 0.0f);
  std::fill(state.weights, state.weights + pairs * 16, 0.0f);
  std::fill(state.maxima, state.maxima + pairs, kUnseen);
  const float* rows[kAttentionTile];
  const int64_t end = std::min(begin + kAttentionRange, task.end());
  for (; begin < end; begin += kAttentionTile) {
    const int64_t count = std::min(kAttentionTile, end - begin);
    GatherRows(task, task.keys, begin, count, buffers, rows);
    TransposeKeys(rows, task.head_dim, buffers.keys);
    GatherRows(task, task.values, begin, count, buffers, rows);
    int64_t pair = std::max<int64_t>(0, begin - task.start) * task.group;
    for (; pair + kPairs <= pairs; pair += kPairs) {
      AttendPairs<kPairs>(task, buffers, state, begin, pair, rows);
    }
    for (; pair + 2 <= pairs; pair += 2) AttendPairs<2>(task, buffers, state, begin, pair, rows);
    if (pair < pairs) AttendPairs<1>(task, buffers, state, begin, pair, rows);
  }
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
  AttendRange(task, buffers, 0, buffers.merged);
  for (int64_t begin = kAttentionRange; begin < task.end(); begin += kAttentionRange) {
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
#include "cachestore/base/check.h"
#include "engine/backend/cpu_parallel.h"

namespace reprise::engine {

HWY_EXPORT(Attend);
HWY_EXPORT(AttendPart);
HWY_EXPORT(MergeParts);

namespace {

// (row, head) pairs of one task: enough that turning a tile of keys around costs little beside
// using it, few enough that their sums stay in a second-level cache.
constexpr int64_t kMaxPairs = 192;
constexpr int64_t kMinPairs = 48;

// Rows a task takes, so that there are about four tasks a thread.
int64_t RowsPerTask(absl::Span<const SequenceRows> sequences, int64_t kv_heads, int64_t group) {
  int64_t rows = 0;
  for (const SequenceRows& sequence : sequences) rows += sequence.num_rows;
  int64_t pairs = kMaxPairs;
  while (pairs > kMinPairs && rows * group * kv_heads / pairs < 4 * omp_get_max_threads()) {
    pairs /= 2;
  }
  return std::max<int64_t>(1, pairs / group);
}

// Head by head, so that a head's keys and values stay in a near cache while its tasks use them; the
// longest task of a head first, so that no thread is left alone with one at the end.
void AppendTasks(Activations q, const SequenceRows& sequence, const cachestore::KvLayout& layout,
                 int32_t layer, float scale, int64_t task_rows, Activations out,
                 std::vector<AttentionTask>* tasks) {
  const int64_t head_dim = layout.head_dim;
  const int64_t group = q.cols / (head_dim * layout.num_kv_heads);
  const int64_t last_row = (sequence.num_rows - 1) / task_rows * task_rows;
  for (int32_t head = 0; head < layout.num_kv_heads; ++head) {
    const int64_t place = head * group * head_dim;
    for (int64_t row = last_row; row >= 0; row -= task_rows) {
      tasks->push_back({q.row(sequence.first_row + row) + place,
                        out.row(sequence.first_row + row) + place, q.cols,
                        std::min(task_rows, sequence.num_rows - row), sequence.start + row, group,
                        head_dim, scale, KvElementType(layout),
                        KvRows(sequence.blocks, layout, layer, KvPart::kKeys, head),
                        KvRows(sequence.blocks, layout, layer, KvPart::kValues, head)});
    }
  }
}

// Runs work on tasks of one shape on all threads, each with its buffers.
class TaskRunner {
 public:
  // `work`: of all tasks together.
  TaskRunner(int64_t pairs, int64_t head_dim, int64_t work, AttentionScratch* scratch)
      : pairs_(pairs), padded_(PaddedHeadDim(head_dim)), work_(work), scratch_(*scratch) {
    if (static_cast<int>(scratch_.threads.size()) < omp_get_max_threads()) {
      scratch_.threads.resize(omp_get_max_threads());
    }
  }

  void RunWhole(absl::Span<const AttentionTask> tasks) const {
    ForEach(static_cast<int64_t>(tasks.size()), [&](int64_t item, const AttentionBuffers& buffers) {
      HWY_DYNAMIC_DISPATCH(Attend)(tasks[item], buffers);
    });
  }

  // By ranges, for tasks that are fewer than the threads.
  void RunInParts(absl::Span<const AttentionTask> tasks) const {
    std::vector<Part> parts;
    for (const AttentionTask& task : tasks) {
      for (int64_t begin = 0; begin < task.end(); begin += kAttentionRange) {
        parts.push_back({&task, begin});
      }
    }
    const int64_t floats = AttentionState::Floats(pairs_, padded_);
    const size_t needed = parts.size() * floats + 16;
    if (scratch_.parts.size() < needed) scratch_.parts.resize(needed);
    std::vector<AttentionState> states;
    float* const base = AlignUp(scratch_.parts.data());
    for (size_t i = 0; i < parts.size(); ++i) {
      states.emplace_back(base + static_cast<int64_t>(i) * floats, pairs_, padded_);
    }
    ForEach(static_cast<int64_t>(parts.size()), [&](int64_t item, const AttentionBuffers& buffers) {
      HWY_DYNAMIC_DISPATCH(AttendPart)
      (*parts[item].task, buffers, parts[item].begin, states[item]);
    });
    absl::Span<const AttentionState> rest = states;
    for (const AttentionTask& task : tasks) {
      const int64_t count = (task.end() + kAttentionRange - 1) / kAttentionRange;
      HWY_DYNAMIC_DISPATCH(MergeParts)(task, rest.first(count));
      rest.remove_prefix(count);
    }
  }

 private:
  struct Part {
    const AttentionTask* task;
    int64_t begin;
  };

  template <typename Fn>
  void ForEach(int64_t count, const Fn& fn) const {
    ParallelItems(count, count == 0 ? 0 : work_ / count, 1 << 16, [&](int thread, int64_t item) {
      std::vector<float>& floats = scratch_.threads[thread];
      const size_t needed = AttentionBuffers::Floats(pairs_, padded_);
      if (floats.size() < needed) floats.resize(needed);
      fn(item, AttentionBuffers(floats.data(), pairs_, padded_));
    });
  }

  const int64_t pairs_;
  const int64_t padded_;
  const int64_t work_;
  AttentionScratch& scratch_;
};

}  // namespace

void AttendRows(Activations q, absl::Span<const SequenceRows> sequences,
                const cachestore::KvLayout& layout, int32_t layer, float scale,
                AttentionScratch* scratch, Activations out) {
  const int64_t group = q.cols / (layout.head_dim * layout.num_kv_heads);
  CHECK(group > 0 && q.cols == group * layout.num_kv_heads * layout.head_dim);
  CHECK(out.rows == q.rows && out.cols == q.cols);
  const int64_t task_rows = RowsPerTask(sequences, layout.num_kv_heads, group);
  std::vector<AttentionTask> tasks;
  int64_t work = 0;
  for (const SequenceRows& sequence : sequences) {
    CHECK(sequence.first_row >= 0 && sequence.first_row + sequence.num_rows <= q.rows);
    CHECK(sequence.start + sequence.num_rows <=
          static_cast<int64_t>(sequence.blocks.size()) * layout.block_tokens);
    work += sequence.num_rows * (sequence.start + sequence.num_rows) * q.cols;
    AppendTasks(q, sequence, layout, layer, scale, task_rows, out, &tasks);
  }
  const TaskRunner runner(task_rows * group, layout.head_dim, work, scratch);
  if (static_cast<int>(tasks.size()) < omp_get_max_threads()) {
    runner.RunInParts(tasks);
  } else {
    runner.RunWhole(tasks);
  }
}

}  // namespace reprise::engine
#endif  // HWY_ONCE
