#include "engine/run/model_runner.h"

#include <cstdint>

#include "absl/types/span.h"
#include "engine/run/sampler.h"

namespace reprise::engine {

std::vector<ChunkOutcome> ModelRunner::Run(const StepPlan& plan) {
  std::vector<ChunkOutcome> outcomes(plan.chunks.size());
  if (plan.chunks.empty()) return outcomes;
  std::vector<SequenceChunk> batch;
  batch.reserve(plan.chunks.size());
  size_t num_sampling = 0;
  for (const PlannedChunk& chunk : plan.chunks) {
    const Sequence& sequence = *chunk.sequence;
    batch.push_back({sequence.NextTokens(chunk.num_tokens), sequence.computed(), sequence.blocks(),
                     chunk.samples});
    num_sampling += chunk.samples ? 1 : 0;
  }
  const size_t vocab_size = static_cast<size_t>(model_->config().vocab_size);
  logits_.resize(num_sampling * vocab_size);
  const absl::Status status = model_->Forward(batch, layout_, absl::MakeSpan(logits_));
  if (!status.ok()) {
    for (ChunkOutcome& outcome : outcomes) outcome.status = status;
    return outcomes;
  }
  size_t row = 0;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (!plan.chunks[i].samples) continue;
    const Sequence& sequence = *plan.chunks[i].sequence;
    const absl::StatusOr<uint32_t> token =
        SampleToken(absl::MakeConstSpan(logits_).subspan(row++ * vocab_size, vocab_size),
                    sequence.request().sampling, sequence.prompt_tokens() + sequence.new_tokens());
    outcomes[i].status = token.status();
    if (token.ok()) outcomes[i].token = *token;
  }
  return outcomes;
}

}  // namespace reprise::engine
