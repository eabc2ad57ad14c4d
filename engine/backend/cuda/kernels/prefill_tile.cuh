// Tiles of 64 positions of keys and values in shared memory, as the prefill kernel takes them: two
// stages, one being filled by asynchronous copies while the other is used.
//
//     stage   keys [64][row_bytes], values [64][row_bytes], then scales f32 [2][64] (int8 only)
//
// The 16-byte pieces of a row are permuted by the row's number, so that the eight rows of a matrix
// that ldmatrix reads lie in different banks.
//
// No position out of range is ever read: in its place comes the nearest one that is in range, whose
// score is then minus infinity. So what lies in unwritten slots cannot reach a sum.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/kv_fragments.cuh"
#include "engine/backend/cuda/kernels/paged_kv.cuh"
#include "engine/backend/cuda/kernels/prefill_params.h"

namespace reprise::engine::cuda {

template <KvType kType, int kHeadDim>
struct PrefillStage {
  using Fragment = KvFragment<kType>;
  static constexpr int kRowBytes = kHeadDim * Fragment::kElementBytes;
  static constexpr int kPieces = kRowBytes / 16;  // of a row
  static constexpr int kPartBytes = kPrefillTile * kRowBytes;

  uint8_t* base;

  REPRISE_DEVICE explicit PrefillStage(int number) : base(SharedBase() + number * 2 * kPartBytes) {}

  // Piece `piece` of row `row` of the keys (part 0) or values (part 1).
  REPRISE_DEVICE uint8_t* Piece(int part, int row, int piece) const {
    const int turn = kPieces >= 8 ? row & 7 : (row >> 1) & 3;
    return base + part * kPartBytes + row * kRowBytes + (piece ^ turn) * 16;
  }
};

// Scale of `row` in part `part` of stage `stage`.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE float& StageScale(int stage, int part, int row) {
  const Shared<float> scales(SharedBase() +
                             kPrefillStages * 2 * PrefillStage<kType, kHeadDim>::kPartBytes);
  return scales[(stage * 2 + part) * kPrefillTile + row];
}

// Begins to copy positions [begin, begin + 64) of the item's keys and values into `stage`. By all
// threads of the block.
template <KvType kType, int kHeadDim>
REPRISE_DEVICE void FetchTile(const PagedKv& kv, const PrefillItem& item, int begin, int stage) {
  using Stage = PrefillStage<kType, kHeadDim>;
  const Stage to(stage);
  const uint32_t* table = kv.table + static_cast<int64_t>(item.sequence) * kv.table_stride;
  const auto part_of = [&](int row) {
    const int wanted = begin + row;
    const int position = wanted < item.kv_end ? wanted : item.kv_end - 1;
    const uint8_t* block = kv.arena + table[EntryOf(kv, position)] * kBlockUnit;
    const int row_in_part = item.kv_head * kv.block_tokens + (position & (kv.block_tokens - 1));
    struct Place {
      const uint8_t* block;
      int row;
    };
    return Place{block, row_in_part};
  };
  REPRISE_NO_UNROLL  // the addresses of all copies at once would spill
      for (int i = 0; i < kPrefillTile * Stage::kPieces / kPrefillThreads; ++i) {
    const int index = i * kPrefillThreads + ThreadInBlock();
    const int row = index / Stage::kPieces;
    const int piece = index % Stage::kPieces;
    const auto place = part_of(row);
    const uint8_t* from =
        place.block + static_cast<int64_t>(place.row) * Stage::kRowBytes + piece * 16;
    CopyAsync16(to.Piece(0, row, piece), from + kv.keys_offset);
    CopyAsync16(to.Piece(1, row, piece), from + kv.values_offset);
  }
  CommitCopies();
  if constexpr (KvFragment<kType>::kHasScales) {
    const int part = ThreadInBlock() / kPrefillTile;
    const int row = ThreadInBlock() % kPrefillTile;
    const auto place = part_of(row);
    const uint8_t* scales =
        place.block + (part == 0 ? kv.keys_offset : kv.values_offset) + kv.scales_offset;
    const uint16_t bits = reinterpret_cast<const uint16_t*>(scales)[place.row];
    StageScale<kType, kHeadDim>(stage, part, row) = FloatOf(static_cast<uint32_t>(bits) << 16);
  }
}

}  // namespace reprise::engine::cuda
