#include "engine/backend/cuda/cublaslt/work_timer.h"

#include <algorithm>
#include <vector>

#include "cachestore/base/check.h"

namespace reprise::engine::cuda {
namespace {

// Times of each way that count; one before them does not.
constexpr int kRounds = 5;

}  // namespace

size_t FastestOf(size_t ways, absl::FunctionRef<double(size_t way)> seconds) {
  CHECK(ways > 0);
  if (ways == 1) return 0;
  std::vector<std::vector<double>> taken(ways);
  for (int round = 0; round <= kRounds; ++round) {
    for (size_t way = 0; way < ways; ++way) {
      const double one = seconds(way);
      if (round > 0) taken[way].push_back(one);
    }
  }
  for (std::vector<double>& times : taken) std::sort(times.begin(), times.end());
  const auto least = std::min_element(taken.begin(), taken.end(), [](const auto& a, const auto& b) {
    return a[kRounds / 2] < b[kRounds / 2];
  });
  return static_cast<size_t>(least - taken.begin());
}

}  // namespace reprise::engine::cuda
