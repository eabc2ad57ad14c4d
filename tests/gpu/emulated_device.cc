#include "tests/fakes/lazy_device.h"
#include "tests/gpu/kernel_bed.h"

namespace reprise::engine::cuda {

absl::StatusOr<std::unique_ptr<cachestore::Device>> OpenKernelDevice() {
  return std::make_unique<cachestore::LazyDevice>();
}

bool KernelsAreEmulated() { return true; }

std::string WhyNotHopper() { return ""; }

}  // namespace reprise::engine::cuda
