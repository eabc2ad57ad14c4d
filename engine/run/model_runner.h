// ModelRunner: runs a StepPlan through the model and samples the next tokens, on the threads of the
// CPU backend. Owns the logits buffer. Engine-thread only.
#pragma once

#include <vector>

#include "cachestore/block/kv_layout.h"
#include "engine/model/model.h"
#include "engine/run/sampler.h"
#include "engine/sched/scheduler.h"

namespace reprise::engine {

class ModelRunner {
 public:
  // `model` must outlive the runner. `layout`: of the blocks in every plan.
  ModelRunner(Model* model, const cachestore::KvLayout& layout) : model_(model), layout_(layout) {}

  // One outcome per chunk of `plan`, in its order; `finish` is left open. When the forward pass
  // fails, every outcome carries its error, or is void when a prefix did not arrive; a sequence
  // with unusable logits carries its own.
  std::vector<ChunkOutcome> Run(const StepPlan& plan);

 private:
  Model* const model_;
  const cachestore::KvLayout layout_;
  std::vector<float> logits_;      // [sampling chunks, vocab_size]
  std::vector<Sampler> samplers_;  // one a thread
};

}  // namespace reprise::engine
