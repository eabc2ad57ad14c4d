// PinState: what a PinTicket and the store share. The store completes it once; the ticket waits,
// takes, or gives up. Thread-safe; mu is a leaf lock. It must not be destroyed under StoreCore::mu,
// because it may hold pins.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cachestore/store/pin_ticket.h"

namespace reprise::cachestore {

struct PinState;

// Whom a ticket tells that nobody holds it any more. Thread-safe.
class PinCanceller {
 public:
  virtual ~PinCanceller() = default;
  // Ends the ticket of `state`, if it is not done yet.
  virtual void Cancel(const PinState* state) = 0;
};

struct PinState {
  PinState(PinCanceller& ticket_canceller, int64_t matched, std::function<void()> callback)
      : canceller(ticket_canceller), matched_blocks(matched), on_done(std::move(callback)) {}

  // Publishes the result and runs the callback. Called once, without any lock held.
  void Complete(PinnedPrefix result) {
    {
      absl::MutexLock lock(&mu);
      prefix = std::move(result);
      done = true;
      completed.SignalAll();
    }
    if (on_done) on_done();
  }

  PinCanceller& canceller;
  const int64_t matched_blocks;
  const std::function<void()> on_done;
  mutable absl::Mutex mu;
  mutable absl::CondVar completed;
  bool done ABSL_GUARDED_BY(mu) = false;
  PinnedPrefix prefix ABSL_GUARDED_BY(mu);
};

}  // namespace reprise::cachestore
