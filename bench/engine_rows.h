// What the rows of suite "engine" are measured with, and its groups of rows. What each row means
// and where its limit comes from: bench/README.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/bench_models.h"
#include "bench/decoder.h"
#include "bench/engine_decoder.h"
#include "bench/extent.h"
#include "bench/report.h"
#include "engine/backend/backend.h"
#include "engine/model/model.h"

namespace reprise::bench {

// Ours and the peers, each with the same model loaded.
struct EngineContest {
  BenchModel bench_model;
  std::string folder;
  int num_threads = 1;
  std::unique_ptr<engine::Backend> backend;
  std::unique_ptr<engine::Model> model;  // uses the backend
  std::unique_ptr<EngineDecoder> ours;   // uses the model
  std::vector<std::unique_ptr<Decoder>> peers;
};

// "`metric`_`model name`", with what was computed by whom as its context.
Result EngineRow(const EngineContest& contest, const std::string& metric, const std::string& unit);

// Sets the row's peer to the best of `figures` (rates), one for each peer, and tells all of them.
void SetPeers(const EngineContest& contest, const std::vector<double>& figures, Result* row);

// prefill.tokens_per_s: a prompt of 2,048 tokens.
absl::StatusOr<std::vector<Result>> MeasurePrefill(EngineContest& contest, Extent extent);

// prefill.gemm_fraction, decode.gemm_batch_*: the matrix products of layers by themselves.
absl::StatusOr<std::vector<Result>> MeasureProducts(EngineContest& contest, Extent extent);

// decode.tokens_per_s_batch_`batch`, and for one sequence decode.bandwidth_fraction: single tokens
// after contexts of 1,024.
absl::StatusOr<std::vector<Result>> MeasureDecode(EngineContest& contest, int batch, Extent extent);

}  // namespace reprise::bench
