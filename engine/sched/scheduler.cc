#include "engine/sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::engine {

using cachestore::BlockKey;
using cachestore::TieredStore;

namespace {

// Of a burst of requests, so many a plan: a step does not wait for the lookups of all.
constexpr int kToldAtOnce = 4;

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, const BlockBudget& budget, TieredStore* store,
                     std::function<void()> on_loaded)
    : options_(options),
      budget_(budget),
      on_loaded_(std::move(on_loaded)),
      account_(store),
      chooser_(store, options.prefix_loading, options.load_timeout) {
  CHECK(options_.max_running > 0 && options_.step_tokens >= options_.max_running);
}

void Scheduler::Submit(std::unique_ptr<Sequence> sequence) {
  CHECK(budget_.WorstCaseBlocks(sequence->request()) <= budget_.usable_blocks());
  const absl::Time deadline = sequence->request().deadline;
  if (deadline < absl::InfiniteFuture()) deadlines_.emplace(deadline, sequence->id());
  waiting_.Push(std::move(sequence));
}

void Scheduler::Cancel(SequenceId id, absl::Time now) {
  std::unique_ptr<Sequence> sequence = TakeOut(id);
  if (sequence == nullptr) return;
  End(std::move(sequence), absl::OkStatus(), FinishReason::kCancelled, now);
}

void Scheduler::EndAll(const absl::Status& status, absl::Time now) {
  while (!admitted_.empty()) End(RemoveAdmitted(0), status, FinishReason::kCancelled, now);
  while (waiting_.size() > 0) End(waiting_.PopFront(), status, FinishReason::kCancelled, now);
}

void Scheduler::EndOverdue(absl::Time now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    std::unique_ptr<Sequence> sequence = TakeOut(deadlines_.begin()->second);
    CHECK(sequence != nullptr);
    const absl::Status status = absl::DeadlineExceededError(absl::StrCat(
        "the request's deadline has passed after ", sequence->new_tokens(), " new tokens; it was ",
        sequence->state() == SequenceState::kWaiting ? "waiting" : "running"));
    ++counters_.missed_deadlines;
    End(std::move(sequence), status, FinishReason::kCancelled, now);
  }
}

StepPlan Scheduler::Plan(absl::Time now) {
  planned_ = now;
  EndOverdue(now);
  for (const auto& sequence : admitted_) {
    if (sequence->state() == SequenceState::kFollowing && MayEndFollowing(*sequence)) {
      sequence->EndFollowing(account_, ChooseLoadFor(*sequence), on_loaded_, now);
    }
    if (sequence->state() == SequenceState::kLoading) TakeOverLoad(*sequence, now);
  }
  AdmitWaiting(now);
  TellOfNewcomers();
  int64_t spare_blocks = PreemptUntilAllFit();
  StepPlan plan;
  int64_t left = options_.step_tokens;
  for (const auto& sequence : admitted_) {
    if (sequence->state() != SequenceState::kRunning || sequence->remaining() > 1) continue;
    left -= PlanChunk(sequence.get(), 1, &spare_blocks, &plan);
  }
  for (const auto& sequence : admitted_) {
    if (sequence->state() != SequenceState::kRunning || sequence->remaining() == 1) continue;
    if (left == 0) break;
    left -= PlanChunk(sequence.get(), left, &spare_blocks, &plan);
  }
  if (plan.chunks.empty() && plan.starved_sequences == 0) PlanArrival(now, &plan);
  starved_ = plan.starved_sequences > 0;
  CheckStall(plan, now);
  return plan;
}

