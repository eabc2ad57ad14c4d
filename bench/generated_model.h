// Models whose weights are in no file: random numbers of a given geometry, made where they are
// wanted. Functions; thread-safe.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/model/demo_model.h"
#include "engine/model/model.h"

namespace reprise::bench {

// The geometry of Llama 3 8B in bf16.
engine::DemoModelOptions LlamaOf8B();

// A model of `options` on `backend`, in bf16, of the config.json that WriteDemoDescription wrote
// into `folder`. Its matrices are windows of the same random numbers, which take as much of the
// host's memory as the largest of them. Errors as LoadDecoderWeights'. BLOCKS for seconds.
absl::StatusOr<std::unique_ptr<engine::Model>> GenerateModel(
    const engine::DemoModelOptions& options, const std::string& folder, engine::Backend* backend);

// Bytes of weights that a decode step of it reads.
int64_t GeneratedStepBytes(const engine::DemoModelOptions& options);

}  // namespace reprise::bench
