// The device of a build with CUDA.
#include <memory>

#include "cachestore/memory/cuda/cuda_device.h"
#include "cachestore/memory/device.h"

namespace reprise::cachestore {

absl::StatusOr<std::unique_ptr<Device>> OpenDevice(const CopyCrossovers& crossovers) {
  return CudaDevice::Open(crossovers);
}

}  // namespace reprise::cachestore
