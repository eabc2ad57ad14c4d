// The models that the engine is measured with: known geometries with random weights, as folders
// that ours and the peers read. Thread-compatible.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "engine/model/demo_model.h"
#include "engine/model/model_config.h"

namespace reprise::bench {

struct BenchModel {
  std::string name;  // "qwen2_bf16": part of the names of its rows and of its folder
  engine::DemoModelOptions options;
};

// Qwen2.5-0.5B and GPT-2 small, in f32 and bf16. For a quick extent, tiny models of the same names.
// Two things differ from the originals: the LM head is not tied to the embedding (a step reads as
// much), and GPT-2 has 4,096 positions instead of 1,024, so that it can take the same prompts.
std::vector<BenchModel> BenchModels(Extent extent);

// The folder of `model` below `parent`, written if it is not there yet. Errors as WriteDemoModel's.
absl::StatusOr<std::string> MakeBenchModel(const BenchModel& model, const std::string& parent);

// Bytes of weights that one decode step of the model in `folder` reads: all of the checkpoint but
// the tables of which it reads one row (positions, and tokens unless they are the LM head as well).
int64_t StepWeightBytes(const std::string& folder, const engine::ModelConfig& config);

}  // namespace reprise::bench
