#include "engine/engine_loop.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/engine_request.h"

namespace reprise::engine {
namespace {

// How long the thread waits for a slot before it looks at its inbox again.
constexpr absl::Duration kRoomWait = absl::Milliseconds(20);
// Pause between plans that found no slot although the store had room when asked.
constexpr absl::Duration kStarvedPause = absl::Milliseconds(5);

}  // namespace

EngineLoop::EngineLoop(const EngineParts& parts, const cachestore::KvLayout& layout,
                       const BlockBudget& budget, const SchedulerOptions& scheduling,
                       int64_t max_waiting)
    : parts_(parts),
      budget_(budget),
      inbox_(std::make_shared<Inbox>(max_waiting)),
      // The inbox is shared with the callback, which may come after the loop is gone.
      scheduler_(scheduling, budget, parts.store, [inbox = inbox_] { inbox->Wake(); }),
      runner_(parts.model, parts.backend, layout),
      thread_([this] { Run(); }) {}

EngineLoop::~EngineLoop() {
  inbox_->Close();
  thread_.join();
}

absl::StatusOr<RequestId> EngineLoop::Submit(const cachestore::NamespaceHandle& ns,
                                             GenerateRequest request,
                                             std::shared_ptr<TokenSink> sink) {
  if (absl::Status status = budget_.CheckFits(request); !status.ok()) return status;
  return inbox_->Submit(
      {.ns = ns, .request = std::move(request), .sink = std::move(sink), .submitted = absl::Now()});
}

EngineStats EngineLoop::stats() const {
  absl::MutexLock lock(&stats_mu_);
  EngineStats stats = stats_;
  stats.waiting_requests = inbox_->num_waiting();
  return stats;
}

void EngineLoop::Run() {
  absl::Time wake_up = absl::InfiniteFuture();
  while (Receive(wake_up)) {
    Step();
    wake_up = starved_steps_ > 1 ? absl::Now() + kStarvedPause : scheduler_.NextPlanTime();
  }
  scheduler_.EndAll(absl::UnavailableError("the engine is shutting down"), absl::Now());
  DeliverEnded();
}

bool EngineLoop::Receive(absl::Time deadline) {
  Inbox::Mail mail = inbox_->Take(deadline);
  for (Submission& submission : mail.submissions) {
    auto answer = std::make_unique<Answer>(std::move(submission.sink));
    for (int32_t sample = 0; sample < submission.request.num_samples; ++sample) {
      GenerateRequest request = submission.request;
      request.sampling.seed = SeedOfSample(request.sampling.seed, sample);
      auto sequence = std::make_unique<Sequence>(submission.id + sample, submission.ns,
                                                 std::move(request), submission.submitted, sample);
      answer->AddSample(parts_.tokenizer, &parts_.model->config(), &sequence->request());
      scheduler_.Submit(std::move(sequence));
    }
    answers_.emplace(submission.id, std::move(answer));
  }
  for (RequestId id : mail.cancelled) CancelSamples(id);
  return !mail.closed;
}

void EngineLoop::CancelSamples(RequestId id) {
  const auto it = answers_.find(id);
  if (it == answers_.end()) return;
  const absl::Time now = absl::Now();
  for (int32_t i = 0; i < it->second->num_samples(); ++i) scheduler_.Cancel(id + i, now);
}

void EngineLoop::Step() {
  const absl::Time now = absl::Now();
  const StepPlan plan = scheduler_.Plan(now);
  inbox_->SetTakenWaiting(scheduler_.num_waiting(), now);
  if (!plan.chunks.empty()) {
    starved_steps_ = 0;
    PublishStats();
    std::vector<ChunkOutcome> outcomes = runner_.Run(plan);
    Emit(plan, &outcomes);
    scheduler_.Commit(plan, outcomes, absl::Now());
  } else if (plan.starved_sequences > 0) {
    ++starved_steps_;
    scheduler_.AwaitRoom(absl::Now() + kRoomWait);
  } else {
    starved_steps_ = 0;
  }
  DeliverEnded();
}

void EngineLoop::Emit(const StepPlan& plan, std::vector<ChunkOutcome>* outcomes) {
  for (size_t i = 0; i < outcomes->size(); ++i) {
    ChunkOutcome& outcome = (*outcomes)[i];
    if (!outcome.token.has_value()) continue;
    const TokenLogprobs* logprobs = outcome.logprobs.has_value() ? &*outcome.logprobs : nullptr;
    const Sequence& sequence = *plan.chunks[i].sequence;
    outcome.finish =
        answers_.at(sequence.request_id())->Push(sequence.sample(), *outcome.token, logprobs);
  }
}

void EngineLoop::DeliverEnded() {
  std::vector<RequestId> complete;
  // A sample that fails takes the others of its request along: they end in the next turn.
  for (std::vector<EndedSequence> ended = scheduler_.TakeEnded(); !ended.empty();
       ended = scheduler_.TakeEnded()) {
    for (const EndedSequence& end : ended) {
      const RequestId id = end.sequence->request_id();
      Answer& answer = *answers_.at(id);
      answer.End(end);
      if (!end.status.ok()) CancelSamples(id);
      if (!answer.is_complete()) continue;
      complete.push_back(id);
      ++(answer.status().ok() ? finished_requests_ : failed_requests_);
    }
  }
  PublishStats();
  for (const RequestId id : complete) {
    inbox_->Forget(id);
    answers_.extract(id).mapped()->Deliver();
  }
}

void EngineLoop::PublishStats() {
  const SchedulerCounters& counters = scheduler_.counters();
  absl::MutexLock lock(&stats_mu_);
  stats_ = EngineStats{.finished_requests = finished_requests_,
                       .failed_requests = failed_requests_,
                       .prompt_tokens = counters.prompt_tokens,
                       .cached_tokens = counters.cached_tokens,
                       .prefilled_tokens = counters.prefilled_tokens,
                       .decoded_tokens = counters.sampled_tokens,
                       .followed_blocks = counters.followed_blocks,
                       .preemptions = counters.preemptions,
                       .recomputed_tokens = counters.recomputed_tokens,
                       .missed_deadlines = counters.missed_deadlines,
                       .passed_over_tokens = counters.passed_over_tokens,
                       .abandoned_loads = counters.abandoned_loads,
                       .arrived_prefixes = counters.arrived_prefixes,
                       .void_steps = counters.void_steps,
                       .prefill_tokens_per_second = scheduler_.prefill_rate().tokens_per_second(),
                       .running_requests = scheduler_.num_admitted()};
}

}  // namespace reprise::engine
