// Causal attention of many rows of a sequence over paged KV, on mma.sync: every card from sm_80 on.
//
//     q, out  f32 [rows, heads, head_dim]; heads = kv_heads x group, group up to 64
//     KV      as decode_attention.cuh
//     states  f32 [plan's states][kPrefillPairs][head_dim + 2], counters u32 [plan's counters], 0
//             before and after
//
// Operations: 4 heads x head_dim x positions seen by each row; 2K to 32K tokens, 32 heads of 128:
// 34 GFLOP to 8.8 TFLOP, 43 us to 11 ms at 790 TFLOP/s. Bytes: each item of 64 pairs reads its KV
// once, 64 operations a byte of bf16 and more with L2: arithmetic is the limit.
//
// A block of 4 warps runs one item: 64 (row, head) pairs, 16 to a warp, q in registers. Of each
// tile of 64 positions, S = Q K^T [16, 64], softmax in registers, O += P V, with the accumulators
// of S as operand of the second product. Elements of 8 bits are widened as they are loaded from
// shared memory: for K, dims meet in another order, which Q shares; for V, one transposed word
// holds two dims of two positions, which go to two products.
//
// Tiles are counted from position 0: a row whose positions are not cut into pieces has the same
// bits whatever rows are computed with it.
#pragma once

#include "engine/backend/cuda/kernels/attention_state.cuh"
#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/kv_fragments.cuh"
#include "engine/backend/cuda/kernels/prefill_params.h"
#include "engine/backend/cuda/kernels/prefill_tile.cuh"

namespace reprise::engine::cuda {

// Of a lane 4 g + t: what its pairs g and g + 8 of the warp (index 0 and 1) are.
struct PrefillPairs {
  bool is_there[2];
  int position[2];  // of the row
  int64_t head[2];  // of all rows' heads
};

// The batch's row `row` of an item.
REPRISE_DEVICE int64_t RowOfItem(const PrefillParams& params, const PrefillItem& item, int row) {
  const int at = item.first_row + row;
  return params.row_list == nullptr ? at : params.row_list[at];
}

REPRISE_DEVICE PrefillPairs PairsOfLane(const PrefillParams& params, const PrefillItem& item) {
  const int group = params.heads / params.kv.kv_heads;
  PrefillPairs pairs;
  for (int r = 0; r < 2; ++r) {
    const int pair = WarpInBlock() * 16 + Lane() / 4 + 8 * r;
    const int row = pair / group;
    pairs.is_there[r] = row < item.num_rows;
    pairs.position[r] = item.start + (pairs.is_there[r] ? row : 0);
    pairs.head[r] = RowOfItem(params, item, pairs.is_there[r] ? row : 0) * params.heads +
                    item.kv_head * group + pair % group;
  }
  return pairs;
}

// The first of the two dims that operand register 2 half (+ row) of step `step` of Q holds.
template <KvType kType>
REPRISE_DEVICE int QueryDim(int step, int half) {
  const int t = Lane() % 4;
  return KvFragment<kType>::kIs16Bit ? 16 * step + 8 * half + 2 * t : 16 * step + 4 * t + 2 * half;
}

// Which dim column 2 t + i of output tile `tile` stands for.
template <KvType kType>
REPRISE_DEVICE int OutputDim(int tile, int i) {
  const int t = Lane() % 4;
  return KvFragment<kType>::kIs16Bit ? 8 * tile + 2 * t + i
                                     : 16 * (tile / 2) + 4 * t + 2 * i + tile % 2;
}

template <KvType kType, int kHeadDim>
REPRISE_DEVICE void LoadPrefillQuery(const float* q, const PrefillPairs& pairs,
                                     uint32_t query[kHeadDim / 16][4]) {
  REPRISE_UNROLL
  for (int step = 0; step < kHeadDim / 16; ++step) {
    REPRISE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int r = i % 2;
      const float* from = q + pairs.head[r] * kHeadDim + QueryDim<kType>(step, i / 2);
      query[step][i] = pairs.is_there[r] ? KvFragment<kType>::PackBounded(from[0], from[1]) : 0u;
    }
  }
}

// The softmax of a lane's two pairs: the largest scores, the lane's shares of the weights, and the
// sums of its columns.
template <int kHeadDim>
struct PrefillState {
  float largest[2] = {-kInfinity, -kInfinity};
  float weight[2] = {0, 0};
  float sums[kHeadDim / 8][4] = {};
};

