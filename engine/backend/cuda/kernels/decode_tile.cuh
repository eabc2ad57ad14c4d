// The keys and values of 16 positions in the registers of a warp, as the decode kernel takes them.
//
// No position out of range is ever read: the lanes that would are given the nearest one that is in
// range, and their scores become minus infinity. So what lies in unwritten slots cannot reach a
// sum.
#pragma once

#include "engine/backend/cuda/kernels/decode_params.h"
#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/kv_fragments.cuh"
#include "engine/backend/cuda/kernels/paged_kv.cuh"

namespace reprise::engine::cuda {

// One segment as the lanes of a warp see it.
struct DecodeWork {
  int kv_head;
  int begin, end;  // positions that the row sees
  const uint32_t* table;
};

// A lane's part of a tile of 16 positions. Lane 4 g + t holds, of K, positions g and g + 8, every
// fourth 16-byte piece of the row from t on; of V, positions 2t, 2t+1, 2t+8, 2t+9, every eighth
// piece from g on.
template <KvType kType, int kHeadDim>
struct DecodeTile {
  using Fragment = KvFragment<kType>;
  static constexpr int kRowBytes = kHeadDim * Fragment::kElementBytes;
  static constexpr int kKeyWords = kRowBytes / 16;
  static constexpr int kValueWords = kRowBytes / 32;

  uint32_t keys[2][kKeyWords];
  uint32_t values[4][kValueWords];
  float key_scales[4];  // of positions 2t, 2t+1, 2t+8, 2t+9
  float value_scales[4];
};

// The blocks of the two halves of a tile, as the table has them: 8 positions never straddle blocks.
struct TileBlocks {
  uint32_t half[2];
};

REPRISE_DEVICE int Clamped(int position, const DecodeWork& work) {
  const int last = work.end - 1;
  return position < work.begin ? work.begin : position > last ? last : position;
}

// Of any tile, also behind the last.
REPRISE_DEVICE TileBlocks BlocksOf(const PagedKv& kv, const DecodeWork& work, int tile) {
  TileBlocks blocks;
  for (int h = 0; h < 2; ++h) {
    blocks.half[h] = work.table[EntryOf(kv, Clamped(tile * kDecodeTile + 8 * h, work))];
  }
  return blocks;
}

// Where a part of the block of half h begins; `part` is keys_offset or values_offset.
REPRISE_DEVICE const uint8_t* PartOf(const PagedKv& kv, const TileBlocks& blocks, int h,
                                     int64_t part) {
  return kv.arena + blocks.half[h] * kBlockUnit + part;
}

// Row number, in a part, of the tile's position 8 h + i.
REPRISE_DEVICE int RowInPart(const PagedKv& kv, const DecodeWork& work, int tile, int h, int i) {
  const int position = Clamped(tile * kDecodeTile + 8 * h + i, work);
  return work.kv_head * kv.block_tokens + (position & (kv.block_tokens - 1));
}

template <KvType kType, int kHeadDim>
REPRISE_DEVICE void LoadScales(const PagedKv& kv, const DecodeWork& work, const TileBlocks& blocks,
                               int tile, int64_t part, float scales[4]) {
  if constexpr (KvFragment<kType>::kHasScales) {
    for (int i = 0; i < 4; ++i) {
      const int row = RowInPart(kv, work, tile, i / 2, 2 * (Lane() % 4) + i % 2);
      const auto* from =
          reinterpret_cast<const uint16_t*>(PartOf(kv, blocks, i / 2, part) + kv.scales_offset);
      scales[i] = FloatOf(static_cast<uint32_t>(from[row]) << 16);
    }
  }
}

template <KvType kType, int kHeadDim>
REPRISE_DEVICE void LoadKeys(const PagedKv& kv, const DecodeWork& work, const TileBlocks& blocks,
                             int tile, DecodeTile<kType, kHeadDim>* to) {
  using Tile = DecodeTile<kType, kHeadDim>;
  const int g = Lane() / 4;
  const int t = Lane() % 4;
  REPRISE_UNROLL
  for (int h = 0; h < 2; ++h) {
    const uint8_t* row = PartOf(kv, blocks, h, kv.keys_offset) +
                         static_cast<int64_t>(RowInPart(kv, work, tile, h, g)) * Tile::kRowBytes;
    REPRISE_UNROLL
    for (int i = 0; i < Tile::kKeyWords / 4; ++i) {
      const Words4 words = Load16(row + 64 * i + 16 * t);
      to->keys[h][4 * i] = words.x;
      to->keys[h][4 * i + 1] = words.y;
      to->keys[h][4 * i + 2] = words.z;
      to->keys[h][4 * i + 3] = words.w;
    }
  }
  LoadScales<kType, kHeadDim>(kv, work, blocks, tile, kv.keys_offset, to->key_scales);
}

template <KvType kType, int kHeadDim>
REPRISE_DEVICE void LoadValues(const PagedKv& kv, const DecodeWork& work, const TileBlocks& blocks,
                               int tile, DecodeTile<kType, kHeadDim>* to) {
  using Tile = DecodeTile<kType, kHeadDim>;
  const int g = Lane() / 4;
  const int t = Lane() % 4;
  REPRISE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row_in_part = RowInPart(kv, work, tile, i / 2, 2 * t + i % 2);
    const uint8_t* row = PartOf(kv, blocks, i / 2, kv.values_offset) +
                         static_cast<int64_t>(row_in_part) * Tile::kRowBytes;
    if constexpr (Tile::kValueWords == 2) {
      Load8(row + 8 * g, to->values[i]);
    } else {
      REPRISE_UNROLL
      for (int j = 0; j < Tile::kValueWords / 4; ++j) {
        const Words4 words = Load16(row + 128 * j + 16 * g);
        to->values[i][4 * j] = words.x;
        to->values[i][4 * j + 1] = words.y;
        to->values[i][4 * j + 2] = words.z;
        to->values[i][4 * j + 3] = words.w;
      }
    }
  }
  LoadScales<kType, kHeadDim>(kv, work, blocks, tile, kv.values_offset, to->value_scales);
}

}  // namespace reprise::engine::cuda
