// Causal attention of many rows of a sequence over paged KV, for sm_90a: products of warpgroups
// (wgmma) over tiles that the copy engine (TMA) brings.
//
//     q, out, states, counters as prefill_attention.cuh, with items of kSm90Tiling: up to 128 (row,
//             head) pairs, tiles of 128 positions; group up to 128
//     KV      bf16 or f16, head_dim 64 or 128; block_tokens a power of two, at least 8; keys and
//             values at multiples of a row (FitsSm90)
//
// Operations and bytes as prefill_attention.cuh: arithmetic is the limit; 2K to 32K tokens, 32
// heads of 128: 43 us to 11 ms at 790 TFLOP/s.
//
// A block runs one item with three warpgroups: two consume, 64 pairs each, two warps of the third
// fetch. A consumer's S = Q K^T [64, 128] of a tile and O += P V of the tile before run together;
// the softmax of the one goes on beside the other. P stays in registers: sums of the first product
// are in place as operand of the second. Tiles are counted from position 0, as there.
#pragma once

#include "engine/backend/cuda/kernels/prefill_attention.cuh"
#include "engine/backend/cuda/kernels/prefill_sm90_tile.cuh"

namespace reprise::engine::cuda {

inline constexpr int kScoreTiles = kSm90Tiling.tile / 8;
inline constexpr int kWeightSteps = kSm90Tiling.tile / 16;

// Named barriers: 1 and 2 of one consumer each.
inline constexpr int kBarrierOfConsumers = 3;

// The consumers, whose threads are the block's first.
struct Sm90Crew {
  static constexpr int kPairs = kSm90Tiling.pairs;
  static constexpr int kThreads = kSm90Consumers;
  static REPRISE_DEVICE void Sync() { SyncThreads(kBarrierOfConsumers, kThreads); }
};

// Eight numbers from `from` on in the type that elements are multiplied in.
template <KvType kType>
REPRISE_DEVICE Words4 PackEight(const float* from) {
  const Words4 low = Load16(from);
  const Words4 high = Load16(from + 4);
  const auto pack = [](uint32_t x, uint32_t y) {
    return KvFragment<kType>::PackBounded(FloatOf(x), FloatOf(y));
  };
  return {pack(low.x, low.y), pack(low.z, low.w), pack(high.x, high.y), pack(high.z, high.w)};
}

// q of the warpgroup's pairs into its panels; 0 where there is no pair. By the warpgroup.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void StoreQuery(const PrefillParams& params, const PrefillItem& item) {
  constexpr int kPieces = kHeadDim / 8;  // of a head
  const int heads_per_kv = params.heads / params.kv.kv_heads;
  const int group = ThreadInBlock() / kGroupThreads;
  for (int i = ThreadInBlock() % kGroupThreads; i < kGroupPairs * kPieces; i += kGroupThreads) {
    const int line = i / kPieces;
    const int piece = i % kPieces;
    const int pair = group * kGroupPairs + line;
    Words4 words = {0, 0, 0, 0};
    if (pair / heads_per_kv < item.num_rows) {
      const int64_t head = RowOfItem(params, item, pair / heads_per_kv) * params.heads +
                           item.kv_head * heads_per_kv + pair % heads_per_kv;
      words = PackEight<kType>(params.q + head * kHeadDim + piece * 8);
    }
    StoreForAsync(Sm90Shared<kHeadDim>::Query(group, piece / 8) + PlaceOfPiece(line, piece % 8),
                  words);
  }
  FenceAsync();
  SyncThreads(1 + group, kGroupThreads);
}

// Begins S = Q K^T over the keys of `stage`.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void BeginScores(int stage, float (&scores)[kScoreTiles][4]) {
  using Shared = Sm90Shared<kHeadDim>;
  const int group = ThreadInBlock() / kGroupThreads;
  REPRISE_UNROLL
  for (int step = 0; step < kHeadDim / 16; ++step) {
    const int panel = step / 4;
    const int column = step % 4 * 32;  // in bytes
    const uint64_t q =
        DescribeMatrix(Shared::Query(group, panel) + column, /*leading=*/16, kPatternBytes);
    const uint64_t k = DescribeMatrix(Shared::Panel(KvPart::kKeys, stage, panel) + column,
                                      /*leading=*/16, kPatternBytes);
    MultiplyShared<kType == KvType::kBF16>(scores, q, k, /*adds=*/step > 0);
  }
  CommitProducts();
}

// Begins O += P V over the values of `stage`.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void BeginValues(int stage, const uint32_t (&weights)[kWeightSteps][4],
                                float (&sums)[kHeadDim / 8][4]) {
  using Shared = Sm90Shared<kHeadDim>;
  REPRISE_UNROLL
  for (int step = 0; step < kWeightSteps; ++step) {
    const uint64_t v =
        DescribeMatrix(Shared::Panel(KvPart::kValues, stage, 0) + step * 16 * kLineBytes,
                       Shared::kPanelBytes, kPatternBytes);
    MultiplyRegisters<kType == KvType::kBF16>(sums, weights[step], v);
  }
  CommitProducts();
}

