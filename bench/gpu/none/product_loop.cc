// The products of a build without CUDA.
#include "bench/gpu/product_loop.h"

namespace reprise::bench {

absl::StatusOr<std::unique_ptr<ProductLoop>> OpenProductLoop(cachestore::Device*) {
  return absl::NotFoundError("this build has no CUDA, and so no cuBLASLt");
}

}  // namespace reprise::bench
