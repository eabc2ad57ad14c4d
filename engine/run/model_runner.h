// ModelRunner: runs a StepPlan through the model and samples the next tokens, on the threads of the
// CPU backend. Engine-thread only.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/block/kv_layout.h"
#include "engine/backend/backend.h"
#include "engine/model/model.h"
#include "engine/run/sampler.h"
#include "engine/sched/scheduler.h"

namespace reprise::engine {

class ModelRunner {
 public:
  // `model` and `backend`, in whose memory its logits lie, must outlive the runner. `layout`: of
  // the blocks in every plan.
  ModelRunner(Model* model, Backend* backend, const cachestore::KvLayout& layout)
      : model_(model), backend_(backend), layout_(layout) {}

  // One outcome per chunk of `plan`, in its order; `finish` is left open. When the forward pass
  // fails, every outcome carries its error, or is void when a prefix did not arrive; a sequence
  // with unusable logits carries its own.
  std::vector<ChunkOutcome> Run(const StepPlan& plan);

 private:
  // The logits of `batch`: [chunks that want them, vocab_size].
  absl::StatusOr<absl::Span<float>> Compute(absl::Span<const SequenceChunk> batch);

  Model* const model_;
  Backend* const backend_;
  const cachestore::KvLayout layout_;
  std::vector<Sampler> samplers_;  // one a thread
};

}  // namespace reprise::engine
