#include "engine/engine_loop.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/engine_request.h"

namespace reprise::engine {
namespace {

// How long the thread waits for a slot before it looks at its inbox again.
constexpr absl::Duration kRoomWait = absl::Milliseconds(20);
// Pause between plans that found no slot although the store had room when asked.
constexpr absl::Duration kStarvedPause = absl::Milliseconds(5);

bool HasFailed(const ChunkOutcome& outcome) { return !outcome.status.ok(); }

// Those that failed did so of `cause`.
void Fail(const absl::Status& cause, std::vector<ChunkOutcome>* outcomes) {
  for (ChunkOutcome& outcome : *outcomes) {
    if (HasFailed(outcome)) outcome.status = cause;
  }
}

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
  inbox_->Close(absl::UnavailableError("the engine is shutting down"));
  thread_.join();
}

absl::Status EngineLoop::health() const {
  absl::MutexLock lock(&health_mu_);
  return health_;
}

void EngineLoop::OnLost(std::function<void()> callback) {
  {
    absl::MutexLock lock(&health_mu_);
    if (health_.ok()) {
      on_lost_ = std::move(callback);
      return;
    }
  }
  if (callback) callback();
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
  absl::Status end;
  for (absl::Time wake_up = absl::InfiniteFuture(); (end = Receive(wake_up)).ok();) {
    Step();
    wake_up = starved_steps_ > 1 ? absl::Now() + kStarvedPause : scheduler_.NextPlanTime();
  }
  scheduler_.EndAll(end, absl::Now());
  DeliverEnded();
}

absl::Status EngineLoop::Receive(absl::Time deadline) {
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
  return mail.closed;
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
    if (std::any_of(outcomes.begin(), outcomes.end(), HasFailed)) {
      if (const absl::Status lost = CheckParts(); !lost.ok()) Fail(lost, &outcomes);
    }
    Emit(plan, &outcomes);
    scheduler_.Commit(plan, outcomes, absl::Now());
  } else if (plan.starved_sequences > 0) {
    ++starved_steps_;
    CheckParts().IgnoreError();  // if it is lost, the next mail says so
    scheduler_.AwaitRoom(absl::Now() + kRoomWait);
  } else {
    starved_steps_ = 0;
  }
  DeliverEnded();
}

absl::Status EngineLoop::CheckParts() {
  absl::Status cause = parts_.backend->Health();
  cause.Update(parts_.store->health(parts_.store->compute_tier()));
  if (cause.ok()) return absl::OkStatus();
  const absl::Status lost = absl::UnavailableError(
      absl::StrCat("what the model is computed on has failed for good, and the engine has ended: ",
                   cause.message()));
  std::function<void()> callback;
  {
    absl::MutexLock lock(&health_mu_);
    health_ = lost;
    callback = std::exchange(on_lost_, nullptr);
  }
  inbox_->Close(lost);
  if (callback) callback();
  return lost;
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