std::optional<int64_t> Scheduler::PreemptionsForNext() const {
  if (admitted_.empty()) return 0;
  Sequence& next = *waiting_.front();
  const int32_t priority = next.request().priority;
  int64_t prefill_tokens = 0;  // to be computed before it, whoever is preempted
  int64_t missing_blocks = 0;
  for (const auto& sequence : admitted_) {
    missing_blocks += sequence->MissingBlocks();
    if (sequence->request().priority >= priority) prefill_tokens += sequence->MissingTokens();
  }
  if (prefill_tokens >= 2 * int64_t{options_.step_tokens}) return std::nullopt;
  PreemptionForecast forecast(&account_);
  for (int64_t kept = num_admitted(); kept > 0; --kept) {
    // What everybody holds and needs now, and one block each to grow: else it would soon be
    // preempted.
    int64_t room = budget_.usable_blocks() - forecast.held_blocks() - missing_blocks - (kept + 1);
    // What the budget promises is not there, others hold it: only what comes free counts.
    if (starved_) room = std::min(room, forecast.freed_blocks() - missing_blocks);
    if (kept < options_.max_running && FitsInto(room, next, forecast)) return num_admitted() - kept;
    const Sequence& last = *admitted_[kept - 1];
    if (last.request().priority >= priority) return std::nullopt;
    missing_blocks -= last.MissingBlocks();
    forecast.GiveBack(last);
  }
  return num_admitted();  // alone it fits
}

bool Scheduler::FitsInto(int64_t room, Sequence& next, const PreemptionForecast& forecast) const {
  if (next.NeededBlocks() <= room) return true;
  const absl::Span<const BlockKey> keys = next.FullBlockKeys();
  const int64_t held = forecast.CountHeld(keys);
  const absl::Span<const BlockKey> others = keys.subspan(held);
  const Sequence* const leader = others.empty() ? nullptr : claims_.ClaimantOf(others.front());
  const bool follows = leader != nullptr && leader->RanksBefore(next);
  return next.NeededBlocks() - held - (follows ? claims_.CountClaimed(others) : 0) <= room;
}

void Scheduler::AdmitWaiting(absl::Time now) {
  while (waiting_.size() > 0) {
    const std::optional<int64_t> preemptions = PreemptionsForNext();
    if (!preemptions.has_value()) return;
    for (int64_t i = 0; i < *preemptions; ++i) Preempt(admitted_.size() - 1);
    std::unique_ptr<Sequence> sequence = waiting_.PopFront();
    if (!sequence->was_admitted()) {
      ++counters_.admitted_sequences;
      counters_.prompt_tokens += sequence->prompt_tokens();
    }
    sequence->Admit(next_turn_++, account_, ChooseLoadFor(*sequence), on_loaded_, now);
    // What is in RAM is there at once, and counts for those that come next.
    TakeOverLoad(*sequence, now);
    const auto ranks_before = [](const auto& a, const auto& b) { return a->RanksBefore(*b); };
    const auto place = std::upper_bound(admitted_.begin(), admitted_.end(), sequence, ranks_before);
    admitted_.insert(place, std::move(sequence));
  }
}

void Scheduler::TellOfNewcomers() {
  for (int i = 0; i < kToldAtOnce; ++i) {
    const Sequence* const sequence = waiting_.TakeNewcomer();
    if (sequence == nullptr) return;
    sequence->TellAhead(account_);
  }
}

LoadChoice Scheduler::ChooseLoadFor(const Sequence& sequence) {
  int64_t tokens_ahead = 0;
  for (const auto& other : admitted_) {
    if (other->state() == SequenceState::kRunning && other->remaining() > 1 &&
        other->RanksBefore(sequence)) {
      tokens_ahead += other->remaining();
    }
  }
  const bool is_alone =
      waiting_.size() == 0 && std::all_of(admitted_.begin(), admitted_.end(),
                                          [&](const auto& s) { return s.get() == &sequence; });
  const LoadChoice choice = chooser_.Choose(sequence, tokens_ahead, is_alone);
  counters_.passed_over_tokens += choice.passed_over_blocks * sequence.ns().layout.block_tokens;
  return choice;
}

void Scheduler::TakeOverLoad(Sequence& sequence, absl::Time now) {
  const int64_t cached_before = sequence.cached_tokens();
  if (!sequence.TryFinishLoading(account_)) {
    if (now < sequence.load_started() + options_.load_timeout) return;
    sequence.AbandonLoading();
    ++counters_.abandoned_loads;
  } else if (sequence.load_was_late()) {
    ++counters_.abandoned_loads;
  }
  RunOrFollow(sequence, now);
  NoteCached(sequence, sequence.cached_tokens() - cached_before);
}

