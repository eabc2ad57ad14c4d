// The GraphRecorder of a card: CUDA graphs. A stream of its own is captured, in the mode in which
// other threads may call CUDA meanwhile; the lanes' streams never are.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "cachestore/memory/device.h"
#include "engine/backend/cuda/graph_recorder.h"

namespace reprise::engine::cuda {

// For `device`, a card, which outlives it. Errors are of creating the stream.
absl::StatusOr<std::unique_ptr<GraphRecorder>> NewCardGraphs(cachestore::Device* device);

}  // namespace reprise::engine::cuda
