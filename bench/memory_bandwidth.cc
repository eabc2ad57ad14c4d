#include "bench/memory_bandwidth.h"

#include <omp.h>

#include <algorithm>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace reprise::bench {

double MeasureReadBandwidth(int32_t num_threads) {
  constexpr int64_t kWords = int64_t{64} << 20;  // 512 MiB
  constexpr int kPasses = 5;
  const int threads = num_threads > 0 ? num_threads : omp_get_num_procs();
  std::vector<uint64_t> buffer(kWords, 1);
  std::vector<double> seconds;
  for (int pass = 0; pass < kPasses; ++pass) {
    const absl::Time start = absl::Now();
    uint64_t sum = 0;
#pragma omp parallel for simd num_threads(threads) reduction(+ : sum) schedule(static)
    for (int64_t i = 0; i < kWords; ++i) sum += buffer[i];
    seconds.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    buffer[pass] = sum;  // keeps the sum from being optimised away
  }
  std::nth_element(seconds.begin(), seconds.begin() + kPasses / 2, seconds.end());
  return kWords * sizeof(uint64_t) / seconds[kPasses / 2];
}

}  // namespace reprise::bench
