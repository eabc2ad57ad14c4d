// What the prefill kernel is told: its plan (prefill_plan.h makes it) and its operands
// (prefill_attention.cuh has their shapes). Plain data.
#pragma once

#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

// What an item of a kernel is made of.
struct PrefillTiling {
  int32_t pairs;  // (row, head) pairs, at most
  int32_t tile;   // positions that are computed together
};
inline constexpr PrefillTiling kPrefillTiling = {64, 64};
inline constexpr int kPrefillPairs = kPrefillTiling.pairs;
inline constexpr int kPrefillTile = kPrefillTiling.tile;
inline constexpr int kPrefillWarps = kPrefillPairs / 16;
inline constexpr int kPrefillThreads = 32 * kPrefillWarps;
inline constexpr int kPrefillStages = 2;

// Rows [first_row, first_row + num_rows) of the batch (of row_list, where there is one), at
// positions start ... of `sequence`, for
// the heads of one kv head, over positions [kv_begin, kv_end) of those that they see.
struct PrefillItem {
  int32_t first_row = 0;
  int32_t num_rows = 0;
  int32_t sequence = 0;
  int32_t start = 0;
  int32_t kv_head = 0;
  int32_t kv_begin = 0;  // a multiple of the tile
  int32_t kv_end = 0;
  int32_t piece = 0;        // which of the items of these rows and kv head, in order
  int32_t pieces = 1;       // how many there are; one alone writes the output
  int32_t first_state = 0;  // the state of piece 0; the others follow
  int32_t counter = 0;
};

struct PrefillParams {
  const float* q = nullptr;
  float* out = nullptr;
  PagedKv kv;
  const PrefillItem* items = nullptr;
  const int32_t* row_list = nullptr;  // the batch's rows that items count; null: all, in order
  float* states = nullptr;
  uint32_t* counters = nullptr;
  // Not null: the rows see more positions elsewhere, and leave states here [rows][heads][head_dim +
  // 2] instead of outputs.
  float* row_states = nullptr;
  int32_t heads = 0;
  int32_t window = kNoWindow;
  float scale_log2 = 0;  // the scale of scores, times log2(e); above 0

  friend bool operator==(const PrefillParams&, const PrefillParams&) = default;
};

// The stages' keys and values, their scales, one flag.
constexpr int PrefillSharedBytes(int row_bytes) {
  return kPrefillStages * 2 * kPrefillTile * (row_bytes + 4) + 16;
}

constexpr LaunchShape PrefillShape(int row_bytes, int num_items) {
  return {num_items, 1, kPrefillThreads, PrefillSharedBytes(row_bytes)};
}

}  // namespace reprise::engine::cuda
