// The groups of rows of suite "ttft". What each row means and where its limit comes from:
// bench/README.md. Each function measures its group and returns its rows. BLOCKS for up to a
// minute.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "bench/engine_decoder.h"
#include "bench/extent.h"
#include "bench/report.h"
#include "engine/backend/backend.h"
#include "engine/model/model.h"

namespace reprise::bench {

// What the groups share.
struct TtftSetting {
  Extent extent = Extent::kFull;
  std::string models;  // folder of the models
  std::string disk;    // folder on the disk to use
  int32_t num_threads = 0;
};

// The model of an engine once more, to be run without engine and store.
struct BareModel {
  std::unique_ptr<engine::Backend> backend;
  std::unique_ptr<engine::Model> model;  // uses the backend
  std::unique_ptr<EngineDecoder> decoder;

  static absl::StatusOr<BareModel> Load(const std::string& folder, int32_t num_threads);
};

// The folder of the model called `name`, written if need be.
absl::StatusOr<std::string> TtftModel(const TtftSetting& setting, const std::string& name);

// Prompt number `number` of `length` ids; prompts differ from their first block on.
std::vector<uint32_t> TtftPrompt(uint64_t number, int64_t length, int64_t vocab_size);

// ttft.hit_over_bound: every full block of the prompt is in RAM.
absl::StatusOr<std::vector<Result>> MeasureRamHit(const TtftSetting& setting);

// ttft.disk_over_best: every full block of the prompt is on disk.
absl::StatusOr<std::vector<Result>> MeasureDiskHit(const TtftSetting& setting);

// ttft.by_layer, and the same on a disk of 200 MB/s: a prefix on disk, and tokens behind it.
absl::StatusOr<std::vector<Result>> MeasureByLayer(const TtftSetting& setting);

// ttft.zero_reuse_p50, _p99: nothing is cached.
absl::StatusOr<std::vector<Result>> MeasureZeroReuse(const TtftSetting& setting);

// serve.throughput: conversations side by side.
absl::StatusOr<std::vector<Result>> MeasureServe(const TtftSetting& setting);

}  // namespace reprise::bench
