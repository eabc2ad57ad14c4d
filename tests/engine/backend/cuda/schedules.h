// Runs a kernel under every order of threads and both times of copies: what it computes must not
// depend on them.
#pragma once

#include <cstring>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/cuda/emulation/thread_block.h"
#include "gtest/gtest.h"

namespace reprise::engine::cuda {

inline std::vector<emulation::Schedule> AllSchedules() {
  using emulation::CopyTime;
  using emulation::Order;
  std::vector<emulation::Schedule> schedules;
  for (const CopyTime copies : {CopyTime::kLatest, CopyTime::kEarliest}) {
    schedules.push_back({Order::kForward, 0, copies});
    schedules.push_back({Order::kReverse, 0, copies});
    schedules.push_back({Order::kShuffled, 1, copies});
  }
  return schedules;
}

// Each order and each time once: for kernels, whose emulation takes seconds.
inline std::vector<emulation::Schedule> FewSchedules() {
  using emulation::CopyTime;
  using emulation::Order;
  return {{Order::kForward, 0, CopyTime::kLatest},
          {Order::kReverse, 0, CopyTime::kEarliest},
          {Order::kShuffled, 1, CopyTime::kLatest}};
}

// What `run` gives under each of `schedules`. It must make its output afresh each time.
template <typename Number>
std::vector<std::vector<Number>> OnSchedules(
    const std::vector<emulation::Schedule>& schedules,
    const std::function<std::vector<Number>(const emulation::Schedule&)>& run) {
  std::vector<std::vector<Number>> outputs;
  for (const emulation::Schedule& schedule : schedules) outputs.push_back(run(schedule));
  return outputs;
}
template <typename Number>
std::vector<std::vector<Number>> OnAllSchedules(
    const std::function<std::vector<Number>(const emulation::Schedule&)>& run) {
  return OnSchedules<Number>(AllSchedules(), run);
}

// Equal bit for bit, NaN included.
template <typename Number>
bool AreSame(const std::vector<std::vector<Number>>& outputs) {
  for (const auto& output : outputs) {
    if (output.size() != outputs[0].size() ||
        std::memcmp(output.data(), outputs[0].data(), output.size() * sizeof(Number)) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace reprise::engine::cuda
