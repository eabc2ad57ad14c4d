// Suite "decode": greedy decoding with and without a KV cache, the published GPT-2 experiment.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/report.h"

namespace reprise::bench {

struct DecodeBenchOptions {
  std::string model_folder;  // empty: GPT-2 small geometry with seeded weights
  std::vector<int64_t> marks = {10, 110, 310, 510, 710, 910};  // steps to report at, ascending
  int64_t prompt_tokens = 10;
  int32_t num_threads = 0;  // 0: one per core

  // kInvalidArgument: no marks, or marks that do not ascend from 1 on.
  absl::Status Validate() const;
};

// Decodes marks.back() tokens twice: with the cache each step computes one token; without it each
// step computes the whole sequence again. Both arms advance mark by mark in turns, so that a noisy
// machine disturbs both. Prints the table of seconds at each mark to `out`. Errors as LoadModel's;
// kInternal when the two arms disagree on a token. REQUIRES: `options` are valid.
absl::StatusOr<std::vector<Result>> RunDecodeBench(const DecodeBenchOptions& options,
                                                   std::ostream& out);

}  // namespace reprise::bench
