// The device of a build without CUDA.
#include <memory>

#include "absl/status/status.h"
#include "cachestore/memory/device.h"

namespace reprise::cachestore {

absl::StatusOr<std::unique_ptr<Device>> OpenDevice(const CopyCrossovers&) {
  return absl::NotFoundError(
      "this build has no CUDA; to use a GPU, build where nvcc is, with -DREPRISE_CUDA=ON");
}

}  // namespace reprise::cachestore
