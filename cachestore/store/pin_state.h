// PinState: what a PinTicket and the store share. The store completes it once; the ticket waits,
// takes, or gives up. Thread-safe; mu is a leaf lock. It must not be destroyed under StoreCore::mu,
// because it may hold pins.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cachestore/memory/device.h"
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
  PinState(PinCanceller& ticket_canceller, Device* gpu, int64_t matched,
           std::function<void()> callback)
      : canceller(ticket_canceller),
        device(gpu),
        matched_blocks(matched),
        on_done(std::move(callback)) {}

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
  // will lie; that bytes [begin, end) of each are verified, and there once `landed` has passed.
  // Parts are told in any order; all of a block never is, which is what the result says.
  void TellAddresses(std::vector<const std::byte*> blocks) ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    addresses = std::move(blocks);
  }
  void NoteArrived(uint64_t begin, uint64_t end, Moment landed) ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    parts[begin] = {end, landed};
    changed.SignalAll();
  }
  // By when the first `bytes` bytes of all blocks have landed; nullopt: that is not known yet.
  std::optional<Moment> ArrivalOf(uint64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Moment last;
    for (uint64_t told = 0; told < bytes;) {
      const auto part = parts.find(told);
      if (part == parts.end()) return std::nullopt;
      told = part->second.end;
      if (part->second.landed.number > last.number) last = part->second.landed;
    }
    return last;
  }

  // A block's bytes are replaced under way: what was told of parts does not hold.
  void TakeBack() ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    taken_back = true;
  }

  // Whether the result is all blocks, each where it was told to lie, with the bytes told of.
  bool IsAsTold() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (taken_back) return false;
    return std::equal(prefix.blocks.begin(), prefix.blocks.end(), addresses.begin(),
                      addresses.end(), [](const BlockRef& block, const std::byte* address) {
                        return block.bytes().data() == address;
                      });
  }

  struct Part {
    uint64_t end = 0;
    Moment landed;
  };

  PinCanceller& canceller;
  Device* const device;  // whose moments are told; null: there is no GPU tier
  const int64_t matched_blocks;
  const std::function<void()> on_done;
  mutable absl::Mutex mu;
  mutable absl::CondVar changed;
  bool done ABSL_GUARDED_BY(mu) = false;
  bool taken_back ABSL_GUARDED_BY(mu) = false;
  PinnedPrefix prefix ABSL_GUARDED_BY(mu);
  std::vector<const std::byte*> addresses ABSL_GUARDED_BY(mu);
  std::map<uint64_t, Part> parts ABSL_GUARDED_BY(mu);  // by their first byte
};

}  // namespace reprise::cachestore
