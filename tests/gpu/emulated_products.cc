#include "tests/fakes/host_products.h"
#include "tests/fakes/lazy_graphs.h"
#include "tests/gpu/kernel_products.h"

namespace reprise::engine::cuda {

absl::StatusOr<std::unique_ptr<CudaProducts>> OpenKernelProducts(MemoryCopy*) {
  return std::make_unique<HostProducts>();
}

absl::StatusOr<std::unique_ptr<GraphRecorder>> OpenKernelGraphs(cachestore::Device* device) {
  return std::make_unique<LazyGraphs>(device);
}

}  // namespace reprise::engine::cuda
