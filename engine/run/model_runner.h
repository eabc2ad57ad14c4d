// ModelRunner: runs a StepPlan through the model and samples the next tokens: plain draws on the
// backend where it does that, all others on the threads of the CPU backend. Engine-thread only.
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
  // Both fill in the outcomes of `sampling`: chunks of `plan`, by row of logits.
  absl::Status Sample(const StepPlan& plan, absl::Span<const size_t> sampling, Activations logits,
                      absl::Span<ChunkOutcome> outcomes);
  // Of `rows` of logits, by the host's sampler.
  absl::Status SampleOnHost(const StepPlan& plan, absl::Span<const size_t> sampling,
                            absl::Span<const int64_t> rows, Activations logits,
                            absl::Span<ChunkOutcome> outcomes);

  Model* const model_;
  Backend* const backend_;
  const cachestore::KvLayout layout_;
  std::vector<Sampler> samplers_;  // one a thread
};

}  // namespace reprise::engine