// Scores of the warp's pairs with the 64 positions of the stage: scores[n] holds columns 8 n + 2 t,
// + 1. Not scaled.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void PrefillScores(const uint32_t query[kHeadDim / 16][4], int stage_number,
                                  float scores[8][4]) {
  using Fragment = KvFragment<kType>;
  const PrefillStage<kType, kHeadDim> stage(stage_number);
  const int matrix = Lane() / 8;
  const int row = Lane() % 8;
  REPRISE_UNROLL
  for (int step = 0; step < kHeadDim / 16; ++step) {
    if constexpr (Fragment::kIs16Bit) {
      REPRISE_UNROLL
      for (int n = 0; n < 8; n += 2) {  // two tiles of 8 positions, 16 dims each
        uint32_t words[4];
        LoadMatrices(stage.Piece(0, 8 * n + 8 * (matrix / 2) + row, 2 * step + matrix % 2), words);
        Fragment::MultiplyAdd(query[step], words, scores[n]);
        Fragment::MultiplyAdd(query[step], words + 2, scores[n + 1]);
      }
    } else {
      REPRISE_UNROLL
      for (int n = 0; n < 8; n += 4) {  // four tiles of 8 positions, 16 dims each
        uint32_t words[4];
        LoadMatrices(stage.Piece(0, 8 * n + 8 * matrix + row, step), words);
        REPRISE_UNROLL
        for (int i = 0; i < 4; ++i) {
          const uint32_t b[2] = {Fragment::Adjacent(words + i, 0),
                                 Fragment::Adjacent(words + i, 1)};
          Fragment::MultiplyAdd(query[step], b, scores[n + i]);
        }
      }
    }
  }
}

// Scores of the tile at `begin` that a pair does not see become minus infinity; the others are
// multiplied by their keys' scales, where there are such. A branch, and no condition of each score:
// most tiles are seen whole, and the conditions take as many instructions as the softmax.
template <KvType kType, int kHeadDim, int kTiles>
REPRISE_DEVICE void MaskScores(const PrefillParams& params, const PrefillItem& item,
                               const PrefillPairs& pairs, int begin, int stage,
                               float (&scores)[kTiles][4]) {
  if constexpr (KvFragment<kType>::kHasScales) {
    REPRISE_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      REPRISE_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int column = 8 * n + 2 * (Lane() % 4) + i % 2;
        scores[n][i] *= StageScale<kType, kHeadDim>(stage, 0, column);
      }
    }
  }
  const int end = begin + 8 * kTiles;
  if (end <= item.start + 1 && end <= item.kv_end &&
      item.start + item.num_rows - begin <= params.window) {
    return;
  }
  REPRISE_UNROLL
  for (int n = 0; n < kTiles; ++n) {
    REPRISE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int position = begin + 8 * n + 2 * (Lane() % 4) + i % 2;
      const int seen_from = pairs.position[i / 2] - position;
      if (seen_from < 0 || seen_from >= params.window || position >= item.kv_end) {
        scores[n][i] = -kInfinity;
      }
    }
  }
}

// Adds a tile with `scores`, in units of 1 / `scale`, to the softmax: largest, weight; leaves
// 2^(s - m) in `scores`, and in `factors` what the sums so far must be multiplied by. A pair that
// has seen nothing yet stays at minus infinity, with weights of 0.
template <int kHeadDim, int kTiles>
REPRISE_DEVICE void WeighTile(float scale, float (&scores)[kTiles][4],
                              PrefillState<kHeadDim>* state, float factors[2]) {
  REPRISE_UNROLL
  for (int r = 0; r < 2; ++r) {
    float most = -kInfinity;
    REPRISE_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      most = Max(most, Max(scores[n][2 * r], scores[n][2 * r + 1]));
    }
    most = Max(most, ShuffleXor(most, 1));
    most = Max(most, ShuffleXor(most, 2));
    const float largest = Max(state->largest[r], MulRn(most, scale));
    const float base = largest == -kInfinity ? 0.0f : largest;
    factors[r] = PowerOf2(state->largest[r] - base);
    state->largest[r] = largest;
    float weight = 0;
    REPRISE_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      scores[n][2 * r] = PowerOf2(FmaRn(scores[n][2 * r], scale, -base));
      scores[n][2 * r + 1] = PowerOf2(FmaRn(scores[n][2 * r + 1], scale, -base));
      weight += scores[n][2 * r] + scores[n][2 * r + 1];
    }
    state->weight[r] = state->weight[r] * factors[r] + weight;
  }
}

