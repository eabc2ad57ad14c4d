#include "cachestore/store/auditor.h"

#include <optional>

#include "absl/time/clock.h"
#include "cachestore/store/integrity.h"

namespace reprise::cachestore {
namespace {

// Nodes checked under one hold of the lock.
constexpr size_t kNodesAtOnce = 512;

bool IsIdle(const StoreStats& stats) {
  return stats.pinned_blocks == 0 && stats.writing_blocks == 0 && stats.queued_transfers == 0;
}

}  // namespace

Auditor::Auditor(StoreCore& core, TimedMutex& invalidating, absl::Duration idle)
    : core_(core), invalidating_(invalidating), idle_(idle) {
  thread_ = std::thread([this] { Run(); });
}

Auditor::~Auditor() {
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
    stop_cv_.Signal();
  }
  thread_.join();
}

void Auditor::Run() {
  StoreStats last = Look();
  std::optional<StoreStats> checked;
  while (AwaitLook()) {
    const StoreStats now = Look();
    // Idle for a whole period, and used since the last check.
    if (IsIdle(now) && now == last && now != checked) {
      TimedMutexLock lock(&invalidating_);
      checked = Note(Check(now));
      last = *checked;
    } else {
      last = now;
    }
  }
}

bool Auditor::AwaitLook() {
  const absl::Time deadline = absl::Now() + idle_;
  absl::MutexLock lock(&mu_);
  while (!stop_ && !stop_cv_.WaitWithDeadline(&mu_, deadline)) continue;
  return !stop_;
}

bool Auditor::Stopping() const {
  absl::MutexLock lock(&mu_);
  return stop_;
}

StoreStats Auditor::Look() const {
  absl::ReaderMutexLock lock(&core_.mu);
  return core_.Stats();
}

Auditor::Verdict Auditor::Check(const StoreStats& before) {
  std::optional<StateCheck> check;
  int64_t num_nodes = 0;  // also grows when a namespace is opened, which is no use of the store
  for (;;) {
    if (Stopping()) return Verdict::kNone;
    absl::ReaderMutexLock lock(&core_.mu);
    // Also when something was found: it may be half of a change.
    if (core_.Stats() != before) return Verdict::kNone;
    if (!check.has_value()) {
      check.emplace(core_.state);
      num_nodes = core_.state.index.num_nodes();
    }
    if (core_.state.index.num_nodes() != num_nodes) return Verdict::kNone;
    if (!check->Step(kNodesAtOnce).ok()) return Verdict::kBroken;
    if (!check->done()) continue;
    if (!check->Finish().ok()) return Verdict::kBroken;
    if (core_.tier != nullptr && !CheckTierCounts(core_.state, *core_.tier).ok()) {
      return Verdict::kBroken;
    }
    return Verdict::kSound;
  }
}

StoreStats Auditor::Note(Verdict verdict) {
  absl::MutexLock lock(&core_.mu);
  if (verdict != Verdict::kNone) ++core_.state.counters.integrity_checks;
  if (verdict == Verdict::kBroken) ++core_.state.counters.failed_integrity_checks;
  return core_.Stats();
}

}  // namespace reprise::cachestore