void Scheduler::NoteCached(const Sequence& sequence, int64_t tokens) {
  counters_.cached_tokens += tokens;
  waiting_.Charge(sequence, -tokens);
}

void Scheduler::RunOrFollow(Sequence& sequence, absl::Time now) {
  const absl::Span<const BlockKey> keys = sequence.UnsealedBlockKeys();
  const Sequence* const leader = keys.empty() ? nullptr : claims_.ClaimantOf(keys.front());
  if (leader != nullptr && leader->RanksBefore(sequence)) {
    const int64_t num_blocks = claims_.CountClaimed(keys);
    sequence.Follow(num_blocks, keys[num_blocks - 1]);
    counters_.followed_blocks += num_blocks;
    return;
  }
  const Sequence* const first = FirstSampleOf(sequence);
  if (first != nullptr && !first->HasPrompt() && !sequence.HasPrompt()) {
    sequence.FollowFirstSample();
    return;
  }
  sequence.Run(now);
  if (first != nullptr && first->HasPrompt()) sequence.CopyPrompt(account_, *first);
  claims_.Claim(sequence, sequence.UnsealedBlockKeys());
}

bool Scheduler::MayEndFollowing(const Sequence& sequence) const {
  const std::optional<BlockKey>& key = sequence.followed_key();
  if (key.has_value() && claims_.ClaimantOf(*key) != nullptr) return false;
  const Sequence* const first = FirstSampleOf(sequence);
  return first == nullptr || first->HasPrompt();
}

const Sequence* Scheduler::FirstSampleOf(const Sequence& sequence) const {
  if (sequence.sample() == 0) return nullptr;
  const auto it = std::find_if(admitted_.begin(), admitted_.end(), [&](const auto& other) {
    return other->id() == sequence.request_id();
  });
  return it == admitted_.end() ? nullptr : it->get();
}

void Scheduler::ShareNewPrompt(const Sequence& first, absl::Time now) {
  for (const auto& sequence : admitted_) {
    if (sequence->request_id() != first.id() || sequence->state() != SequenceState::kFollowing ||
        !MayEndFollowing(*sequence)) {
      continue;
    }
    sequence->EndFollowing(account_, ChooseLoadFor(*sequence), on_loaded_, now);
    TakeOverLoad(*sequence, now);
  }
}

int64_t Scheduler::PreemptUntilAllFit() {
  for (;;) {
    int64_t spare = budget_.usable_blocks() - account_.held_blocks();
    for (const auto& sequence : admitted_) {
      if (sequence->state() == SequenceState::kRunning && sequence->LacksBlock()) --spare;
    }
    if (spare >= 0 || !PreemptLast()) return std::max<int64_t>(spare, 0);
  }
}

bool Scheduler::PreemptLast() {
  int64_t num_running = 0;
  size_t last = 0;
  for (size_t i = 0; i < admitted_.size(); ++i) {
    if (admitted_[i]->state() != SequenceState::kRunning) continue;
    ++num_running;
    last = i;
  }
  if (num_running < 2) return false;
  Preempt(last);
  return true;
}

void Scheduler::Preempt(size_t index) {
  std::unique_ptr<Sequence> sequence = RemoveAdmitted(index);
  sequence->Preempt(account_);
  waiting_.Push(std::move(sequence));
  ++counters_.preemptions;
}

int64_t Scheduler::PlanChunk(Sequence* sequence, int64_t budget_tokens, int64_t* spare_blocks,
                             StepPlan* plan) {
  const int64_t blocks_before = sequence->num_blocks();
  const int64_t lacking = sequence->LacksBlock() ? 1 : 0;
  const int64_t wanted = std::min({sequence->remaining(), budget_tokens,
                                   sequence->RoomWith(blocks_before + lacking + *spare_blocks)});
  const int64_t n = sequence->Reserve(account_, wanted);
  *spare_blocks -= std::max<int64_t>(sequence->num_blocks() - blocks_before - lacking, 0);
  if (n == 0) {
    ++plan->starved_sequences;
    return 0;
  }
  plan->chunks.push_back({sequence, n, n == sequence->remaining()});
  return n;
}

