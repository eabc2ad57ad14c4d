// Attention of decode rows over paged KV: each row is one token of a sequence of its own. Split
// over KV by a schedule that the host makes (decode_plan.h).
//
//     q, out  f32 [rows, heads, head_dim]; heads = kv_heads x group, any group
//     KV      bf16, f16, e4m3 or int8 (one scale a row); head_dim 64 or 128; block_tokens a power
//             of two, at least 8
//     states  f32 [plan's states][kTileHeads][head_dim + 2], counters u32 [rows x head tiles], 0
//             before and after
//
// Bytes: sum of lengths x 2 kv_heads x row_bytes, once for up to 8 heads of a group; operations: 4
// heads x head_dim a position, 4 a byte for a group of 4 and bf16. So memory is the limit: at 3.0
// TB/s 64 rows of 4,096 tokens (8 kv heads, head_dim 128, bf16: 1.07 GB) take 358 us.
//
// A block of 4 warps works through its segments of the plan; in a segment, warp w takes tiles w,
// w + 4, ... of 16 positions, and keeps a softmax state of its own. S = Q K^T has the heads of the
// group as rows (8 of 16 used), O^T = V^T P^T as columns. A lane loads 16 bytes of a row of K at a
// time: which dims meet in a step of the product does not matter, as long as Q is taken in the same
// order. The accumulators of S are in place as an operand of the second product. K of the next tile
// is fetched as soon as K of this one was used, V likewise, so that one of them is always under
// way.
#pragma once

#include "engine/backend/cuda/kernels/attention_state.cuh"
#include "engine/backend/cuda/kernels/decode_params.h"
#include "engine/backend/cuda/kernels/decode_tile.cuh"
#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/kv_fragments.cuh"

namespace reprise::engine::cuda {

// The softmax state of a warp, spread over its lanes: of head g the largest score and the lane's
// share of the weight; of heads 2t and 2t+1 the sums of kHeadDim / 8 dims.
template <int kHeadDim>
struct DecodeState {
  static constexpr int kTiles = kHeadDim / 16;
  float largest = -kInfinity;
  float weight = 0;
  float sums[kTiles][4] = {};
};

// Which dim row r (0 or 1: g, g + 8) of product i stands for: lane g's pieces of V, in order.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE int DimOf(int g, int i, int r) {
  constexpr int kPerLane = kHeadDim / 8;
  constexpr int kPiece = 16 / KvFragment<kType>::kElementBytes < kPerLane
                             ? 16 / KvFragment<kType>::kElementBytes
                             : kPerLane;
  const int j = i + r * (kPerLane / 2);
  return j / kPiece * 8 * kPiece + g * kPiece + j % kPiece;
}

// Q of head g in the order in which LoadKeys takes K: query[2 s], query[2 s + 1] are the operands
// of step s.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void LoadQuery(const float* q, int num_heads, uint32_t query[kHeadDim / 8]) {
  using Fragment = KvFragment<kType>;
  constexpr int kPiece = 16 / Fragment::kElementBytes;  // elements of a lane's 16 bytes
  const int g = Lane() / 4;
  const int t = Lane() % 4;
  REPRISE_UNROLL
  for (int pair = 0; pair < kHeadDim / 8; ++pair) {
    const int e = 2 * pair;  // of the lane's elements
    const int dim = e / kPiece * 4 * kPiece + t * kPiece + e % kPiece;
    query[pair] = 0;
    if (g < num_heads) {
      const float* from = q + g * kHeadDim + dim;
      query[pair] = Fragment::PackBounded(from[0], from[1]);
    }
  }
}

// Scores of head g at positions 2t, 2t+1, 2t+8, 2t+9 of the tile, in units of log2.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void Scores(const uint32_t query[kHeadDim / 8],
                           const DecodeTile<kType, kHeadDim>& tile, float scale_log2,
                           float scores[4]) {
  using Fragment = KvFragment<kType>;
  REPRISE_UNROLL
  for (int h = 0; h < 2; ++h) {
    float sums[4] = {};
    REPRISE_UNROLL
    for (int step = 0; step < kHeadDim / 16; ++step) {
      const uint32_t a[4] = {query[2 * step], 0, query[2 * step + 1], 0};
      const uint32_t b[2] = {Fragment::Adjacent(tile.keys[h], 2 * step),
                             Fragment::Adjacent(tile.keys[h], 2 * step + 1)};
      Fragment::MultiplyAdd(a, b, sums);
    }
    scores[2 * h] = sums[0] * (scale_log2 * Fragment::kFactor);
    scores[2 * h + 1] = sums[1] * (scale_log2 * Fragment::kFactor);
  }
  if constexpr (Fragment::kHasScales) {
    for (int i = 0; i < 4; ++i) scores[i] *= tile.key_scales[i];
  }
}

