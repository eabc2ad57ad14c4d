#include "absl/strings/str_cat.h"
#include "tests/gpu/kernel_bed.h"

namespace reprise::engine::cuda {

absl::StatusOr<std::unique_ptr<cachestore::Device>> OpenKernelDevice() {
  return cachestore::OpenDevice();
}

bool KernelsAreEmulated() { return false; }

std::string WhyNotHopper() {
  cudaDeviceProp card;
  const cudaError_t error = cudaGetDeviceProperties(&card, 0);
  // Not for a reason that stages.sh knows.
  if (error != cudaSuccess) return cudaGetErrorString(error);
  if (card.major == 9 && card.minor == 0) return "";
  return absl::StrCat("not for this card: it is of compute capability ", card.major, ".",
                      card.minor, ", not 9.0");
}

}  // namespace reprise::engine::cuda
