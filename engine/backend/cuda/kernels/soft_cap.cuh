// Bounds a number smoothly.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"

namespace reprise::engine::cuda {

// cap x tanh(x / cap), in absolute terms exact to about cap x 1e-7.
REPRISE_DEVICE float SoftCapped(float x, float cap) {
  return cap * (1.0f - 2.0f / (1.0f + PowerOf2(2.88539008f * (x / cap))));
}

}  // namespace reprise::engine::cuda
