// CudaBackend: the Backend of a card, over a cachestore::Device: its memory and its compute lane,
// the kernels of kernels/launchers.h, and CudaProducts. What it computes depends, in the last bits,
// on which rows are computed together: work is cut for the card to be full, not for a row.
#pragma once

#include <memory>

#include "engine/backend/backend.h"
#include "engine/backend/cuda/cuda_products.h"
#include "engine/backend/cuda/graph_recorder.h"
#include "engine/backend/cuda/memory_copy.h"
#include "engine/backend/cuda/prefill_kernel.h"

namespace reprise::engine::cuda {

// On the device of `memory`, which outlives the backend; `products` are of that device, and may use
// `memory`. All KV blocks lie in one arena that the device reaches, at multiples of kBlockUnit.
// `recorder`, of that device too: decode steps are given as graphs (step_graphs.h); null: none are.
// `prefill`: where it takes the KV; a step fails on a card that cannot run it.
std::unique_ptr<Backend> NewCudaBackend(std::unique_ptr<MemoryCopy> memory,
                                        std::unique_ptr<CudaProducts> products,
                                        std::unique_ptr<GraphRecorder> recorder = nullptr,
                                        PrefillKernel prefill = PrefillKernel::kMma);

}  // namespace reprise::engine::cuda
