#include "bench/rounds.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "bench/progress.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {

double Median(std::vector<double> figures) {
  CHECK(!figures.empty());
  const auto middle = figures.begin() + static_cast<int64_t>(figures.size() - 1) / 2;
  std::nth_element(figures.begin(), middle, figures.end());
  return *middle;
}

absl::StatusOr<std::vector<double>> MedianOfRounds(const std::string& what, int rounds,
                                                   absl::Span<const Arm> arms) {
  CHECK(rounds > 0);
  const int64_t num_arms = static_cast<int64_t>(arms.size());
  Progress progress(what, (rounds + 1) * num_arms);
  std::vector<std::vector<double>> figures(arms.size());
  for (int round = 0; round <= rounds; ++round) {
    for (int64_t i = 0; i < num_arms; ++i) {
      progress.Update(round * num_arms + i, arms[i].name);
      ASSIGN_OR_RETURN(const double figure, arms[i].run());
      if (round > 0) figures[i].push_back(figure);
    }
  }
  std::vector<double> medians;
  for (const std::vector<double>& of_arm : figures) medians.push_back(Median(of_arm));
  return medians;
}

double SecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace reprise::bench
