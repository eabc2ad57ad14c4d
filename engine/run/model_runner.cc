#include "engine/run/model_runner.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/types/span.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_tasks.h"
#include "engine/run/prefix_arrival.h"

namespace reprise::engine {

namespace {

// Whether a token is drawn from the model's logits as they are, and nothing is said about it.
bool IsPlainDraw(const SamplingParams& params) {
  return params.repetition_penalty == 1 && params.presence_penalty == 0 &&
         params.frequency_penalty == 0 && params.logit_bias.empty() &&
         !params.top_logprobs.has_value();
}

}  // namespace

absl::Status ModelRunner::Sample(const StepPlan& plan, absl::Span<const size_t> sampling,
                                 Activations logits, absl::Span<ChunkOutcome> outcomes) {
  std::vector<DrawRow> draws;
  std::vector<int64_t> on_host;
  for (int64_t row = 0; row < std::ssize(sampling); ++row) {
    const Sequence& sequence = *plan.chunks[sampling[row]].sequence;
    const SamplingParams& params = sequence.request().sampling;
    if (!IsPlainDraw(params)) {
      on_host.push_back(row);
      continue;
    }
    draws.push_back({row, params.temperature, params.top_k, params.top_p, params.min_p,
                     DrawUniform(params.seed, std::ssize(sequence.tokens()))});
  }
  std::vector<int32_t> tokens(draws.size());
  RETURN_IF_ERROR(backend_->Draw(logits, draws, absl::MakeSpan(tokens)));
  for (size_t i = 0; i < draws.size(); ++i) {
    if (tokens[i] < 0) {
      on_host.push_back(draws[i].row);  // which says why a row is not usable
    } else {
      outcomes[sampling[draws[i].row]].token = static_cast<uint32_t>(tokens[i]);
    }
  }
  return SampleOnHost(plan, sampling, on_host, logits, outcomes);
}

absl::Status ModelRunner::SampleOnHost(const StepPlan& plan, absl::Span<const size_t> sampling,
                                       absl::Span<const int64_t> rows, Activations logits,
                                       absl::Span<ChunkOutcome> outcomes) {
  if (rows.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const absl::Span<float> values, backend_->HostRows(logits));
  // Rows of equal cost that do not touch each other; a large vocabulary takes a millisecond each.
  samplers_.resize(CpuTaskThreads());
  const auto sample = [&](int thread, int64_t i) {
    const size_t chunk = sampling[rows[i]];
    const Sequence& sequence = *plan.chunks[chunk].sequence;
    absl::StatusOr<SampledToken> sampled = samplers_[thread].Sample(
        sequence.request().sampling, sequence.tokens(), sequence.prompt_tokens(),
        values.subspan(rows[i] * logits.cols, logits.cols));
    outcomes[chunk].status = sampled.status();
    if (!sampled.ok()) return;
    outcomes[chunk].token = sampled->token;
    outcomes[chunk].logprobs = std::move(sampled->logprobs);
  };
  RunCpuTasks(std::ssize(rows), logits.cols, sample);
  return absl::OkStatus();
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
  const absl::StatusOr<Activations> logits = model_->Forward(batch, layout_);
  absl::Status status = logits.status();
  if (status.ok()) status = Sample(plan, sampling, *logits, absl::MakeSpan(outcomes));
  if (status.ok()) return outcomes;
  const bool is_void = std::any_of(arrivals.begin(), arrivals.end(),
                                   [](const PrefixArrival& a) { return a.has_failed(); });
  outcomes.assign(plan.chunks.size(), {});
  for (ChunkOutcome& outcome : outcomes) {
    outcome.is_void = is_void;
    if (!is_void) outcome.status = status;
  }
  return outcomes;
}

}  // namespace reprise::engine