// Adds a tile with `scores` to the softmax: largest, weight, sums scaled; leaves 2^(s - m) in
// `scores`.
template <int kHeadDim>
REPRISE_DEVICE void Weigh(float scores[4], DecodeState<kHeadDim>* state) {
  float largest = Max(Max(scores[0], scores[1]), Max(scores[2], scores[3]));
  largest = Max(largest, ShuffleXor(largest, 1));
  largest = Max(largest, ShuffleXor(largest, 2));
  largest = Max(largest, state->largest);
  const float factor = PowerOf2(state->largest - largest);
  state->largest = largest;
  for (int i = 0; i < 4; ++i) scores[i] = PowerOf2(scores[i] - largest);
  state->weight = state->weight * factor + ((scores[0] + scores[1]) + (scores[2] + scores[3]));
  const int t = Lane() % 4;
  const float even = ShuffleFrom(factor, 8 * t);
  const float odd = ShuffleFrom(factor, 8 * t + 4);
  REPRISE_UNROLL
  for (int i = 0; i < DecodeState<kHeadDim>::kTiles; ++i) {
    state->sums[i][0] *= even;
    state->sums[i][1] *= odd;
    state->sums[i][2] *= even;
    state->sums[i][3] *= odd;
  }
}

template <KvType kType, int kHeadDim>
REPRISE_DEVICE void AddValues(const float weights[4], const DecodeTile<kType, kHeadDim>& tile,
                              DecodeState<kHeadDim>* state) {
  using Fragment = KvFragment<kType>;
  float p[4] = {weights[0], weights[1], weights[2], weights[3]};
  if constexpr (Fragment::kHasScales) {
    for (int i = 0; i < 4; ++i) p[i] *= tile.value_scales[i];
  }
  const uint32_t b[2] = {Fragment::Pack(p[0], p[1]), Fragment::Pack(p[2], p[3])};
  REPRISE_UNROLL
  for (int i = 0; i < DecodeState<kHeadDim>::kTiles; ++i) {
    const int low = i;
    const int high = i + kHeadDim / 16;
    const uint32_t a[4] = {Fragment::Across(tile.values[0], tile.values[1], low),
                           Fragment::Across(tile.values[0], tile.values[1], high),
                           Fragment::Across(tile.values[2], tile.values[3], low),
                           Fragment::Across(tile.values[2], tile.values[3], high)};
    Fragment::MultiplyAdd(a, b, state->sums[i]);
  }
}

// The state of this warp over its tiles of the segment.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void AttendTiles(const DecodeParams& params, const DecodeWork& work,
                                const DecodeSegment& segment, const uint32_t* query,
                                DecodeState<kHeadDim>* state) {
  int tile = segment.tile_begin + WarpInBlock();
  if (tile >= segment.tile_end) return;
  const PagedKv& kv = params.kv;
  const int t = Lane() % 4;
  DecodeTile<kType, kHeadDim> data;
  TileBlocks blocks = BlocksOf(kv, work, tile);
  TileBlocks next_blocks = BlocksOf(kv, work, tile + kDecodeWarps);
  LoadKeys(kv, work, blocks, tile, &data);
  LoadValues(kv, work, blocks, tile, &data);
  while (true) {
    const int next = tile + kDecodeWarps;
    const bool more = next < segment.tile_end;
    // Read a tile ahead: no load of keys waits for where they lie.
    blocks = next_blocks;
    next_blocks = BlocksOf(kv, work, next + kDecodeWarps);
    float scores[4];
    Scores(query, data, params.scale_log2, scores);
    if (more) LoadKeys(kv, work, blocks, next, &data);
    for (int i = 0; i < 4; ++i) {
      const int position = tile * kDecodeTile + i / 2 * 8 + 2 * t + i % 2;
      if (position < work.begin || position >= work.end) scores[i] = -kInfinity;
    }
    Weigh(scores, state);
    AddValues(scores, data, state);
    if (!more) return;
    LoadValues(kv, work, blocks, next, &data);
    tile = next;
  }
}

// Puts this warp's state where the block can merge it: [warp][head][head_dim + 2].
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void ShareState(const DecodeState<kHeadDim>& state, const Shared<float>& shared) {
  constexpr int kFloats = kHeadDim + 2;
  const int g = Lane() / 4;
  const int t = Lane() % 4;
  const int base = WarpInBlock() * kTileHeads * kFloats;
  float weight = state.weight;
  weight += ShuffleXor(weight, 1);
  weight += ShuffleXor(weight, 2);
  if (t == 0) {
    shared[base + g * kFloats + kHeadDim] = state.largest;
    shared[base + g * kFloats + kHeadDim + 1] = weight;
  }
  REPRISE_UNROLL
  for (int i = 0; i < DecodeState<kHeadDim>::kTiles; ++i) {
    for (int c = 0; c < 4; ++c) {
      const int dim = DimOf<kType, kHeadDim>(g, i, c / 2);
      shared[base + (2 * t + c % 2) * kFloats + dim] =
          state.sums[i][c] * KvFragment<kType>::kFactor;
    }
  }
}

