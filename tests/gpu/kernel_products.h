// The matrix products and the graphs that go with OpenKernelDevice (kernel_bed.h): the card's, or
// the host's.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/cuda/cuda_products.h"
#include "engine/backend/cuda/graph_recorder.h"
#include "engine/backend/cuda/memory_copy.h"

namespace reprise::engine::cuda {

// `memory` is of a device that OpenKernelDevice gave, and outlives them. kNotFound: no cuBLASLt.
absl::StatusOr<std::unique_ptr<CudaProducts>> OpenKernelProducts(MemoryCopy* memory);

// Of a device that OpenKernelDevice gave, which outlives it.
absl::StatusOr<std::unique_ptr<GraphRecorder>> OpenKernelGraphs(cachestore::Device* device);

}  // namespace reprise::engine::cuda
