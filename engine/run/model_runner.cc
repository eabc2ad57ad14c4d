#include "engine/run/model_runner.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/types/span.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_tasks.h"
#include "engine/run/prefix_arrival.h"

namespace reprise::engine {

absl::StatusOr<absl::Span<float>> ModelRunner::Compute(absl::Span<const SequenceChunk> batch) {
  ASSIGN_OR_RETURN(const Activations logits, model_->Forward(batch, layout_));
  return backend_->HostRows(logits);
}

std::vector<ChunkOutcome> ModelRunner::Run(const StepPlan& plan) {
  std::vector<ChunkOutcome> outcomes(plan.chunks.size());
  if (plan.chunks.empty()) return outcomes;
  std::vector<SequenceChunk> batch;
  batch.reserve(plan.chunks.size());
  std::vector<size_t> sampling;  // chunks, by row of logits
  std::vector<PrefixArrival> arrivals;
  arrivals.reserve(plan.chunks.size());
  for (const PlannedChunk& chunk : plan.chunks) {
    const Sequence& sequence = *chunk.sequence;
    batch.push_back({sequence.NextTokens(chunk.num_tokens), sequence.computed(), sequence.blocks(),
                     chunk.samples});
    if (sequence.state() == SequenceState::kArriving) {
      batch.back().arrival = &arrivals.emplace_back(&sequence, layout_);
    }
    if (chunk.samples) sampling.push_back(batch.size() - 1);
  }
  const size_t vocab_size = static_cast<size_t>(model_->config().vocab_size);
  const absl::StatusOr<absl::Span<float>> logits = Compute(batch);
  if (!logits.ok()) {
    const bool is_void = std::any_of(arrivals.begin(), arrivals.end(),
                                     [](const PrefixArrival& a) { return a.has_failed(); });
    for (ChunkOutcome& outcome : outcomes) {
      outcome.is_void = is_void;
      if (!is_void) outcome.status = logits.status();
    }
    return outcomes;
  }
  // Rows of equal cost that do not touch each other; a large vocabulary takes a millisecond each.
  samplers_.resize(CpuTaskThreads());
  const auto sample = [&](int thread, int64_t row) {
    const size_t chunk = sampling[row];
    const Sequence& sequence = *plan.chunks[chunk].sequence;
    absl::StatusOr<SampledToken> sampled = samplers_[thread].Sample(
        sequence.request().sampling, sequence.tokens(), sequence.prompt_tokens(),
        logits->subspan(row * vocab_size, vocab_size));
    outcomes[chunk].status = sampled.status();
    if (!sampled.ok()) return;
    outcomes[chunk].token = sampled->token;
    outcomes[chunk].logprobs = std::move(sampled->logprobs);
  };
  RunCpuTasks(static_cast<int64_t>(sampling.size()), static_cast<int64_t>(vocab_size), sample);
  return outcomes;
}

}  // namespace reprise::engine
