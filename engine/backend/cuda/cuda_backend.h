// CudaBackend: the Backend of a card, over a cachestore::Device: its memory and its compute lane,
// the kernels of kernels/launchers.h, and CudaProducts. What it computes depends, in the last bits,
// on which rows are computed together: work is cut for the card to be full, not for a row.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/memory/device.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/cuda_products.h"

namespace reprise::engine::cuda {

// `kv_arena`: the part of `device`'s memory that holds all KV blocks, at multiples of kBlockUnit
// from its start. Both outlive the backend; `products` are of the device. kResourceExhausted: no
// pinned memory.
absl::StatusOr<std::unique_ptr<Backend>> NewCudaBackend(cachestore::Device* device,
                                                        absl::Span<std::byte> kv_arena,
                                                        std::unique_ptr<CudaProducts> products);

}  // namespace reprise::engine::cuda