// Lets the stage be filled again. By each warp that has waited for its products with it.
REPRISE_DEVICE void Release(uint64_t* empty) {
  if (Lane() == 0) Arrive(empty);
}

template <KvType kType, int kHeadDim>
REPRISE_DEVICE void PackWeights(const float (&scores)[kScoreTiles][4],
                                uint32_t (&weights)[kWeightSteps][4]) {
  REPRISE_UNROLL
  for (int step = 0; step < kWeightSteps; ++step) {
    WeightOperand<kType, kHeadDim>(scores, 0, step, weights[step]);
  }
}

// What a consumer does with the item: all its tiles.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void ConsumeTiles(const PrefillParams& params, const PrefillItem& item,
                                 PrefillState<kHeadDim>* state) {
  using Shared = Sm90Shared<kHeadDim>;
  const PrefillPairs pairs = PairsOfLane(params, item);
  float scores[kScoreTiles][4] = {};
  uint32_t weights[kWeightSteps][4];
  float factors[2];
  Sm90Turn turn;
  WaitForPhase(Shared::Full(KvPart::kKeys, turn.stage), turn.parity);
  FenceProducts(scores);
  BeginScores<kType, kHeadDim>(turn.stage, scores);
  WaitForProducts<0>(scores);
  Release(Shared::Empty(KvPart::kKeys, turn.stage));
  MaskScores<kType, kHeadDim>(params, item, pairs, item.kv_begin, 0, scores);
  WeighTile(params.scale_log2, scores, state, factors);  // there are no sums yet
  // The wait is in the next round: in the same one the compiler would put it before the softmax,
  // which would then run beside nothing.
  REPRISE_NO_UNROLL
  for (int begin = item.kv_begin;; begin += kSm90Tiling.tile) {
    WaitForProducts<0>(state->sums);
    if (begin > item.kv_begin) Release(Shared::Empty(KvPart::kValues, 1 - turn.stage));
    ScaleSums(factors, state);
    PackWeights<kType, kHeadDim>(scores, weights);
    const int next = begin + kSm90Tiling.tile;
    if (next >= item.kv_end) break;
    const Sm90Turn now = turn;
    turn.Advance();
    WaitForPhase(Shared::Full(KvPart::kKeys, turn.stage), turn.parity);
    FenceProducts(scores);
    BeginScores<kType, kHeadDim>(turn.stage, scores);
    WaitForPhase(Shared::Full(KvPart::kValues, now.stage), now.parity);
    FenceProducts(weights, state->sums);
    BeginValues<kType, kHeadDim>(now.stage, weights, state->sums);
    WaitForProducts<1>(scores);
    Release(Shared::Empty(KvPart::kKeys, turn.stage));
    MaskScores<kType, kHeadDim>(params, item, pairs, next, 0, scores);
    WeighTile(params.scale_log2, scores, state, factors);
  }
  WaitForPhase(Shared::Full(KvPart::kValues, turn.stage), turn.parity);
  const int positions = (item.kv_end - item.kv_begin - 1) % kSm90Tiling.tile + 1;
  if (positions < kSm90Tiling.tile) {
    ZeroBehind<kHeadDim>(positions, turn.stage);
    Sm90Crew::Sync();
  }
  FenceProducts(weights, state->sums);
  BeginValues<kType, kHeadDim>(turn.stage, weights, state->sums);
  WaitForProducts<0>(state->sums);
}

// The kernel. Block b runs item b.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void PrefillSm90Block(const PrefillSm90Params& params) {
  static_assert(KvFragment<kType>::kIs16Bit);
  if (ThreadInBlock() == 0) MakeBarriers<kHeadDim>();
  SyncBlock();
  const PrefillItem item = params.prefill.items[BlockX()];
  if (WarpInBlock() >= kSm90ConsumerWarps) {
    LowerRegisters<40>();
    const int fetcher = WarpInBlock() - kSm90ConsumerWarps;
    if (fetcher < 2) {
      FetchTiles<kHeadDim>(params, item, fetcher == 0 ? KvPart::kKeys : KvPart::kValues);
    }
  } else {
    RaiseRegisters<232>();
    StoreQuery<kType, kHeadDim>(params.prefill, item);
    PrefillState<kHeadDim> state;
    ConsumeTiles<kType, kHeadDim>(params.prefill, item, &state);
    StoreItem<Sm90Crew, kType, kHeadDim>(params.prefill, state, Sm90Shared<kHeadDim>::Flag());
  }
}

}  // namespace reprise::engine::cuda
