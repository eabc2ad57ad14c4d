#include "engine/backend/cpu_attention.h"

#include <algorithm>
#include <limits>

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
// (row, head) pairs and vectors whose sums fit the registers: 24 of 32 with AVX-512, else 12 of 16.
constexpr int kPairs = 6;
constexpr int kStripVecs = kLanes == 16 ? 4 : 2;

// Turns the rows of `count` positions, the rest zeros, into keys[dim][position].
void TransposeKeys(const float* const* rows, int64_t head_dim, float* HWY_RESTRICT keys) {
  for (int64_t t = 0; t < kAttentionTile; t += 4) {
    const float* const* four = rows + t;
    int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR  // has no vectors of four
    const hn::FixedTag<float, 4> d;
    for (; c + 4 <= head_dim; c += 4) {
      const auto r0 = hn::LoadU(d, four[0] + c);
      const auto r1 = hn::LoadU(d, four[1] + c);
      const auto r2 = hn::LoadU(d, four[2] + c);
      const auto r3 = hn::LoadU(d, four[3] + c);
      const auto low01 = hn::InterleaveLower(d, r0, r1);
      const auto low23 = hn::InterleaveLower(d, r2, r3);
      const auto high01 = hn::InterleaveUpper(d, r0, r1);
      const auto high23 = hn::InterleaveUpper(d, r2, r3);
      float* to = keys + c * kAttentionTile + t;
      hn::Store(hn::ConcatLowerLower(d, low23, low01), d, to);
      hn::Store(hn::ConcatUpperUpper(d, low23, low01), d, to + kAttentionTile);
      hn::Store(hn::ConcatLowerLower(d, high23, high01), d, to + 2 * kAttentionTile);
      hn::Store(hn::ConcatUpperUpper(d, high23, high01), d, to + 3 * kAttentionTile);
    }
#endif
    for (; c < head_dim; ++c) {
      for (int64_t i = 0; i < 4; ++i) keys[c * kAttentionTile + t + i] = four[i][c];
    }
  }
}

