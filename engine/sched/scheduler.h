// Scheduler: decides what the next step computes, and keeps every sequence's blocks.
//
//     StepPlan plan = scheduler.Plan(now);          // admit, load, give out slots
//     outcomes = runner.Run(plan);                  // the model; not known here
//     scheduler.Commit(plan, outcomes, now);        // seal, append, end
//
// Continuous batching: every sequence that only lacks its newest token gets one token (decode);
// what is left of step_tokens goes to the prefill of the others in the order of their rank, cut
// into chunks. A sequence is admitted when the blocks that everybody needs now fit, with one more
// for each to grow, and while fewer than two steps' tokens wait to be prefilled: more would make no
// step fuller, and whoever comes next would have to wait for them. When the admitted ones have
// outgrown the BlockBudget, the one that ranks last is preempted: it gives its blocks back and
// waits. Its sealed blocks stay in the store. Who waits is admitted in the order of the
// WaitingQueue. When a place or blocks are what a higher priority lacks, it gets them from those
// that rank last, provided that lower priorities have enough of them, and from no more than needed.
//
// A sequence whose next blocks another one computes now follows it: it waits until they are sealed
// and pins them. It follows only one that ranks before. That one is prefilled first anyway, so the
// wait costs nothing: computing them itself, the follower would have got the slower share of a
// step.
//
// A sequence that is alone need not wait for its cached prefix: a step computes the tokens behind
// it layer by layer, as the layers of the prefix come in from disk. Should one not come, the step
// is void, and the sequence goes on as if it had not been.
//
// Samples of one request follow the first, which computes the prompt: they pin its full blocks and
// copy the partial one at its end (copy-on-write), with its last token left to compute, whose
// logits each needs for itself.
//
// Invariants:
//  (1) At most max_running sequences are admitted. The higher priority ranks before, then who was
//      admitted first; none is admitted while one of a higher priority waits.
//  (2) The running sequence that ranks first is never preempted, and it fits alone: so it ends.
//  (3) A sequence given to Submit() comes back exactly once from TakeEnded().
//
// Knows the store, but no model and no tokenizer. Engine-thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cachestore/store/tiered_store.h"
#include "engine/sched/block_account.h"
#include "engine/sched/block_budget.h"
#include "engine/sched/load_chooser.h"
#include "engine/sched/preemption_forecast.h"
#include "engine/sched/prefix_claims.h"
#include "engine/sched/request.h"
#include "engine/sched/sequence.h"
#include "engine/sched/waiting_queue.h"

namespace reprise::engine {

struct SchedulerOptions {
  int32_t step_tokens =
      512;                   // most tokens in a step; at least max_running, so that no decode waits
  int32_t max_running = 64;  // most sequences admitted at once
  PrefixLoading prefix_loading = PrefixLoading::kWhereFaster;
  // The longest wait for a cached prefix; kWhereFaster, once it can tell, has less patience.
  absl::Duration load_timeout = absl::Seconds(10);
  // When no sequence could get a slot for so long although they fit the budget, because others pin
  // blocks or the disk does not take any, the one that ranks last is preempted; when it is the only
  // one, it is ended with an error.
  absl::Duration stall_preemption = absl::Milliseconds(200);
  absl::Duration stall_timeout = absl::Seconds(30);
};

// One sequence's share of a step: its next `num_tokens` tokens.
struct PlannedChunk {
  Sequence* sequence = nullptr;  // owned by the scheduler, valid until Commit
  int64_t num_tokens = 0;
  bool samples = false;  // the chunk ends with the newest token: a token follows from it
};

struct StepPlan {
  std::vector<PlannedChunk> chunks;
  int64_t starved_sequences = 0;  // running, but without a slot for even one token
};

// What became of one chunk.
struct ChunkOutcome {
  absl::Status status;                    // not OK: the sequence ends with this error
  std::optional<uint32_t> token;          // sampled; set exactly when the chunk samples
  std::optional<TokenLogprobs> logprobs;  // of that token, when the request asks for them
  std::optional<FinishReason> finish;     // the sequence ends with that token
  bool is_void = false;  // a prefix of the step did not arrive: nothing was computed
};

// A sequence that has left the scheduler. Its pins and slots are gone already.
struct EndedSequence {
  std::unique_ptr<Sequence> sequence;
  absl::Status status;  // not OK: it ended by an error
  FinishReason reason = FinishReason::kCancelled;
  absl::Time ended;
};

// Counters, which only grow.
struct SchedulerCounters {
  int64_t admitted_sequences = 0;
  int64_t prompt_tokens = 0;     // of admitted sequences
  int64_t cached_tokens = 0;     // of those, taken from the store
  int64_t prefilled_tokens = 0;  // of those, computed
  int64_t sampled_tokens = 0;
  int64_t preemptions = 0;
  int64_t recomputed_tokens = 0;  // computed again after a preemption
  int64_t missed_deadlines = 0;
  int64_t followed_blocks = 0;     // waited for instead of computing them again
  int64_t passed_over_tokens = 0;  // cached, and sooner computed than loaded
  int64_t abandoned_loads = 0;     // prefixes that were not all there in time
  int64_t arrived_prefixes = 0;    // used by a step while they were loaded
  int64_t void_steps = 0;          // that waited in vain for a prefix to arrive
  int64_t starved_plans = 0;       // plans in which nothing could be computed for want of slots
};

class Scheduler {
 public:
  // `store` must outlive the scheduler. `on_loaded` runs on any thread when a cached prefix has
  // become resident (see TieredStore::Pin); it may run after the scheduler is gone.
  Scheduler(const SchedulerOptions& options, const BlockBudget& budget,
            cachestore::TieredStore* store, std::function<void()> on_loaded);

