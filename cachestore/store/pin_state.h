// PinState: what a PinTicket and the store share. The store completes it once; the ticket waits,
// takes, or gives up. Thread-safe; mu is a leaf lock. It must not be destroyed under StoreCore::mu,
// because it may hold pins.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

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
      changed.SignalAll();
    }
    if (on_done) on_done();
  }

  // What is known of blocks that are loaded by layer, before the result: where all of them lie or
  // will lie; that `bytes` leading bytes of each are verified.
  void TellAddresses(std::vector<const std::byte*> blocks) ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    addresses = std::move(blocks);
  }
  void NoteArrived(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    arrived_bytes = bytes;
    changed.SignalAll();
  }

  PinCanceller& canceller;
  const int64_t matched_blocks;
  const std::function<void()> on_done;
  mutable absl::Mutex mu;
  mutable absl::CondVar changed;
  bool done ABSL_GUARDED_BY(mu) = false;
  PinnedPrefix prefix ABSL_GUARDED_BY(mu);
  std::vector<const std::byte*> addresses ABSL_GUARDED_BY(mu);
  uint64_t arrived_bytes ABSL_GUARDED_BY(mu) = 0;
};

}  // namespace reprise::cachestore