template <int kHeadDim>
REPRISE_DEVICE void ScaleSums(const float factors[2], PrefillState<kHeadDim>* state) {
  REPRISE_UNROLL
  for (int j = 0; j < kHeadDim / 8; ++j) {
    REPRISE_UNROLL
    for (int i = 0; i < 4; ++i) state->sums[j][i] *= factors[i / 2];
  }
}

// Positions [16 step, 16 step + 16) of the tile's weights as an operand.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void WeightOperand(const float weights[8][4], int stage, int step, uint32_t a[4]) {
  using Fragment = KvFragment<kType>;
  REPRISE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int n = 2 * step + i / 2;
    const int r = i % 2;
    float low = weights[n][2 * r];
    float high = weights[n][2 * r + 1];
    if constexpr (Fragment::kHasScales) {
      const int column = 8 * n + 2 * (Lane() % 4);
      low *= StageScale<kType, kHeadDim>(stage, 1, column);
      high *= StageScale<kType, kHeadDim>(stage, 1, column + 1);
    }
    a[i] = Fragment::Pack(low, high);
  }
}

template <KvType kType, int kHeadDim>
REPRISE_DEVICE void AddWeightedValues(const float weights[8][4], int stage_number,
                                      PrefillState<kHeadDim>* state) {
  using Fragment = KvFragment<kType>;
  const PrefillStage<kType, kHeadDim> stage(stage_number);
  const int matrix = Lane() / 8;
  const int row = Lane() % 8;
  REPRISE_UNROLL
  for (int step = 0; step < kPrefillTile / 16; ++step) {
    uint32_t a[4];
    WeightOperand<kType, kHeadDim>(weights, stage_number, step, a);
    // Two pieces of 16 bytes, of 16 positions.
    REPRISE_UNROLL
    for (int piece = 0; piece < PrefillStage<kType, kHeadDim>::kPieces; piece += 2) {
      uint32_t words[4];
      LoadMatricesTransposed(stage.Piece(1, 16 * step + 8 * (matrix % 2) + row, piece + matrix / 2),
                             words);
      REPRISE_UNROLL
      for (int i = 0; i < 2; ++i) {
        if constexpr (Fragment::kIs16Bit) {
          Fragment::MultiplyAdd(a, words + 2 * i, state->sums[piece + i]);
        } else {
          REPRISE_UNROLL
          for (int which = 0; which < 2; ++which) {
            const uint32_t b[2] = {Fragment::Alternate(words[2 * i], which),
                                   Fragment::Alternate(words[2 * i + 1], which)};
            Fragment::MultiplyAdd(a, b, state->sums[2 * (piece + i) + which]);
          }
        }
      }
    }
  }
}

// Writes the lane's part of its pairs, of which pair r is head heads[r] of `place`.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void StorePairs(const PrefillState<kHeadDim>& state, const PrefillPairs& pairs,
                               const int64_t heads[2], const HeadsPlace& place) {
  const bool is_whole = place.out != nullptr;
  REPRISE_UNROLL
  for (int r = 0; r < 2; ++r) {
    float weight = state.weight[r];
    weight += ShuffleXor(weight, 1);
    weight += ShuffleXor(weight, 2);
    if (!pairs.is_there[r]) continue;
    float* to =
        is_whole ? place.out + heads[r] * kHeadDim : place.states + heads[r] * (kHeadDim + 2);
    const float factor = KvFragment<kType>::kFactor / (is_whole ? weight : 1.0f);
    REPRISE_UNROLL
    for (int j = 0; j < kHeadDim / 8; ++j) {
      to[OutputDim<kType>(j, 0)] = state.sums[j][2 * r] * factor;
      to[OutputDim<kType>(j, 1)] = state.sums[j][2 * r + 1] * factor;
    }
    if (!is_whole && Lane() % 4 == 0) {
      to[kHeadDim] = state.largest[r];
      to[kHeadDim + 1] = weight;
    }
  }
}

