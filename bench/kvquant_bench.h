// Suite "kvquant": what each KV format costs in bytes and in the model's answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

struct KvQuantBenchOptions {
  Extent extent = Extent::kFull;
  // Hugging Face folders; empty: one model with seeded weights of each family that can be made up.
  std::vector<std::string> model_folders;
  int64_t prompt_tokens = 256;
  int64_t new_tokens = 256;
  int32_t num_threads = 0;  // 0: one per core
};

// For each model and format three rows, whose metrics end with the model's family and the dtype:
// kvquant.bytes_per_token; kvquant.logit_error, the relative L2 distance of the logits from those
// with f32 KV; kvquant.greedy_agreement, the share of tokens that are the likeliest with both.
// Every format is given the text that f32 KV chose, so that each token is compared after the same
// text. Errors as LoadModel's; kInvalidArgument: a text that does not fit the context. BLOCKS for
// minutes.
absl::StatusOr<std::vector<Result>> RunKvQuantBench(const KvQuantBenchOptions& options);

}  // namespace reprise::bench