  // Queues a sequence. REQUIRES: the budget's CheckFits() accepts its request.
  void Submit(std::unique_ptr<Sequence> sequence);
  // Ends a sequence in any state; kCancelled. Not between Plan and Commit. Unknown ids: no effect.
  void Cancel(SequenceId id, absl::Time now);
  // Ends every sequence with `status`. Not between Plan and Commit.
  void EndAll(const absl::Status& status, absl::Time now);

  // Ends what is overdue, admits, takes over finished loads, and chooses the next step's chunks.
  // Never blocks.
  StepPlan Plan(absl::Time now);
  // Takes over what the step gave. `outcomes`: one for each chunk of `plan`, in its order.
  void Commit(const StepPlan& plan, absl::Span<const ChunkOutcome> outcomes, absl::Time now);
  // What has ended since the last call.
  std::vector<EndedSequence> TakeEnded();

  // Waits until a slot may be free or `deadline` has passed, for use after a plan in which all
  // running sequences were starved. BLOCKS.
  void AwaitRoom(absl::Time deadline);

  // When Plan() should run again if nothing happens: InfinitePast when a sequence can be admitted
  // or run, else the moment the oldest load is given up or a deadline passes; InfiniteFuture when
  // there is nothing to do.
  absl::Time NextPlanTime() const;

  int64_t num_waiting() const { return waiting_.size(); }
  int64_t num_admitted() const { return static_cast<int64_t>(admitted_.size()); }
  const SchedulerCounters& counters() const { return counters_; }
  // How fast prompts are computed, going by the time from Plan to Commit.
  const PrefillRate& prefill_rate() const { return chooser_.prefill_rate(); }

 private:
  void EndOverdue(absl::Time now);
  // How many admitted sequences, of lower priorities and from the last on, have to be preempted for
  // the next waiting one to be admitted; none: preempting them would not be enough.
  std::optional<int64_t> PreemptionsForNext() const;
  // Whether `room` blocks are enough for `next` beside what would still be held and computed.
  bool FitsInto(int64_t room, Sequence& next, const PreemptionForecast& forecast) const;
  void AdmitWaiting(absl::Time now);
  // Tells the store what some of the new ones that wait will look up.
  void TellOfNewcomers();
  LoadChoice ChooseLoadFor(const Sequence& sequence);
  // Takes over a load if it has ended or has taken too long. The sequence runs or follows then.
  void TakeOverLoad(Sequence& sequence, absl::Time now);
  void NoteCached(const Sequence& sequence, int64_t tokens);
  void RunOrFollow(Sequence& sequence, absl::Time now);
  bool MayEndFollowing(const Sequence& sequence) const;
  // The first sample of the request that `sequence` is another sample of, while it is admitted;
  // else null.
  const Sequence* FirstSampleOf(const Sequence& sequence) const;
  // Lets the samples that follow `first` have its prompt.
  void ShareNewPrompt(const Sequence& first, absl::Time now);
  // Preempts until every running sequence can go on by a token within the budget; returns how many
  // blocks of the budget are left then.
  int64_t PreemptUntilAllFit();
  // Preempts the running sequence that ranks last; false when it is the only one.
  bool PreemptLast();
  void Preempt(size_t index);
  // Adds to `plan` up to `budget_tokens` tokens of `sequence`, which may take one block that it
  // lacks and `*spare_blocks` more. Returns how many tokens.
  int64_t PlanChunk(Sequence* sequence, int64_t budget_tokens, int64_t* spare_blocks,
                    StepPlan* plan);
  // A step for the only sequence there is, whose prefix is being loaded by layer.
  void PlanArrival(absl::Time now, StepPlan* plan);
  // What became of it.
  void FinishArrival(Sequence& sequence, const ChunkOutcome& outcome, absl::Time now);
  // Makes room when nothing has moved for a while.
  void CheckStall(const StepPlan& plan, absl::Time now);
  void NoteStepTime(const StepPlan& plan, absl::Time now);
  // Takes over what one chunk gave.
  void Finish(const PlannedChunk& chunk, const ChunkOutcome& outcome, absl::Time now);
  // Ends a sequence that is in neither list any more.
  void End(std::unique_ptr<Sequence> sequence, absl::Status status, FinishReason reason,
           absl::Time now);
  std::unique_ptr<Sequence> RemoveAdmitted(size_t index);
  // Takes a sequence out of the list it is in; null for an unknown one.
  std::unique_ptr<Sequence> TakeOut(SequenceId id);

  const SchedulerOptions options_;
  const BlockBudget budget_;
  const std::function<void()> on_loaded_;
  BlockAccount account_;
  LoadChooser chooser_;
  PrefixClaims claims_;  // of running sequences

  WaitingQueue waiting_;
  std::vector<std::unique_ptr<Sequence>> admitted_;  // by rank
  int64_t next_turn_ = 0;                            // counts admissions
  bool starved_ = false;  // a sequence of the last plan found no slot: nobody else is admitted
  std::set<std::pair<absl::Time, SequenceId>> deadlines_;  // of those that have one
  std::vector<EndedSequence> ended_;
  absl::Time planned_;  // the last Plan()
  absl::Time stalled_since_ = absl::InfiniteFuture();
  SchedulerCounters counters_;
};

}  // namespace reprise::engine
