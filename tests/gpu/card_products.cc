#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/card/card_graphs.h"
#include "engine/backend/cuda/cublaslt/cublaslt_products.h"
#include "tests/gpu/kernel_products.h"

namespace reprise::engine::cuda {

absl::StatusOr<std::unique_ptr<CudaProducts>> OpenKernelProducts(MemoryCopy* memory) {
  ASSIGN_OR_RETURN(const CublasLtLibrary library, LoadCublasLt());
  return CublasLtProducts::Create(memory, library);
}

absl::StatusOr<std::unique_ptr<GraphRecorder>> OpenKernelGraphs(cachestore::Device* device) {
  return NewCardGraphs(device);
}

}  // namespace reprise::engine::cuda
