// CublasLtProducts: the matrix products of a card, by cuBLASLt.
//
// A bf16 weight stays bf16, and x is rounded to bf16 for it; f32 and f16 weights are kept as f32,
// and nothing is rounded. Sums are f32. Plans are made when they are first wanted, one for a shape
// and a number of rows up to the next power of two: a step's rows change, its products' bits only
// from one such number to the next. For a single row, where a product is no faster than its weight
// is read, the algorithm is the one that took least when it was first wanted. That is
// PackedWeight::arithmetic()'s "fast": a row's bits depend on how many rows there are, and on what
// was chosen.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cachestore/memory/device_bytes.h"
#include "engine/backend/cuda/cublaslt/cublaslt_library.h"
#include "engine/backend/cuda/cublaslt/cublaslt_plan.h"
#include "engine/backend/cuda/cublaslt/work_timer.h"
#include "engine/backend/cuda/cuda_products.h"
#include "engine/backend/cuda/memory_copy.h"

namespace reprise::engine::cuda {

// Thread-compatible.
class CublasLtProducts : public CudaProducts {
 public:
  // `memory` outlives it. Without `timer` nothing is timed. Errors are of creating cuBLASLt's
  // handle, which wants a card, and of Device::Reserve.
  static absl::StatusOr<std::unique_ptr<CudaProducts>> Create(
      MemoryCopy* memory, const CublasLtLibrary& library,
      std::unique_ptr<WorkTimer> timer = nullptr);
  ~CublasLtProducts() override;

  absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(TensorView weight, WeightOrder order) override;
  bool TakesNarrowed(const PackedWeight& weight) const override;
  absl::Status Multiply(const Product& product, cudaStream_t stream) override;

 private:
  class Weight;

  CublasLtProducts(MemoryCopy* memory, const CublasLtLibrary& library,
                   std::unique_ptr<WorkTimer> timer)
      : memory_(memory), lt_(library), timer_(std::move(timer)) {}

  absl::StatusOr<CublasLtPlan*> PlanFor(const ProductShape& shape, int64_t rows,
                                        const ProductOperands& operands, cudaStream_t stream);
  // Takes the algorithm of `plan`, for one row, by time: over all weights of the shape in turn, so
  // that none is found in the card's cache, into memory of its own. BLOCKS.
  absl::Status TimeAlgorithms(CublasLtPlan& plan, const ProductShape& shape,
                              ProductOperands operands, cudaStream_t stream);

  MemoryCopy* const memory_;
  const CublasLtLibrary lt_;
  const std::unique_ptr<WorkTimer> timer_;  // or null
  cublasLtHandle_t handle_ = nullptr;
  cachestore::DeviceBytes workspace_;
  std::vector<const Weight*> weights_;  // that live
  // By shape, and rows rounded up to a power of two.
  absl::flat_hash_map<std::pair<ProductShape, int64_t>, std::unique_ptr<CublasLtPlan>> plans_;
};

}  // namespace reprise::engine::cuda
