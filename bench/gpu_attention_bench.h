// Suite "gpu-attention": attention on a GPU beside what its memory and its matrix units allow.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/copy_bed.h"
#include "bench/extent.h"
#include "bench/gpu/attention_work.h"
#include "bench/gpu/product_loop.h"
#include "bench/report.h"

namespace reprise::bench {

struct GpuAttentionBenchOptions {
  std::vector<std::string> groups;  // empty: all
  // The command of a peer that speaks the lines of bench/gpu/peers/attention_peers.py; empty: none.
  std::vector<std::string> peers;
  Extent extent = Extent::kFull;
};

// Rows of the chosen groups: "decode" (batch x context), "skew" (Zipf lengths beside uniform ones),
// "fp8" (beside bf16), "cascade" (a shared prefix), "prefill", "prefill_hopper". kNotFound: there
// is no device; kDataLoss: a kernel is wrong. BLOCKS for minutes.
absl::StatusOr<std::vector<Result>> RunGpuAttentionBench(const GpuAttentionBenchOptions& options,
                                                         const DeviceOpener& open,
                                                         const AttentionWorks& works,
                                                         const ProductsOpener& open_products);

}  // namespace reprise::bench
