// Auditor: checks the store's books (StateCheck) while nobody uses the store, in steps that hold
// StoreCore::mu for microseconds. It owns one thread. Whatever happens meanwhile ends the check
// without a verdict. Thread-safe.
#pragma once

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cachestore/base/timed_mutex.h"
#include "cachestore/store/store_core.h"

namespace reprise::cachestore {

class Auditor {
 public:
  // Checks once whenever the store has been idle for `idle` (positive). `invalidating` is held
  // during a check, because a block may lack its parent between the steps of an invalidation. Both
  // outlive the auditor.
  Auditor(StoreCore& core, TimedMutex& invalidating, absl::Duration idle);
  // Ends a check under way. BLOCKS for a step.
  ~Auditor();

 private:
  enum class Verdict { kNone, kSound, kBroken };

  void Run();
  // Waits for the next look at the store; false when the thread should end.
  bool AwaitLook() ABSL_LOCKS_EXCLUDED(mu_);
  bool Stopping() const ABSL_LOCKS_EXCLUDED(mu_);
  // What the store says of itself now.
  StoreStats Look() const ABSL_LOCKS_EXCLUDED(core_.mu);
  // Checks everything as long as the store says `before`.
  Verdict Check(const StoreStats& before) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Counts the verdict; returns what the store says of itself then.
  StoreStats Note(Verdict verdict) ABSL_LOCKS_EXCLUDED(core_.mu);

  StoreCore& core_;
  TimedMutex& invalidating_;
  const absl::Duration idle_;
  mutable absl::Mutex mu_;
  absl::CondVar stop_cv_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace reprise::cachestore
