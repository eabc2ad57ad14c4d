// CudaProducts: matrix products on a device's compute lane. CublasLtProducts on a card; tests have
// one of plain loops.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"

namespace reprise::engine::cuda {

// One product; all operands lie in the device's memory.
struct Product {
  const PackedWeight* weight = nullptr;  // [in, out], of the same CudaProducts
  const float* x = nullptr;              // [rows, in]
  // x rounded to bf16, or null where nobody has made it: a product that wants it makes it itself.
  const uint16_t* narrowed = nullptr;
  int64_t rows = 0;             // > 0
  const float* bias = nullptr;  // [out], or null
  float* out = nullptr;         // [rows, out]; does not overlap x
  bool adds = false;            // out += x W + bias; else out becomes it
};

// Used where the backend is. The device outlives it, and it outlives its weights.
class CudaProducts {
 public:
  virtual ~CudaProducts() = default;

  // Copies `weight`, in host memory, as Backend::Pack. kResourceExhausted: no device memory.
  virtual absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(TensorView weight,
                                                             WeightOrder order) = 0;
  // Gives the compute lane the product. Errors are of giving it alone.
  virtual absl::Status Multiply(const Product& product) = 0;
};

}  // namespace reprise::engine::cuda
