// The groups of rows of suite "gpu-engine". What each row means and where its limit comes from:
// bench/README.md. BLOCK for up to two minutes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/gpu_engine_bench.h"
#include "bench/report.h"
#include "engine/model/demo_model.h"

namespace reprise::bench {

// What the groups share.
struct GpuEngineSetting {
  const GpuEngineBenchOptions& options;
  const GpuEngineBed& bed;
  std::string folder;  // of the model's description
  engine::DemoModelOptions model;
};

// Rows of a step that computes a prompt, at most.
int64_t CardChunkTokens(Extent extent);

// Prompt number `number` of `length` ids of the model; prompts differ from their first block on.
std::vector<uint32_t> CardPrompt(const GpuEngineSetting& setting, uint64_t number, int64_t length);

// gpu.decode_tokens_per_s_`batch`, and the same against the peer.
absl::StatusOr<std::vector<Result>> MeasureCardDecode(const GpuEngineSetting& setting, int batch);

// gpu.ttft_hit_`tokens` and gpu.ttft_speedup_`tokens`; `least_speedup` is the goal, 0: none.
absl::StatusOr<std::vector<Result>> MeasureCardHit(const GpuEngineSetting& setting, int64_t tokens,
                                                   double least_speedup);

}  // namespace reprise::bench
