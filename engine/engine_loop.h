// EngineLoop: the engine thread. Takes requests from the inbox and runs steps until it is closed:
//
//     plan (Scheduler) -> run (ModelRunner) -> emit (OutputStream) -> commit (Scheduler)
//
// It is closed too when no step can be run any more: the backend, or the store's tier that it
// computes on, has failed for good.
// Owns the thread, the inbox and everything the thread uses; sleeps when there is nothing to do.
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/block/kv_layout.h"
#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"
#include "engine/engine_answer.h"
#include "engine/engine_inbox.h"
#include "engine/model/model.h"
#include "engine/run/model_runner.h"
#include "engine/sched/block_budget.h"
#include "engine/sched/scheduler.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::engine {

// What the loop works with; all must outlive it.
struct EngineParts {
  Model* model = nullptr;      // used by the engine thread alone
  Backend* backend = nullptr;  // the model's
  const Tokenizer* tokenizer = nullptr;
  cachestore::TieredStore* store = nullptr;
};

class EngineLoop {
 public:
  // Starts the thread. `layout` is of every namespace that requests come with; `budget` is of
  // blocks of that layout. `max_waiting`: sequences queued; more are refused.
  EngineLoop(const EngineParts& parts, const cachestore::KvLayout& layout,
             const BlockBudget& budget, const SchedulerOptions& scheduling, int64_t max_waiting);
  // Ends every request with OnError(kUnavailable) and joins the thread.
  ~EngineLoop();

  // As Engine::health and Engine::OnLost.
  absl::Status health() const ABSL_LOCKS_EXCLUDED(health_mu_);
  void OnLost(std::function<void()> callback) ABSL_LOCKS_EXCLUDED(health_mu_);

  // As Engine::Submit, for a request that ValidateRequest() accepts.
  absl::StatusOr<RequestId> Submit(const cachestore::NamespaceHandle& ns, GenerateRequest request,
                                   std::shared_ptr<TokenSink> sink);
  void Cancel(RequestId id) { inbox_->Cancel(id); }
  EngineStats stats() const ABSL_LOCKS_EXCLUDED(stats_mu_);

 private:
  // Everything below runs on the engine thread.
  void Run();
  // Takes the mail, waiting for it until `deadline`. An error: the loop is to end with it.
  absl::Status Receive(absl::Time deadline);
  void Step();
  // A step has failed, or could not begin. Ends the engine, and returns its health, if no other one
  // can be run; else returns OK.
  absl::Status CheckParts() ABSL_LOCKS_EXCLUDED(health_mu_);
  // Passes the sampled tokens on; fills in which sequences end with theirs.
  void Emit(const StepPlan& plan, std::vector<ChunkOutcome>* outcomes);
  // Ends every sample of a request that has not ended.
  void CancelSamples(RequestId id);
  // Makes the counters visible, then tells the sinks of what has ended.
  void DeliverEnded();
  void PublishStats() ABSL_LOCKS_EXCLUDED(stats_mu_);

  const EngineParts parts_;
  const BlockBudget budget_;
  const std::shared_ptr<Inbox> inbox_;

  // Engine thread only.
  Scheduler scheduler_;
  ModelRunner runner_;
  absl::flat_hash_map<RequestId, std::unique_ptr<Answer>> answers_;
  int64_t starved_steps_ = 0;  // in a row
  int64_t finished_requests_ = 0;
  int64_t failed_requests_ = 0;

  mutable absl::Mutex health_mu_;
  absl::Status health_ ABSL_GUARDED_BY(health_mu_);
  std::function<void()> on_lost_ ABSL_GUARDED_BY(health_mu_);  // empty: it was called, or none

  mutable absl::Mutex stats_mu_;
  EngineStats stats_ ABSL_GUARDED_BY(stats_mu_);

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace reprise::engine