// The threads that compute an item's pairs.
struct PrefillCrew {
  static constexpr int kPairs = kPrefillPairs;
  static constexpr int kThreads = kPrefillThreads;
  static REPRISE_DEVICE void Sync() { SyncBlock(); }
};

// Of the items that share rows and kv head, the block that comes last merges their states in the
// order of positions.
template <typename Crew, int kHeadDim>
REPRISE_DEVICE void MergeItemsWhenLast(const PrefillParams& params, const PrefillItem& item,
                                       const Shared<int>& is_last, const HeadsPlace& place) {
  const auto sync = [] { Crew::Sync(); };
  if (!IsLastToArrive(params.counters + item.counter, item.pieces, is_last, sync)) return;
  const int group = params.heads / params.kv.kv_heads;
  const float* states =
      params.states + static_cast<int64_t>(item.first_state) * Crew::kPairs * (kHeadDim + 2);
  for (int i = ThreadInBlock(); i < item.num_rows * group * kHeadDim; i += Crew::kThreads) {
    const int pair = i / kHeadDim;
    const int c = i % kHeadDim;
    const int64_t head =
        RowOfItem(params, item, pair / group) * params.heads + item.kv_head * group + pair % group;
    StoreElement(MergeElement(states + pair * (kHeadDim + 2), Crew::kPairs * (kHeadDim + 2),
                              item.pieces, kHeadDim, c),
                 place, head, kHeadDim, c);
  }
}

// Writes what the block has of its item. Reads the item again, so that nothing of it has to be kept
// in registers until here.
template <typename Crew, KvType kType, int kHeadDim>
REPRISE_DEVICE void StoreItem(const PrefillParams& params, const PrefillState<kHeadDim>& state,
                              const Shared<int>& is_last) {
  const PrefillItem item = params.items[BlockX()];
  const PrefillPairs pairs = PairsOfLane(params, item);
  const HeadsPlace place = {params.row_states == nullptr ? params.out : nullptr, params.row_states};
  if (item.pieces == 1) {
    StorePairs<kType, kHeadDim>(state, pairs, pairs.head, place);
    return;
  }
  const int64_t slot = static_cast<int64_t>(item.first_state) + item.piece;
  const int64_t first = slot * Crew::kPairs + WarpInBlock() * 16 + Lane() / 4;
  const int64_t slots[2] = {first, first + 8};
  StorePairs<kType, kHeadDim>(state, pairs, slots, {nullptr, params.states});
  MergeItemsWhenLast<Crew, kHeadDim>(params, item, is_last, place);
}

// The kernel. Block b runs item b.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void PrefillAttentionBlock(const PrefillParams& params) {
  const PrefillItem item = params.items[BlockX()];
  const PrefillPairs pairs = PairsOfLane(params, item);
  FetchTile<kType, kHeadDim>(params.kv, item, item.kv_begin, 0);
  uint32_t query[kHeadDim / 16][4];
  LoadPrefillQuery<kType, kHeadDim>(params.q, pairs, query);
  PrefillState<kHeadDim> state;
  int stage = 0;
  for (int begin = item.kv_begin; begin < item.kv_end; begin += kPrefillTile) {
    // This tile is there, and nobody uses the one before any more.
    WaitForCopies<0>();
    SyncBlock();
    const int next = begin + kPrefillTile;
    if (next < item.kv_end) FetchTile<kType, kHeadDim>(params.kv, item, next, 1 - stage);
    float scores[8][4] = {};
    PrefillScores<kType, kHeadDim>(query, stage, scores);
    MaskScores<kType, kHeadDim>(params, item, pairs, begin, stage, scores);
    float factors[2];
    WeighTile(params.scale_log2 * KvFragment<kType>::kFactor, scores, &state, factors);
    ScaleSums(factors, &state);
    AddWeightedValues<kType, kHeadDim>(scores, stage, &state);
    stage = 1 - stage;
  }
  constexpr int kRowBytes = PrefillStage<kType, kHeadDim>::kRowBytes;
  const Shared<int> is_last(SharedBase() + PrefillSharedBytes(kRowBytes) - 16);
  StoreItem<PrefillCrew, kType, kHeadDim>(params, state, is_last);
}

}  // namespace reprise::engine::cuda
