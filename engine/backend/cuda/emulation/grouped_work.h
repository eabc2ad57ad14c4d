// GroupedWork: what a thread has begun and does not wait for at once, in groups, as cp.async and
// wgmma have it. Thread-compatible.
#pragma once

#include <cstddef>
#include <deque>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"

namespace reprise::engine::cuda::emulation {

template <typename Work>
class GroupedWork {
 public:
  void Begin(Work work) { open_.push_back(std::move(work)); }
  // What was begun since the last commit becomes a group.
  void Commit() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  // Gives all but the newest `groups_left` groups to `finish`, oldest first.
  void Wait(int groups_left, absl::FunctionRef<void(const Work&)> finish) {
    while (groups_.size() > static_cast<size_t>(groups_left)) {
      for (const Work& work : groups_.front()) finish(work);
      groups_.pop_front();
    }
  }
  bool empty() const { return open_.empty() && groups_.empty(); }

 private:
  std::vector<Work> open_;
  std::deque<std::vector<Work>> groups_;  // oldest first
};

}  // namespace reprise::engine::cuda::emulation
