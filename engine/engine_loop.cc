#include "engine/engine_loop.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"

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
      runner_(parts.model, layout),
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
    auto sequence = std::make_unique<Sequence>(submission.id, submission.ns,
                                               std::move(submission.request), submission.submitted);
    outputs_.emplace(submission.id, std::make_unique<OutputStream>(
                                        parts_.tokenizer, &parts_.model->config(),
                                        &sequence->request(), std::move(submission.sink)));
    scheduler_.Submit(std::move(sequence));
  }
  const absl::Time now = absl::Now();
  for (SequenceId id : mail.cancelled) scheduler_.Cancel(id, now);
  return !mail.closed;
}

void EngineLoop::Step() {
  const StepPlan plan = scheduler_.Plan(absl::Now());
  inbox_->SetTakenWaiting(scheduler_.num_waiting());
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
    outcome.finish = outputs_.at(plan.chunks[i].sequence->id())->Push(*outcome.token, logprobs);
  }
}

void EngineLoop::DeliverEnded() {
  std::vector<EndedSequence> ended = scheduler_.TakeEnded();
  for (const EndedSequence& end : ended)
    ++(end.status.ok() ? finished_requests_ : failed_requests_);
  PublishStats();
  for (const EndedSequence& end : ended) {
    const SequenceId id = end.sequence->id();
    inbox_->Forget(id);
    const auto it = outputs_.find(id);
    if (end.status.ok()) {
      it->second->Finish(end.sequence->ResultAt(end.reason, end.ended));
    } else {
      it->second->Fail(end.status);
    }
    outputs_.erase(it);
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
                       .running_requests = scheduler_.num_admitted()};
}

}  // namespace reprise::engine
