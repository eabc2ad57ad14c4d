// Verifier: reads what is on disk, compares it with its checksums and takes out what fails, beside
// everything else that the store does. It chooses some blocks under the lock and marks them, so
// that their disk copies stay; reads them without it; and says under it what came of that. Reads
// that are given up end by themselves, and the run with them. Thread-safe: one run at a time, a
// second one is refused.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cachestore/store/store_core.h"
#include "cachestore/store/verify_progress.h"

namespace reprise::cachestore {

class Verifier {
 public:
  // `core` outlives the verifier.
  explicit Verifier(StoreCore& core) : core_(core) {}
  // BLOCKS until no read is under way.
  ~Verifier();

  // See TieredStore::Verify. BLOCKS.
  absl::Status Run(int64_t max_bytes_per_second,
                   absl::FunctionRef<bool(const VerifyProgress&)> go_on)
      ABSL_LOCKS_EXCLUDED(core_.mu);

 private:
  // A block whose disk copy is read, and those that are read together.
  struct Reading;
  struct Batch;

  // `run` ends the run when its last share goes.
  absl::Status VerifyAll(int64_t max_bytes_per_second,
                         absl::FunctionRef<bool(const VerifyProgress&)> go_on,
                         const std::shared_ptr<void>& run) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Some keys of blocks on disk, from place `cursor` on, which moves behind them.
  std::vector<BlockKey> NextKeys(uint64_t& cursor) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Marks the first of `keys` that are on disk still, as many as are read at a time, and takes them
  // and those that are not out of `keys`.
  std::vector<Reading> Begin(std::vector<BlockKey>& keys) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Starts reading the batch. Who gives it up leaves its end to its last read.
  void Read(const std::shared_ptr<Batch>& batch) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Unmarks them, takes out those that failed, and counts.
  void End(Batch& batch, VerifyProgress& progress) ABSL_LOCKS_EXCLUDED(core_.mu);

  StoreCore& core_;
  bool running_ ABSL_GUARDED_BY(core_.mu) = false;
};

}  // namespace reprise::cachestore
