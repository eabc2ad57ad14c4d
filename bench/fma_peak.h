// FmaPeak: the machine's limit for f32 arithmetic: multiply-adds that wait for nothing. Holds
// samples. Thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

namespace reprise::bench {

class FmaPeak {
 public:
  // Computes with `num_threads` threads (0: one per core).
  explicit FmaPeak(int32_t num_threads);

  // Measures once. Call it between the measurements that it is the limit of. BLOCKS for about 20
  // milliseconds.
  void Sample();

  // Operations per second (a multiply-add is two), the median of the samples. REQUIRES: at least
  // one sample.
  double OperationsPerSecond() const;

 private:
  const int num_threads_;
  std::vector<double> rates_;
};

}  // namespace reprise::bench