void Scheduler::PlanArrival(absl::Time now, StepPlan* plan) {
  if (admitted_.size() != 1 || waiting_.size() > 0) return;
  Sequence* const sequence = admitted_.front().get();
  if (sequence->state() != SequenceState::kLoading || !sequence->TryBeginArrival(now)) return;
  int64_t spare_blocks = std::max<int64_t>(budget_.usable_blocks() - sequence->num_blocks() - 1, 0);
  if (PlanChunk(sequence, options_.step_tokens, &spare_blocks, plan) > 0) return;
  plan->starved_sequences = 0;
  sequence->EndArrival(account_, /*prefix_is_safe=*/false);
}

void Scheduler::FinishArrival(Sequence& sequence, const ChunkOutcome& outcome, absl::Time now) {
  if (outcome.is_void || !outcome.status.ok()) {
    counters_.void_steps += outcome.is_void ? 1 : 0;
    sequence.EndArrival(account_, /*prefix_is_safe=*/false);
    TakeOverLoad(sequence, now);
    return;
  }
  const int64_t cached_before = sequence.cached_tokens();
  sequence.EndArrival(account_, /*prefix_is_safe=*/true);
  claims_.Claim(sequence, sequence.UnsealedBlockKeys());
  ++counters_.arrived_prefixes;
  NoteCached(sequence, sequence.cached_tokens() - cached_before);
}

void Scheduler::CheckStall(const StepPlan& plan, absl::Time now) {
  if (!plan.chunks.empty() || plan.starved_sequences == 0) {
    stalled_since_ = absl::InfiniteFuture();
    return;
  }
  ++counters_.starved_plans;
  stalled_since_ = std::min(stalled_since_, now);
  const absl::Duration stalled = now - stalled_since_;
  if (stalled < options_.stall_preemption) return;
  if (PreemptLast()) {  // its slots let the others go on
    stalled_since_ = now;
    return;
  }
  if (stalled < options_.stall_timeout) return;
  const auto running = std::find_if(admitted_.begin(), admitted_.end(), [](const auto& sequence) {
    return sequence->state() == SequenceState::kRunning;
  });
  End(RemoveAdmitted(running - admitted_.begin()),
      absl::ResourceExhaustedError(
          absl::StrCat("no RAM slot came free for ", absl::FormatDuration(stalled),
                       ": blocks are pinned outside of the ", budget_.usable_blocks(),
                       " that sequences may use")),
      FinishReason::kCancelled, now);
  stalled_since_ = now;
}

void Scheduler::Commit(const StepPlan& plan, absl::Span<const ChunkOutcome> outcomes,
                       absl::Time now) {
  CHECK(plan.chunks.size() == outcomes.size());
  NoteStepTime(plan, now);
  for (size_t i = 0; i < outcomes.size(); ++i) Finish(plan.chunks[i], outcomes[i], now);
}

void Scheduler::NoteStepTime(const StepPlan& plan, absl::Time now) {
  int64_t prefill_tokens = 0;
  int64_t decode_tokens = 0;
  for (const PlannedChunk& chunk : plan.chunks) {
    if (chunk.sequence->state() == SequenceState::kArriving) return;  // it waited, too
    (chunk.num_tokens > 1 ? prefill_tokens : decode_tokens) += chunk.num_tokens;
  }
  chooser_.prefill_rate().AddStep(prefill_tokens, decode_tokens, now - planned_);
}

