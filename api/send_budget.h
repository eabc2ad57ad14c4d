// SendBudget: how many Get calls there may be, and how many bytes of blocks they may hold together:
// pinned for a client that has not read them yet. A call that finds no room waits in line.
// Thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace reprise::api {

// Who waits for room.
class RoomWaiter {
 public:
  virtual ~RoomWaiter() = default;
  // The bytes it waited for are its own now. Called once, without any lock held, by whoever gave
  // room: must only pass it on.
  virtual void OnRoom() = 0;
};

class SendBudget {
 public:
  SendBudget(int64_t limit, int max_calls, int max_tenant_calls)
      : limit_(limit), max_calls_(max_calls), max_tenant_calls_(max_tenant_calls) {}
  // REQUIRES: nobody waits. BLOCKS until all is given back: gRPC's transports, which hold blocks
  // that are on their way, end a moment after the server.
  ~SendBudget();

  // Waits until nothing is held, `deadline` at most; returns whether so. BLOCKS.
  bool AwaitIdle(absl::Time deadline) const;

  // Counts a call of `tenant`; empty: an operator's, who has no limit. False: there are as many as
  // may be, of all or of the tenant.
  bool BeginCall(const std::string& tenant);
  void EndCall(const std::string& tenant);

  int64_t limit() const { return limit_; }
  // Now, and the most there ever were.
  int64_t held_bytes() const;
  int64_t peak_bytes() const;

  // Takes `bytes` (<= limit) at once if there is room and nobody waits; else `waiter` stands in
  // line and false is returned.
  bool Take(int64_t bytes, RoomWaiter* waiter);
  // Leaves the line. False: `waiter` did not stand in it (any more); OnRoom was or will be called.
  bool Leave(RoomWaiter* waiter);
  // Whether somebody waits.
  bool scarce() const;

  // REQUIRES: so much was taken.
  void Give(int64_t bytes);

 private:
  struct Waiting {
    int64_t bytes;
    RoomWaiter* waiter;
  };

  // Gives those first in line what there is room for; whom to tell.
  std::vector<RoomWaiter*> ServeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int64_t limit_;
  const int max_calls_;
  const int max_tenant_calls_;
  mutable absl::Mutex mu_;
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<std::string, int> tenant_calls_
      ABSL_GUARDED_BY(mu_);  // of those that have any
  int64_t held_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t peak_ ABSL_GUARDED_BY(mu_) = 0;
  std::list<Waiting> line_ ABSL_GUARDED_BY(mu_);  // who came first is first
};

}  // namespace reprise::api
