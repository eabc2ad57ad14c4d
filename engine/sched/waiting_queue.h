// WaitingQueue: the order in which sequences are admitted: the oldest first. A preempted sequence
// comes back to the place of its age. Engine-thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "engine/sched/sequence.h"

namespace reprise::engine {

class WaitingQueue {
 public:
  // Adds a new or a preempted sequence.
  void Push(std::unique_ptr<Sequence> sequence);
  // The one to be admitted next; null when nothing waits.
  Sequence* front() const { return waiting_.empty() ? nullptr : waiting_.front().get(); }
  // REQUIRES: front() is not null.
  std::unique_ptr<Sequence> PopFront();
  // Takes a sequence out of its place; null when it is not here.
  std::unique_ptr<Sequence> Remove(SequenceId id);
  int64_t size() const { return static_cast<int64_t>(waiting_.size()); }

 private:
  std::deque<std::unique_ptr<Sequence>> waiting_;  // by id
};

}  // namespace reprise::engine
