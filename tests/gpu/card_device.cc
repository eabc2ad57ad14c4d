#include "tests/gpu/kernel_bed.h"

namespace reprise::engine::cuda {

absl::StatusOr<std::unique_ptr<cachestore::Device>> OpenKernelDevice() {
  return cachestore::OpenDevice();
}

bool KernelsAreEmulated() { return false; }

}  // namespace reprise::engine::cuda
