// CublasLtProducts: the matrix products of a card, by cuBLASLt.
//
// A bf16 weight stays bf16, and x is rounded to bf16 for it; f32 and f16 weights are kept as f32,
// and nothing is rounded. Sums are f32. Plans are made when they are first wanted, one for a shape
// and a number of rows up to the next power of two: a step's rows change, its products' bits only
// from one such number to the next. That is PackedWeight::arithmetic()'s "fast": a row's bits
// depend on how many rows there are.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cachestore/memory/device_bytes.h"
#include "engine/backend/cuda/cublaslt/cublaslt_library.h"
#include "engine/backend/cuda/cublaslt/cublaslt_plan.h"
#include "engine/backend/cuda/cuda_products.h"
#include "engine/backend/cuda/memory_copy.h"

namespace reprise::engine::cuda {

// Thread-compatible.
class CublasLtProducts : public CudaProducts {
 public:
  // `memory` outlives it. Errors are of creating cuBLASLt's handle, which wants a card, and of
  // Device::Reserve.
  static absl::StatusOr<std::unique_ptr<CudaProducts>> Create(MemoryCopy* memory,
                                                              const CublasLtLibrary& library);
  ~CublasLtProducts() override;

  absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(TensorView weight, WeightOrder order) override;
  bool TakesNarrowed(const PackedWeight& weight) const override;
  absl::Status Multiply(const Product& product, cudaStream_t stream) override;

 private:
  CublasLtProducts(MemoryCopy* memory, const CublasLtLibrary& library)
      : memory_(memory), lt_(library) {}

  absl::StatusOr<CublasLtPlan*> PlanFor(const ProductShape& shape, int64_t rows);

  MemoryCopy* const memory_;
  const CublasLtLibrary lt_;
  cublasLtHandle_t handle_ = nullptr;
  cachestore::DeviceBytes workspace_;
  // By shape, and rows rounded up to a power of two.
  absl::flat_hash_map<std::pair<ProductShape, int64_t>, std::unique_ptr<CublasLtPlan>> plans_;
};

}  // namespace reprise::engine::cuda
