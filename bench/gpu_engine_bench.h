// Suite "gpu-engine": an 8B model on a GPU: time to the first token with the prompt's KV in RAM,
// and decoding, beside what the GPU's memory and its link allow.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/copy_bed.h"
#include "bench/extent.h"
#include "bench/gpu/attention_work.h"
#include "bench/report.h"
#include "engine/backend/cuda/open_card.h"

namespace reprise::bench {

struct GpuEngineBenchOptions {
  std::vector<std::string> groups;  // empty: all
  // The command of a peer that speaks the lines of bench/peers/peer_protocol.py, with a model of
  // the same geometry (bench/gpu/peers/transformers_decode.py); empty: none.
  std::vector<std::string> peers;
  Extent extent = Extent::kFull;
};

// What is measured; the real ones, but in tests.
struct GpuEngineBed {
  std::function<absl::StatusOr<engine::cuda::OpenedCard>()> open_card;
  DeviceOpener open_device;  // once more, for copies
  AttentionWorks works;      // for reading
};

// Rows of the chosen groups: "decode_1", "decode_8", "decode_64", "ttft_1k", "ttft_16k",
// "ttft_100k". A quick extent has a model of two small layers, and prompts of a few blocks.
// kNotFound: there is no card; kInternal: a prompt's KV was not where it is measured from. BLOCKS
// for a minute a group.
absl::StatusOr<std::vector<Result>> RunGpuEngineBench(const GpuEngineBenchOptions& options,
                                                      const GpuEngineBed& bed);

}  // namespace reprise::bench
