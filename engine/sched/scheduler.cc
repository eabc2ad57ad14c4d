#include "engine/sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::engine {

using cachestore::TieredStore;

Scheduler::Scheduler(const SchedulerOptions& options, const BlockBudget& budget, TieredStore* store,
                     std::function<void()> on_loaded)
    : options_(options), budget_(budget), store_(store), on_loaded_(std::move(on_loaded)) {
  CHECK(options_.max_running > 0 && options_.step_tokens >= options_.max_running);
}

void Scheduler::Submit(std::unique_ptr<Sequence> sequence) {
  CHECK(budget_.WorstCaseBlocks(sequence->request()) <= budget_.usable_blocks());
  waiting_.push_back(std::move(sequence));
}

void Scheduler::Cancel(SequenceId id, absl::Time now) {
  const auto is_it = [id](const std::unique_ptr<Sequence>& s) { return s->id() == id; };
  if (auto it = std::find_if(waiting_.begin(), waiting_.end(), is_it); it != waiting_.end()) {
    std::unique_ptr<Sequence> sequence = std::move(*it);
    waiting_.erase(it);
    End(std::move(sequence), absl::OkStatus(), FinishReason::kCancelled, now);
    return;
  }
  if (auto it = std::find_if(admitted_.begin(), admitted_.end(), is_it); it != admitted_.end()) {
    End(RemoveAdmitted(it - admitted_.begin()), absl::OkStatus(), FinishReason::kCancelled, now);
  }
}

void Scheduler::EndAll(const absl::Status& status, absl::Time now) {
  while (!admitted_.empty()) End(RemoveAdmitted(0), status, FinishReason::kCancelled, now);
  while (!waiting_.empty()) {
    std::unique_ptr<Sequence> sequence = std::move(waiting_.front());
    waiting_.pop_front();
    End(std::move(sequence), status, FinishReason::kCancelled, now);
  }
}

StepPlan Scheduler::Plan(absl::Time now) {
  AdmitWaiting(now);
  TakeOverLoads(now);
  StepPlan plan;
  int64_t left = options_.step_tokens;
  for (const auto& sequence : admitted_) {
    if (sequence->state() != SequenceState::kRunning || sequence->remaining() > 1) continue;
    left -= PlanChunk(sequence.get(), 1, &plan);
  }
  for (const auto& sequence : admitted_) {
    if (sequence->state() != SequenceState::kRunning || sequence->remaining() == 1) continue;
    if (left == 0) break;
    left -= PlanChunk(sequence.get(), left, &plan);
  }
  CheckStall(plan, now);
  return plan;
}

bool Scheduler::CanAdmit() const {
  return !waiting_.empty() && num_admitted() < options_.max_running &&
         reserved_blocks_ + budget_.WorstCaseBlocks(waiting_.front()->request()) <=
             budget_.usable_blocks();
}

void Scheduler::AdmitWaiting(absl::Time now) {
  while (CanAdmit()) {
    reserved_blocks_ += budget_.WorstCaseBlocks(waiting_.front()->request());
    admitted_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    Sequence* sequence = admitted_.back().get();
    sequence->Admit(store_, on_loaded_, now);
    ++counters_.admitted_sequences;
    counters_.prompt_tokens += sequence->prompt_tokens();
  }
}

void Scheduler::TakeOverLoads(absl::Time now) {
  for (const auto& sequence : admitted_) {
    if (sequence->state() != SequenceState::kLoading) continue;
    if (sequence->TryFinishLoading(now)) {
      counters_.cached_tokens += sequence->cached_tokens();
    } else if (now >= sequence->admitted() + options_.load_timeout) {
      sequence->AbandonLoading(now);
      ++counters_.abandoned_loads;
    }
  }
}

