// How the copy engine of sm_90 is told of tensors.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace reprise::engine::cuda {

// Rows of 16-bit elements in the card's memory, one behind the other, and boxes of 64 columns.
struct RowsTensor {
  void* base = nullptr;  // at a multiple of 16 bytes
  int64_t rows = 0;
  int32_t columns = 0;   // a multiple of 64
  int32_t box_rows = 0;  // 1 to 256
};

// Makes a CUtensorMap of `tensor` at `map`: 128 bytes at a multiple of 64, swizzled over 128 bytes.
// Needs no context. cudaErrorNotSupported: a driver without it; cudaErrorInvalidValue: no such
// tensor.
cudaError_t EncodeTensorMap(const RowsTensor& tensor, void* map);

}  // namespace reprise::engine::cuda