void Scheduler::Finish(const PlannedChunk& chunk, const ChunkOutcome& outcome, absl::Time now) {
  Sequence* const sequence = chunk.sequence;
  if (sequence->state() == SequenceState::kArriving) FinishArrival(*sequence, outcome, now);
  if (outcome.is_void) return;
  if (outcome.status.ok()) {
    CHECK(outcome.token.has_value() == chunk.samples);
    const int64_t prompt_left = sequence->prompt_tokens() - sequence->computed();
    const size_t sealed_before = sequence->num_sealed_blocks();
    const int64_t again = chunk.num_tokens - sequence->Advance(account_, chunk.num_tokens);
    if (sequence->num_sealed_blocks() > sealed_before) {
      const absl::Span<const BlockKey> keys =
          sequence->FullBlockKeys().subspan(0, sequence->num_sealed_blocks());
      claims_.Release(*sequence, keys.subspan(std::min(sealed_before, keys.size())));
    }
    counters_.recomputed_tokens += again;
    counters_.prefilled_tokens +=
        std::max<int64_t>(std::clamp<int64_t>(prompt_left, 0, chunk.num_tokens) - again, 0);
    const bool is_first_sample = sequence->sample() == 0 && sequence->request().num_samples > 1;
    if (is_first_sample && prompt_left > 0 && sequence->HasPrompt()) ShareNewPrompt(*sequence, now);
    if (chunk.samples) {
      sequence->Append(*outcome.token, now);
      ++counters_.sampled_tokens;
      waiting_.Charge(*sequence, 1);
    }
    if (!outcome.finish.has_value()) return;
  }
  const auto it = std::find_if(admitted_.begin(), admitted_.end(),
                               [sequence](const auto& s) { return s.get() == sequence; });
  CHECK(it != admitted_.end());
  End(RemoveAdmitted(it - admitted_.begin()), outcome.status,
      outcome.finish.value_or(FinishReason::kCancelled), now);
}

std::vector<EndedSequence> Scheduler::TakeEnded() { return std::exchange(ended_, {}); }

void Scheduler::AwaitRoom(absl::Time deadline) {
  for (const auto& sequence : admitted_) {
    if (sequence->state() != SequenceState::kRunning) continue;
    // All namespaces of an engine have blocks of one size, so room for one is room for all.
    account_.store()->AwaitRoom(sequence->ns(), deadline, account_.store()->compute_tier(),
                                cachestore::Purpose::kCompute);
    return;
  }
}

absl::Time Scheduler::NextPlanTime() const {
  if (waiting_.size() > 0 && PreemptionsForNext().has_value()) return absl::InfinitePast();
  absl::Time next = deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first;
  for (const auto& sequence : admitted_) {
    const SequenceState state = sequence->state();
    if (state == SequenceState::kRunning ||
        (state == SequenceState::kFollowing && MayEndFollowing(*sequence))) {
      return absl::InfinitePast();
    }
    // Whom a following one waits for runs or loads.
    if (state == SequenceState::kFollowing) continue;
    next = std::min(next, sequence->load_started() + options_.load_timeout);
  }
  return next;
}

void Scheduler::End(std::unique_ptr<Sequence> sequence, absl::Status status, FinishReason reason,
                    absl::Time now) {
  sequence->TellEnd(account_, reason);
  sequence->ReleaseBlocks(account_);
  deadlines_.erase({sequence->request().deadline, sequence->id()});
  ended_.push_back({std::move(sequence), std::move(status), reason, now});
}

std::unique_ptr<Sequence> Scheduler::RemoveAdmitted(size_t index) {
  std::unique_ptr<Sequence> sequence = std::move(admitted_[index]);
  admitted_.erase(admitted_.begin() + index);
  claims_.Release(*sequence, sequence->UnsealedBlockKeys());
  return sequence;
}

std::unique_ptr<Sequence> Scheduler::TakeOut(SequenceId id) {
  if (std::unique_ptr<Sequence> waiting = waiting_.Remove(id); waiting != nullptr) return waiting;
  const auto it = std::find_if(admitted_.begin(), admitted_.end(),
                               [id](const auto& sequence) { return sequence->id() == id; });
  return it == admitted_.end() ? nullptr : RemoveAdmitted(it - admitted_.begin());
}

}  // namespace reprise::engine