int64_t Scheduler::PlanChunk(Sequence* sequence, int64_t budget_tokens, StepPlan* plan) {
  const int64_t wanted = std::min(sequence->remaining(), budget_tokens);
  const int64_t n = sequence->Reserve(store_, wanted);
  if (n == 0) {
    ++plan->starved_sequences;
    return 0;
  }
  plan->chunks.push_back({sequence, n, n == sequence->remaining()});
  return n;
}

void Scheduler::CheckStall(const StepPlan& plan, absl::Time now) {
  if (!plan.chunks.empty() || plan.starved_sequences == 0) {
    stalled_since_ = absl::InfiniteFuture();
    return;
  }
  ++counters_.starved_plans;
  stalled_since_ = std::min(stalled_since_, now);
  if (now - stalled_since_ < options_.stall_timeout) return;
  // The youngest has the least to lose, and its slots let the others go on.
  for (size_t i = admitted_.size(); i-- > 0;) {
    if (admitted_[i]->state() != SequenceState::kRunning) continue;
    End(RemoveAdmitted(i),
        absl::ResourceExhaustedError(
            absl::StrCat("no RAM slot came free for ", absl::FormatDuration(now - stalled_since_),
                         ": blocks are pinned outside of the ", budget_.usable_blocks(),
                         " that sequences may use")),
        FinishReason::kCancelled, now);
    break;
  }
  stalled_since_ = now;
}

void Scheduler::Commit(const StepPlan& plan, absl::Span<const ChunkOutcome> outcomes,
                       absl::Time now) {
  CHECK(plan.chunks.size() == outcomes.size());
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const PlannedChunk& chunk = plan.chunks[i];
    const ChunkOutcome& outcome = outcomes[i];
    Sequence* sequence = chunk.sequence;
    if (outcome.status.ok()) {
      CHECK(outcome.token.has_value() == chunk.samples);
      counters_.prefilled_tokens += std::clamp<int64_t>(
          sequence->prompt_tokens() - sequence->computed(), 0, chunk.num_tokens);
      sequence->Advance(store_, chunk.num_tokens);
      if (chunk.samples) {
        sequence->Append(*outcome.token, now);
        ++counters_.sampled_tokens;
      }
      if (!outcome.finish.has_value()) continue;
    }
    const auto it = std::find_if(admitted_.begin(), admitted_.end(),
                                 [sequence](const auto& s) { return s.get() == sequence; });
    CHECK(it != admitted_.end());
    End(RemoveAdmitted(it - admitted_.begin()), outcome.status,
        outcome.finish.value_or(FinishReason::kCancelled), now);
  }
}

std::vector<EndedSequence> Scheduler::TakeEnded() { return std::exchange(ended_, {}); }

void Scheduler::AwaitRoom(absl::Time deadline) {
  for (const auto& sequence : admitted_) {
    if (sequence->state() != SequenceState::kRunning) continue;
    // All namespaces of an engine have blocks of one size, so room for one is room for all.
    store_->AwaitRoom(sequence->ns(), deadline);
    return;
  }
}

absl::Time Scheduler::NextPlanTime() const {
  if (CanAdmit()) return absl::InfinitePast();
  absl::Time next = absl::InfiniteFuture();
  for (const auto& sequence : admitted_) {
    if (sequence->state() == SequenceState::kRunning) return absl::InfinitePast();
    next = std::min(next, sequence->admitted() + options_.load_timeout);
  }
  return next;
}

void Scheduler::End(std::unique_ptr<Sequence> sequence, absl::Status status, FinishReason reason,
                    absl::Time now) {
  sequence->ReleaseBlocks();
  ended_.push_back({std::move(sequence), std::move(status), reason, now});
}

std::unique_ptr<Sequence> Scheduler::RemoveAdmitted(size_t index) {
  std::unique_ptr<Sequence> sequence = std::move(admitted_[index]);
  admitted_.erase(admitted_.begin() + index);
  reserved_blocks_ -= budget_.WorstCaseBlocks(sequence->request());
  return sequence;
}

}  // namespace reprise::engine
