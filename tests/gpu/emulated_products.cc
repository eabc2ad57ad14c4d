#include "tests/fakes/host_products.h"
#include "tests/fakes/lazy_device.h"
#include "tests/gpu/kernel_products.h"

namespace reprise::engine::cuda {

absl::StatusOr<std::unique_ptr<CudaProducts>> OpenKernelProducts(MemoryCopy* memory) {
  return std::make_unique<HostProducts>(static_cast<cachestore::LazyDevice*>(memory->device()));
}

}  // namespace reprise::engine::cuda
