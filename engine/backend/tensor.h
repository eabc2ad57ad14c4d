// TensorView: shape, element type and place of numbers owned by somebody else. Row-major, dense.
#pragma once

#include <cstdint>

namespace reprise::engine {

// Element type of weights and activations in memory.
enum class ElementType : uint8_t { kF32, kBF16, kF16 };

// Bytes per element.
constexpr int64_t ElementBytes(ElementType type) { return type == ElementType::kF32 ? 4 : 2; }

// A [rows, cols] matrix, or a vector with rows == 1. Does not own `data`.
struct TensorView {
  const void* data = nullptr;
  ElementType type = ElementType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
};

// Activations are f32: [rows, cols], row-major, dense. Does not own `data`.
struct Activations {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  float* row(int64_t r) const { return data + r * cols; }
};

}  // namespace reprise::engine