// scores[r][t] = sum over dims of q[r][dim] keys[dim][t], for kRows pairs and all t of the tile.
template <int kRows>
HWY_INLINE void ScoreTile(const float* HWY_RESTRICT q, int64_t q_stride, int64_t head_dim,
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
HWY_INLINE void AddValueStrip(const float* HWY_RESTRICT p, const float* const* values, int64_t dim,
                              int64_t count, float* HWY_RESTRICT sums, int64_t stride) {
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

// Turns a row of scores into weights p and brings the pair's running maximum, lane sums and output
// up to them. Scores from `visible` on are of positions the row may not see.
HWY_INLINE void SoftmaxStep(float* HWY_RESTRICT scores, int64_t visible, int64_t dims,
                            float* HWY_RESTRICT maximum, float* HWY_RESTRICT lane_sums,
                            float* HWY_RESTRICT sums) {
  const F32 d;
  const Vec hidden = hn::Set(d, -std::numeric_limits<float>::infinity());
  if (visible < kAttentionTile) {
    const hn::Vec<F32> index = hn::Iota(d, 0.0f);
    for (int v = 0; v < kTileVecs; ++v) {
      const Vec position = hn::Add(index, hn::Set(d, static_cast<float>(v * kLanes)));
      const auto seen = hn::Lt(position, hn::Set(d, static_cast<float>(visible)));
      const Vec score = hn::Load(d, scores + v * kLanes);
      hn::Store(hn::IfThenElse(seen, score, hidden), d, scores + v * kLanes);
    }
  }
  Vec largest = hn::Load(d, scores);
  for (int v = 1; v < kTileVecs; ++v) {
    largest = hn::Max(largest, hn::Load(d, scores + v * kLanes));
  }
  const float tile_maximum = hn::GetLane(hn::MaxOfLanes(d, largest));
  const float before = *maximum;
  const float after = std::max(before, tile_maximum);
  Vec lane_sum = hn::Load(d, lane_sums);
  if (after != before) {
    // exp(0) is 1, so leaving this out when the maximum stays changes no bit.
    const Vec shrink = hn::Exp(d, hn::Set(d, before - after));
    lane_sum = hn::Mul(lane_sum, shrink);
    for (int64_t dim = 0; dim < dims; dim += kLanes) {
      hn::Store(hn::Mul(hn::Load(d, sums + dim), shrink), d, sums + dim);
    }
    *maximum = after;
  }
  const Vec top = hn::Set(d, after);
  for (int v = 0; v < kTileVecs; ++v) {
    const Vec p = hn::Exp(d, hn::Sub(hn::Load(d, scores + v * kLanes), top));
    hn::Store(p, d, scores + v * kLanes);
    lane_sum = hn::Add(lane_sum, p);
  }
  hn::Store(lane_sum, d, lane_sums);
}

// The tile at position `begin` for pairs [pair, pair + kRows).
template <int kRows>
HWY_INLINE void AttendPairs(const AttentionTask& task, const AttentionBuffers& buffers,
                            int64_t begin, int64_t pair, const float* const* values) {
  const int64_t padded = PaddedHeadDim(task.head_dim);
  // Whole vectors that hold head_dim; rows in place end there.
  const int64_t dims = (task.head_dim + kLanes - 1) / kLanes * kLanes;
  ScoreTile<kRows>(buffers.queries + pair * padded, padded, task.head_dim, buffers.keys,
                   buffers.scores);
  int64_t count = 0;
  for (int r = 0; r < kRows; ++r) {
    const int64_t position = task.start + (pair + r) / task.group;
    const int64_t visible = std::min(kAttentionTile, position - begin + 1);
    count = std::max(count, visible);
    SoftmaxStep(buffers.scores + r * kAttentionTile, visible, dims, buffers.maxima + pair + r,
                buffers.weights + (pair + r) * 16, buffers.sums + (pair + r) * padded);
  }
  AddValues<kRows>(buffers.scores, values, dims, count, buffers.sums + pair * padded, padded);
}

// Points rows[t] at the f32 elements of position begin + t, and the rest of the tile at zeros.
// Copies them to buffers.rows first when they are not f32 or do not end with a whole vector.
void GatherRows(const AttentionTask& task, const KvRows& source, int64_t begin, int64_t count,
                const AttentionBuffers& buffers, const float** rows) {
  const int64_t padded = PaddedHeadDim(task.head_dim);
  const bool in_place = task.kv_type == ElementType::kF32 && task.head_dim % kLanes == 0;
  for (int64_t t = 0; t < count; ++t) {
    const std::byte* row = source.row(begin + t);
    rows[t] = reinterpret_cast<const float*>(row);
    if (in_place) continue;
    float* copy = buffers.rows + t * padded;
    Widen(row, task.kv_type, task.head_dim, copy);
    std::fill(copy + task.head_dim, copy + padded, 0.0f);
    rows[t] = copy;
  }
  std::fill(rows + count, rows + kAttentionTile, buffers.zeros);
}

// q x scale, one padded row a pair.
void LoadQueries(const AttentionTask& task, const AttentionBuffers& buffers) {
  const int64_t padded = PaddedHeadDim(task.head_dim);
  for (int64_t pair = 0; pair < task.num_rows * task.group; ++pair) {
    const float* from =
        task.q + pair / task.group * task.row_stride + pair % task.group * task.head_dim;
    float* to = buffers.queries + pair * padded;
    for (int64_t c = 0; c < task.head_dim; ++c) to[c] = from[c] * task.scale;
    std::fill(to + task.head_dim, to + padded, 0.0f);
  }
}

void StoreOutputs(const AttentionTask& task, const AttentionBuffers& buffers) {
  const F32 d;
  const int64_t padded = PaddedHeadDim(task.head_dim);
  for (int64_t pair = 0; pair < task.num_rows * task.group; ++pair) {
    const Vec lane_sum = hn::Load(d, buffers.weights + pair * 16);
    const float inverse = 1.0f / hn::GetLane(hn::SumOfLanes(d, lane_sum));
    const float* from = buffers.sums + pair * padded;
    float* to = task.out + pair / task.group * task.row_stride + pair % task.group * task.head_dim;
    for (int64_t c = 0; c < task.head_dim; ++c) to[c] = from[c] * inverse;
  }
}

void Attend(const AttentionTask& task, const AttentionBuffers& buffers) {
  const int64_t padded = PaddedHeadDim(task.head_dim);
  const int64_t pairs = task.num_rows * task.group;
  LoadQueries(task, buffers);
  std::fill(buffers.sums, buffers.sums + pairs * padded, 0.0f);
  std::fill(buffers.weights, buffers.weights + pairs * 16, 0.0f);
  std::fill(buffers.maxima, buffers.maxima + pairs, -std::numeric_limits<float>::infinity());
  std::fill(buffers.zeros, buffers.zeros + padded, 0.0f);
  const float* rows[kAttentionTile];
  const int64_t end = task.start + task.num_rows;
  for (int64_t begin = 0; begin < end; begin += kAttentionTile) {
    const int64_t count = std::min(kAttentionTile, end - begin);
    GatherRows(task, task.keys, begin, count, buffers, rows);
    TransposeKeys(rows, task.head_dim, buffers.keys);
    GatherRows(task, task.values, begin, count, buffers, rows);
    int64_t pair = std::max<int64_t>(0, begin - task.start) * task.group;
    for (; pair + kPairs <= pairs; pair += kPairs) {
      AttendPairs<kPairs>(task, buffers, begin, pair, rows);
    }
    for (; pair + 2 <= pairs; pair += 2) AttendPairs<2>(task, buffers, begin, pair, rows);
    if (pair < pairs) AttendPairs<1>(task, buffers, begin, pair, rows);
  }
  StoreOutputs(task, buffers);
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cachestore/base/check.h"
#include "engine/backend/cpu_parallel.h"

namespace reprise::engine {

HWY_EXPORT(Attend);

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

}  // namespace

void AttendRows(Activations q, absl::Span<const SequenceRows> sequences,
                const cachestore::KvLayout& layout, int32_t layer, float scale,
                std::vector<AttentionScratch>& scratch, Activations out) {
  const int64_t head_dim = layout.head_dim;
  const int64_t group = q.cols / (head_dim * layout.num_kv_heads);
  CHECK(group > 0 && q.cols == group * layout.num_kv_heads * head_dim);
  CHECK(out.rows == q.rows && out.cols == q.cols);
  const int64_t task_rows = RowsPerTask(sequences, layout.num_kv_heads, group);
  std::vector<AttentionTask> tasks;
  int64_t work = 0;
  for (const SequenceRows& sequence : sequences) {
    CHECK(sequence.first_row >= 0 && sequence.first_row + sequence.num_rows <= q.rows);
    CHECK(sequence.start + sequence.num_rows <=
          static_cast<int64_t>(sequence.blocks.size()) * layout.block_tokens);
    work += sequence.num_rows * (sequence.start + sequence.num_rows) * q.cols;
    for (int64_t row = 0; row < sequence.num_rows; row += task_rows) {
      for (int32_t head = 0; head < layout.num_kv_heads; ++head) {
        const int64_t place = head * group * head_dim;
        tasks.push_back({q.row(sequence.first_row + row) + place,
                         out.row(sequence.first_row + row) + place, q.cols,
                         std::min(task_rows, sequence.num_rows - row), sequence.start + row, group,
                         head_dim, scale, KvElementType(layout),
                         KvRows(sequence.blocks, layout, layer, KvPart::kKeys, head),
                         KvRows(sequence.blocks, layout, layer, KvPart::kValues, head)});
      }
    }
  }
  // The longest first, so that no thread is left alone with one at the end.
  std::stable_sort(tasks.begin(), tasks.end(), [](const AttentionTask& a, const AttentionTask& b) {
    return a.num_rows * (a.start + a.num_rows) > b.num_rows * (b.start + b.num_rows);
  });
  const int64_t pairs = task_rows * group;
  const int64_t padded = PaddedHeadDim(head_dim);
  if (static_cast<int>(scratch.size()) < omp_get_max_threads()) {
    scratch.resize(omp_get_max_threads());
  }
  const int64_t count = static_cast<int64_t>(tasks.size());
  ParallelItems(count, count == 0 ? 0 : work / count, 1 << 16, [&](int thread, int64_t item) {
    std::vector<float>& floats = scratch[thread].floats;
    const size_t needed = AttentionBuffers::Floats(pairs, padded);
    if (floats.size() < needed) floats.resize(needed);
    HWY_DYNAMIC_DISPATCH(Attend)(tasks[item], AttentionBuffers(floats.data(), pairs, padded));
  });
}

}  // namespace reprise::engine
#endif  // HWY_ONCE
