// What the kernels over rows of activations are told; embed_norm.cuh, rope_append.cuh and
// activation.cuh have the shapes. Plain data. Rows are dense, row-major f32.
#pragma once

#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

inline constexpr int kRowThreads = 256;  // one block a row
inline constexpr int kRowWarps = kRowThreads / 32;
constexpr LaunchShape RowShape(int rows) { return {rows, 1, kRowThreads, kRowWarps * 4}; }

// Element type of a table of weights; numbered as ElementType.
enum class WeightType : int32_t { kF32 = 0, kBF16 = 1, kF16 = 2 };

struct EmbedParams {
  const void* table = nullptr;  // [vocab, cols] of `type`
  WeightType type = WeightType::kF32;
  const int32_t* ids = nullptr;
  float scale = 1;
  bool add = false;  // to what `out` holds: learned positions
  float* out = nullptr;
  int32_t cols = 0;

  friend bool operator==(const EmbedParams&, const EmbedParams&) = default;
};

struct NormParams {
  const float* x = nullptr;
  const float* y = nullptr;  // added to x first; may be null
  float* sum = nullptr;      // where x + y goes; may be x; null without y
  const float* weight = nullptr;
  const float* bias = nullptr;  // null: RMS norm; else layer norm
  float epsilon = 0;
  float* out = nullptr;          // may be x where there is no y
  uint16_t* narrowed = nullptr;  // out rounded to bf16, for the next product; may be null
  int32_t cols = 0;              // a multiple of 4

  friend bool operator==(const NormParams&, const NormParams&) = default;
};

struct NarrowParams {
  const float* x = nullptr;
  uint16_t* narrowed = nullptr;  // x rounded to bf16
  int64_t count = 0;             // of all rows' numbers

  friend bool operator==(const NarrowParams&, const NarrowParams&) = default;
};
constexpr LaunchShape NarrowShape(int64_t count) {
  constexpr int kEach = 4 * kRowThreads;
  return {static_cast<int>((count + kEach - 1) / kEach), 1, kRowThreads, 0};
}

// Numbered as Activation.
enum class ActivationKind : int32_t { kSiluMul, kGeluTanhMul, kGeluTanh, kGeluErf, kRelu };

struct ActivationParams {
  ActivationKind kind = ActivationKind::kRelu;
  const float* x = nullptr;      // [rows, 2 cols] for the kinds that multiply, else [rows, cols]
  float* out = nullptr;          // [rows, cols]
  uint16_t* narrowed = nullptr;  // out rounded to bf16; may be null
  int32_t cols = 0;              // a multiple of 4

  friend bool operator==(const ActivationParams&, const ActivationParams&) = default;
};

// One block has four warps, each of which takes one head of one row.
inline constexpr int kRopeWarps = 4;
inline constexpr int kRopePagePositions = 1024;

struct RopeAppendParams {
  const float* qkv = nullptr;  // [rows, (heads + 2 kv_heads) x head_dim]: q, k, v
  float* q = nullptr;          // [rows, heads x head_dim]
  PagedKv kv;
  const AttentionRow* rows = nullptr;  // a row's position is length - 1
  int32_t heads = 0;
  int32_t rotary_dim = 0;  // dims of a head that are rotated; 0: none
  // Pages of kRopePagePositions rows [rotary_dim]: cosines, then sines (rope_table.h).
  const float* const* rope_pages = nullptr;
  const float* q_norm = nullptr;  // [head_dim]: RMS norm of every head of q; null: none
  const float* k_norm = nullptr;
  float epsilon = 0;

  friend bool operator==(const RopeAppendParams&, const RopeAppendParams&) = default;
};

constexpr LaunchShape RopeAppendShape(int rows, int heads, int kv_heads, int head_dim) {
  return {rows, (heads + 2 * kv_heads + kRopeWarps - 1) / kRopeWarps, kRopeWarps * 32,
          kRopeWarps * head_dim * 4};
}

}  // namespace reprise::engine::cuda
