#include "engine/run/model_runner.h"

#include <cstdint>

#include "absl/types/span.h"
#include "engine/backend/cpu_tasks.h"

namespace reprise::engine {

std::vector<ChunkOutcome> ModelRunner::Run(const StepPlan& plan) {
  std::vector<ChunkOutcome> outcomes(plan.chunks.size());
  if (plan.chunks.empty()) return outcomes;
  std::vector<SequenceChunk> batch;
  batch.reserve(plan.chunks.size());
  std::vector<size_t> sampling;  // chunks, by row of logits
  for (const PlannedChunk& chunk : plan.chunks) {
    const Sequence& sequence = *chunk.sequence;
    batch.push_back({sequence.NextTokens(chunk.num_tokens), sequence.computed(), sequence.blocks(),
                     chunk.samples});
    if (chunk.samples) sampling.push_back(batch.size() - 1);
  }
  const size_t vocab_size = static_cast<size_t>(model_->config().vocab_size);
  logits_.resize(sampling.size() * vocab_size);
  const absl::Status status = model_->Forward(batch, layout_, absl::MakeSpan(logits_));
  if (!status.ok()) {
    for (ChunkOutcome& outcome : outcomes) outcome.status = status;
    return outcomes;
  }
  // Rows of equal cost that do not touch each other; a large vocabulary takes a millisecond each.
  samplers_.resize(CpuTaskThreads());
  const auto sample = [&](int thread, int64_t row) {
    const size_t chunk = sampling[row];
    const Sequence& sequence = *plan.chunks[chunk].sequence;
    const absl::StatusOr<uint32_t> token = samplers_[thread].Sample(
        absl::MakeConstSpan(logits_).subspan(row * vocab_size, vocab_size),
        sequence.request().sampling, sequence.prompt_tokens() + sequence.new_tokens());
    outcomes[chunk].status = token.status();
    if (token.ok()) outcomes[chunk].token = *token;
  };
  RunCpuTasks(static_cast<int64_t>(sampling.size()), static_cast<int64_t>(vocab_size), sample);
  return outcomes;
}

}  // namespace reprise::engine
