// WaitingQueue: the order in which sequences are admitted.
//
//   1. the higher priority;
//   2. of one priority those that were preempted, in the order of their rank: what they
//   have is still there;
//   3. then the tenant that was served the fewest tokens (TenantShares), and of
//   its sequences the
//      oldest. A prompt is charged when it is admitted, new tokens as they
//      come.
//
// So a tenant's flood delays another tenant's request by what is admitted
// already, and no more. Within a priority nothing waits for ever. Engine-thread
// only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/sched/sequence.h"
#include "engine/sched/tenant_shares.h"

namespace reprise::engine {

class WaitingQueue {
 public:
  // Adds a new or a preempted sequence.
  void Push(std::unique_ptr<Sequence> sequence);
  // The one to be admitted next; null when nothing waits.
  Sequence* front() const;
  // REQUIRES: front() is not null.
  std::unique_ptr<Sequence> PopFront();
  // Takes a sequence out of its place; null when it is not here.
  std::unique_ptr<Sequence> Remove(SequenceId id);
  // The next new one that is still here, each once, as they came; null: there is none.
  const Sequence* TakeNewcomer();
  // An admitted sequence got so many new tokens; negative: so many of its
  // prompt were cached.
  void Charge(const Sequence& sequence, int64_t tokens) {
    shares_.Charge(sequence.request().tenant, tokens);
  }
  int64_t size() const { return size_; }

 private:
  using Line = std::deque<std::unique_ptr<Sequence>>;
  struct PriorityClass {
    Line preempted;                       // by rank
    std::map<std::string, Line> tenants;  // by id; no line is empty
  };

  // Takes a sequence out of its line, and what is empty then.
  std::unique_ptr<Sequence> TakeOut(const Sequence& sequence);

  std::map<int32_t, PriorityClass, std::greater<>> classes_;  // none is empty
  std::deque<const Sequence*> newcomers_;
  TenantShares shares_;
  int64_t size_ = 0;
};

}  // namespace reprise::engine
