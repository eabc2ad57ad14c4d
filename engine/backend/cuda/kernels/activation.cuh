// Activations of the feed-forward layers, a block to a row; an element's value depends on itself
// (and its gate) alone.
//
//     out [rows, cols] = act(x[r][c]) x[r][cols + c] for the kinds that multiply, else act(x[r][c])
//
// Bytes a row: 4 cols read (8 when multiplied), 4 cols written, 2 more when narrowed; about 10
// operations an element: memory is the limit.
#pragma once

#include "engine/backend/cuda/kernels/row_access.cuh"

namespace reprise::engine::cuda {

// x / (1 + exp(-z)). The power is finite; beyond that the quotient is 0 to f32 anyway.
REPRISE_DEVICE float TimesLogistic(float x, float z) {
  return DivRn(x, 1.0f + PowerOf2(Min(-1.44269504f * z, 126.0f)));
}

REPRISE_DEVICE float Activated(ActivationKind kind, float x) {
  switch (kind) {
    case ActivationKind::kSiluMul:
      return TimesLogistic(x, x);
    case ActivationKind::kGeluTanhMul:
    case ActivationKind::kGeluTanh:
      // 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
      return TimesLogistic(x, 1.5957691216057308f * (x + 0.044715f * x * x * x));
    case ActivationKind::kGeluErf:
      // x Phi(x); erfc does not cancel for negative x.
      return 0.5f * x * Erfc(-0.70710678118654752f * x);
    case ActivationKind::kRelu:
      break;
  }
  return Max(x, 0.0f);
}

REPRISE_DEVICE void ActivationBlock(const ActivationParams& params) {
  const bool multiplies =
      params.kind == ActivationKind::kSiluMul || params.kind == ActivationKind::kGeluTanhMul;
  const int cols = params.cols;
  const int64_t row = BlockX();
  const float* x = params.x + row * cols * (multiplies ? 2 : 1);
  for (int c = 4 * ThreadInBlock(); c < cols; c += 4 * kRowThreads) {
    Floats4 value = LoadFloats4(x + c);
    for (float& element : value.at) element = Activated(params.kind, element);
    if (multiplies) {
      const Floats4 up = LoadFloats4(x + cols + c);
      for (int i = 0; i < 4; ++i) value.at[i] = MulRn(value.at[i], up.at[i]);
    }
    StoreFloats4(value, params.out + row * cols + c);
    if (params.narrowed != nullptr) StoreNarrowed(value, params.narrowed + row * cols + c);
  }
}

}  // namespace reprise::engine::cuda
