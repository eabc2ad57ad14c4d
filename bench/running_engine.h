// RunningEngine: an engine over a store, in process, and calls that wait for their answer.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/memory/device.h"
#include "cachestore/store/store_options.h"
#include "cachestore/store/tiered_store.h"
#include "engine/backend/backend.h"
#include "engine/engine.h"
#include "engine/sched/request.h"

namespace reprise::bench {

struct Answer {
  std::vector<uint32_t> tokens;
  engine::GenerateResult result;
};

class RunningEngine {
 public:
  // Errors of TieredStore::Open and Engine::Open. BLOCKS.
  static absl::StatusOr<std::unique_ptr<RunningEngine>> Open(
      const engine::EngineOptions& options, const cachestore::StoreOptions& store_options);
  // The same on a card, whose device is the store's too and outlives it. `load` as Engine::Open's.
  static absl::StatusOr<std::unique_ptr<RunningEngine>> Open(
      const engine::EngineOptions& options, const cachestore::StoreOptions& store_options,
      cachestore::Device* device, std::unique_ptr<engine::Backend> backend,
      const engine::ModelLoader& load);
  // The same over a given tier.
  static absl::StatusOr<std::unique_ptr<RunningEngine>> Open(
      const engine::EngineOptions& options, const cachestore::StoreOptions& store_options,
      std::unique_ptr<cachestore::BackingTier> tier);

  // Generates `new_tokens` tokens greedily, past any end token. BLOCKS. Errors are the engine's.
  absl::StatusOr<Answer> Generate(absl::Span<const uint32_t> prompt, int32_t new_tokens,
                                  engine::CacheMode cache);

  // Moves every block from RAM to disk. BLOCKS. kInternal: some stay, whatever is done.
  absl::Status DemoteAll();

  cachestore::TieredStore& store() { return *store_; }
  engine::Engine& engine() { return *engine_; }

 private:
  RunningEngine() = default;

  std::unique_ptr<cachestore::TieredStore> store_;
  std::unique_ptr<engine::Engine> engine_;  // uses the store
};

}  // namespace reprise::bench
