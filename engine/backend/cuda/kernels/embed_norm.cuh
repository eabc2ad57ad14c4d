// Embeddings and norms, a block to a row. What a row becomes depends on itself alone. Memory, or at
// decode the launch, is the limit; operations are a few to an element.
//
//     EmbedBlock   out [rows, cols] = table[ids[row]] x scale; bytes a row: (2 or 4) cols read, 4
//                  cols written, and read when `add`
//     NormBlock    s = x (+ y); out = s / rms(s) x weight, or (s - mean) / sqrt(variance + epsilon)
//                  x weight + bias; bytes a row: 4 cols read (8 with y), 4 cols written (8 with y),
//                  2 more when narrowed; s is read again from cache
#pragma once

#include "engine/backend/cuda/kernels/kv_elements.cuh"
#include "engine/backend/cuda/kernels/row_access.cuh"

namespace reprise::engine::cuda {

REPRISE_DEVICE float WeightAt(const void* table, WeightType type, int64_t i) {
  switch (type) {
    case WeightType::kBF16:
      return FloatOfBF16(static_cast<const uint16_t*>(table)[i]);
    case WeightType::kF16:
      return FloatOfF16(static_cast<const uint16_t*>(table)[i]);
    case WeightType::kF32:
      break;
  }
  return static_cast<const float*>(table)[i];
}

REPRISE_DEVICE void EmbedBlock(const EmbedParams& params) {
  const int64_t from = static_cast<int64_t>(params.ids[BlockX()]) * params.cols;
  float* out = params.out + static_cast<int64_t>(BlockX()) * params.cols;
  for (int c = ThreadInBlock(); c < params.cols; c += kRowThreads) {
    const float value = MulRn(WeightAt(params.table, params.type, from + c), params.scale);
    out[c] = params.add ? AddRn(out[c], value) : value;
  }
}

// Sum of (s - center)^2 over the row, or of s when `plain`.
REPRISE_DEVICE float RowMoment(const float* s, int cols, float center, bool plain) {
  float sum = 0;
  for (int c = 4 * ThreadInBlock(); c < cols; c += 4 * kRowThreads) {
    const Floats4 value = LoadFloats4(s + c);
    for (const float x : value.at) {
      const float off = SubRn(x, center);
      sum = AddRn(sum, plain ? x : MulRn(off, off));
    }
  }
  return BlockSum(sum);
}

REPRISE_DEVICE void NormBlock(const NormParams& params) {
  const int cols = params.cols;
  const int64_t row = static_cast<int64_t>(BlockX()) * cols;
  const float* s = params.x + row;
  if (params.y != nullptr) {
    // A thread reads again only what it wrote.
    s = params.sum + row;
    for (int c = 4 * ThreadInBlock(); c < cols; c += 4 * kRowThreads) {
      Floats4 value = LoadFloats4(params.x + row + c);
      const Floats4 more = LoadFloats4(params.y + row + c);
      for (int i = 0; i < 4; ++i) value.at[i] = AddRn(value.at[i], more.at[i]);
      StoreFloats4(value, params.sum + row + c);
    }
  }
  const bool is_layer_norm = params.bias != nullptr;
  const auto count = static_cast<float>(cols);
  const float mean = is_layer_norm ? DivRn(RowMoment(s, cols, 0, /*plain=*/true), count) : 0.0f;
  const float square = DivRn(RowMoment(s, cols, mean, /*plain=*/false), count);
  const float inverse = DivRn(1.0f, SqrtRn(AddRn(square, params.epsilon)));
  for (int c = 4 * ThreadInBlock(); c < cols; c += 4 * kRowThreads) {
    Floats4 value = LoadFloats4(s + c);
    const Floats4 weight = LoadFloats4(params.weight + c);
    for (int i = 0; i < 4; ++i) {
      value.at[i] = MulRn(MulRn(SubRn(value.at[i], mean), inverse), weight.at[i]);
      if (is_layer_norm) value.at[i] = AddRn(value.at[i], params.bias[c + i]);
    }
    StoreFloats4(value, params.out + row + c);
    if (params.narrowed != nullptr) StoreNarrowed(value, params.narrowed + row + c);
  }
}

}  // namespace reprise::engine::cuda
