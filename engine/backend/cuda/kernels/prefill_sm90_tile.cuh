// Shared memory of the prefill kernel of sm_90a, and the warps that fill it.
//
//     q       [2 warpgroups][panels][64 pairs][64 dims], 16-bit elements; panels = head_dim / 64
//     keys    [2 stages][panels][128 positions][64 dims]; values likewise
//     then    barriers [full, empty][keys, values][2 stages], the flag of IsLastToArrive
//
// A line of a panel is 128 bytes, swizzled (hopper_code.h). The copy engine brings a box at a time:
// one panel of the rows of one block. A stage is full when the bytes of its boxes have landed, and
// empty when each of the consumers' warps has read it.
//
// Positions from kv_end on: no box that has none of them below is fetched, and what lies in their
// place is anything. Their scores become minus infinity, their values are set to 0 (ZeroBehind).
#pragma once

#include "engine/backend/cuda/kernels/hopper_code.h"
#include "engine/backend/cuda/kernels/paged_kv.cuh"
#include "engine/backend/cuda/kernels/prefill_sm90_params.h"

namespace reprise::engine::cuda {

struct PrefillSm90Params {
  PrefillParams prefill;
  // All of the arena as rows of head_dim elements; boxes of Sm90BoxRows(block_tokens) x 64.
  TensorMap rows;
};

inline constexpr int kGroupPairs = 64;  // of a warpgroup
inline constexpr int kSm90ConsumerWarps = kSm90Consumers / kLanes;

enum class KvPart { kKeys, kValues };

template <int kHeadDim>
struct Sm90Shared {
  static constexpr int kPanels = kHeadDim / kLineElements;
  static constexpr int kQueryPanelBytes = kGroupPairs * kLineBytes;
  static constexpr int kPanelBytes = kSm90Tiling.tile * kLineBytes;
  static constexpr int kQueryBytes = kSm90Tiling.pairs * kHeadDim * 2;
  static constexpr int kBarriersAt = Sm90SharedBytes(kHeadDim) - 128;

  static REPRISE_DEVICE uint8_t* Query(int group, int panel) {
    return SharedBase() + (group * kPanels + panel) * kQueryPanelBytes;
  }
  static REPRISE_DEVICE uint8_t* Panel(KvPart part, int stage, int panel) {
    return SharedBase() + kQueryBytes +
           ((static_cast<int>(part) * kSm90Stages + stage) * kPanels + panel) * kPanelBytes;
  }
  static REPRISE_DEVICE uint64_t* Full(KvPart part, int stage) {
    return Barriers() + static_cast<int>(part) * kSm90Stages + stage;
  }
  static REPRISE_DEVICE uint64_t* Empty(KvPart part, int stage) {
    return Full(part, stage) + 2 * kSm90Stages;
  }
  static REPRISE_DEVICE Shared<int> Flag() { return Shared<int>(SharedBase() + kBarriersAt + 64); }

 private:
  static REPRISE_DEVICE uint64_t* Barriers() {
    return reinterpret_cast<uint64_t*>(SharedBase() + kBarriersAt);
  }
};

// Which stage a tile is in, and the parity of the phase in which it is full.
struct Sm90Turn {
  int stage = 0;
  int parity = 0;

  REPRISE_DEVICE void Advance() {
    stage = 1 - stage;
    if (stage == 0) parity ^= 1;
  }
};

// By one thread, before any other touches them.
template <int kHeadDim>
REPRISE_DEVICE void MakeBarriers() {
  using Shared = Sm90Shared<kHeadDim>;
  for (int stage = 0; stage < kSm90Stages; ++stage) {
    for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
      InitBarrier(Shared::Full(part, stage), 1);
      InitBarrier(Shared::Empty(part, stage), kSm90ConsumerWarps);
    }
  }
  FenceBarriers();
}

// All tiles of one part of the item, each as its stage becomes empty. By one warp: a box to a lane.
// Keys and values have a warp each, so that neither waits for a stage of the other.
template <int kHeadDim>
REPRISE_DEVICE void FetchTiles(const PrefillSm90Params& params, const PrefillItem& item,
                               KvPart part) {
  using Shared = Sm90Shared<kHeadDim>;
  static_assert(kSm90Tiling.tile / 8 <= kLanes);
  const PagedKv& kv = params.prefill.kv;
  const uint32_t* table = kv.table + static_cast<int64_t>(item.sequence) * kv.table_stride;
  const int64_t offset = part == KvPart::kKeys ? kv.keys_offset : kv.values_offset;
  const int box_rows = Sm90BoxRows(kv.block_tokens);
  Sm90Turn turn;
  REPRISE_NO_UNROLL
  for (int begin = item.kv_begin; begin < item.kv_end; begin += kSm90Tiling.tile) {
    const int positions =
        item.kv_end - begin < kSm90Tiling.tile ? item.kv_end - begin : kSm90Tiling.tile;
    const int boxes = (positions + box_rows - 1) >> HighestBit(box_rows);
    const int position = begin + Lane() * box_rows;
    // Read before the wait: copies begin as soon as the stage is empty.
    uint32_t block = 0;
    if (Lane() < boxes) block = table[EntryOf(kv, position)];
    uint64_t* const full = Shared::Full(part, turn.stage);
    WaitForPhase(Shared::Empty(part, turn.stage), turn.parity ^ 1);
    if (Lane() == 0) ArriveForBytes(full, boxes * box_rows * kHeadDim * 2);
    SyncWarp();
    if (Lane() < boxes) {
      const int row = static_cast<int>((block * kBlockUnit + offset) / (kHeadDim * 2)) +
                      item.kv_head * kv.block_tokens + (position & (kv.block_tokens - 1));
      for (int panel = 0; panel < Shared::kPanels; ++panel) {
        CopyBox(Shared::Panel(part, turn.stage, panel) + Lane() * box_rows * kLineBytes,
                params.rows, panel * kLineElements, row, full);
      }
    }
    turn.Advance();
  }
}

// Sets the values of the last tile behind its first `positions` to 0. By all consumers.
template <int kHeadDim>
REPRISE_DEVICE void ZeroBehind(int positions, int stage) {
  constexpr int kPieces = kLineBytes / 16;
  for (int panel = 0; panel < Sm90Shared<kHeadDim>::kPanels; ++panel) {
    uint8_t* const lines = Sm90Shared<kHeadDim>::Panel(KvPart::kValues, stage, panel);
    for (int i = positions * kPieces + ThreadInBlock(); i < kSm90Tiling.tile * kPieces;
         i += kSm90Consumers) {
      StoreForAsync(lines + i * 16, Words4{0, 0, 0, 0});
    }
  }
  FenceAsync();
}

}  // namespace reprise::engine::cuda