// Merges the warps' states of heads 0 ... of `place`.
template <int kHeadDim>
REPRISE_DEVICE void MergeWarps(const Shared<float>& shared, int num_heads,
                               const HeadsPlace& place) {
  constexpr int kFloats = kHeadDim + 2;
  for (int i = ThreadInBlock(); i < num_heads * kHeadDim; i += kDecodeThreads) {
    const int head = i / kHeadDim;
    const int c = i % kHeadDim;
    MergedElement merged = {-kInfinity, 0, 0};
    for (int w = 0; w < kDecodeWarps; ++w) {
      merged.largest = Max(merged.largest, shared[(w * kTileHeads + head) * kFloats + kHeadDim]);
    }
    for (int w = 0; w < kDecodeWarps; ++w) {
      const int base = (w * kTileHeads + head) * kFloats;
      const float factor = PowerOf2(shared[base + kHeadDim] - merged.largest);
      merged.sum += factor * shared[base + c];
      merged.weight += factor * shared[base + kHeadDim + 1];
    }
    StoreElement(merged, place, head, kHeadDim, c);
  }
}

// Of the segments that share a row and a head tile, the block that comes last merges their states
// in the order of positions.
template <int kHeadDim>
REPRISE_DEVICE void MergeWhenLast(const DecodeParams& params, const DecodeSegment& segment,
                                  int num_heads, const Shared<int>& is_last,
                                  const HeadsPlace& place) {
  uint32_t* counter = params.counters + segment.row * params.head_tiles + segment.head_tile;
  if (!IsLastToArrive(counter, segment.pieces, is_last)) return;
  constexpr int kFloats = kHeadDim + 2;
  const float* states =
      params.states + static_cast<int64_t>(segment.first_state) * kTileHeads * kFloats;
  for (int i = ThreadInBlock(); i < num_heads * kHeadDim; i += kDecodeThreads) {
    const int head = i / kHeadDim;
    const int c = i % kHeadDim;
    StoreElement(
        MergeElement(states + head * kFloats, kTileHeads * kFloats, segment.pieces, kHeadDim, c),
        place, head, kHeadDim, c);
  }
}

// Where heads `head` ... of all rows' go.
REPRISE_DEVICE HeadsPlace PlaceOfRow(const DecodeParams& params, int row, int64_t head) {
  const int head_dim = params.kv.head_dim;
  if (params.prefixes == nullptr || params.prefixes[row] == 0) {
    return {params.out + head * head_dim, nullptr};
  }
  return {nullptr, params.row_states + head * StateFloats(head_dim)};
}

template <KvType kType, int kHeadDim>
REPRISE_DEVICE void RunSegment(const DecodeParams& params, const DecodeSegment& segment) {
  const Shared<float> shared(SharedBase());
  const int head_tiles_a_group = params.head_tiles / params.kv.kv_heads;
  const int group = params.heads / params.kv.kv_heads;
  const int kv_head = segment.head_tile / head_tiles_a_group;
  const int head_in_group = segment.head_tile % head_tiles_a_group * kTileHeads;
  const int left = group - head_in_group;
  const int num_heads = left < kTileHeads ? left : kTileHeads;
  const AttentionRow row = params.rows[segment.row];
  const int64_t head =
      static_cast<int64_t>(segment.row) * params.heads + kv_head * group + head_in_group;
  DecodeWork work;
  work.kv_head = kv_head;
  work.end = row.length;
  work.begin = row.length > params.window ? row.length - params.window : 0;
  work.table = params.kv.table + static_cast<int64_t>(row.sequence) * params.kv.table_stride;

  uint32_t query[kHeadDim / 8];
  LoadQuery<kType, kHeadDim>(params.q + head * kHeadDim, num_heads, query);
  DecodeState<kHeadDim> state;
  AttendTiles<kType, kHeadDim>(params, work, segment, query, &state);
  ShareState<kType, kHeadDim>(state, shared);
  SyncBlock();
  const HeadsPlace place = PlaceOfRow(params, segment.row, head);
  if (segment.pieces == 1) {
    MergeWarps<kHeadDim>(shared, num_heads, place);
  } else {
    const int64_t slot = static_cast<int64_t>(segment.first_state) + segment.piece;
    MergeWarps<kHeadDim>(shared, num_heads,
                         {nullptr, params.states + slot * kTileHeads * (kHeadDim + 2)});
    const Shared<int> is_last(SharedBase() + DecodeSharedBytes(kHeadDim) - 16);
    MergeWhenLast<kHeadDim>(params, segment, num_heads, is_last, place);
  }
  SyncBlock();
}

// The kernel. Block b works through segments [first_segment[b], first_segment[b + 1]).
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void DecodeAttentionBlock(const DecodeParams& params) {
  const int end = params.first_segment[BlockX() + 1];
  for (int i = params.first_segment[BlockX()]; i < end; ++i) {
    RunSegment<kType, kHeadDim>(params, params.segments[i]);
  }
}

}  // namespace reprise::engine::cuda
