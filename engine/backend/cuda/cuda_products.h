// CudaProducts: matrix products on a device. CublasLtProducts on a card; tests have one of plain
// loops.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/kernels/runtime_types.h"

namespace reprise::engine::cuda {

// One product; all operands lie in the device's memory.
struct Product {
  const PackedWeight* weight = nullptr;  // [in, out], of the same CudaProducts
  const float* x = nullptr;              // [rows, in]
  const uint16_t* narrowed = nullptr;    // x rounded to bf16; needed where TakesNarrowed(weight)
  int64_t rows = 0;                      // > 0
  const float* bias = nullptr;           // [out], or null
  float* out = nullptr;                  // [rows, out]; does not overlap x
  bool adds = false;                     // out += x W + bias; else out becomes it

  friend bool operator==(const Product&, const Product&) = default;
};

// Used where the backend is. The device outlives it, and it outlives its weights.
class CudaProducts {
 public:
  virtual ~CudaProducts() = default;

  // Copies `weight`, in host memory, as Backend::Pack. kResourceExhausted: no device memory.
  virtual absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(TensorView weight,
                                                             WeightOrder order) = 0;
  // Whether products by `weight`, one of these, read x rounded to bf16.
  virtual bool TakesNarrowed(const PackedWeight& weight) const = 0;
  // Gives `stream` the product, where it runs before or after all others of these. The first of a
  // weight's shape for about so many rows may BLOCK and reserve memory, so it goes to the compute
  // lane; others do neither. Errors are of giving it alone.
  virtual absl::Status Multiply(const Product& product, cudaStream_t stream) = 0;
};

}  // namespace reprise::engine::cuda
