// MemoryBandwidth: the machine's limit for work that reads memory once. Owns a buffer far larger
// than the caches. Thread-compatible.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace reprise::bench {

class MemoryBandwidth {
 public:
  // Reads with `num_threads` threads (0: one per core).
  explicit MemoryBandwidth(int32_t num_threads);

  // Reads the buffer a few times, and keeps the fastest. Call it between the measurements that it
  // is the limit of, so that a noisy machine disturbs both. BLOCKS for a tenth of a second.
  void Sample();

  // Bytes per second, the median of the samples. REQUIRES: at least one sample.
  double BytesPerSecond() const;

 private:
  double SecondsToRead() const;

  const int num_threads_;
  std::unique_ptr<char[], decltype(&std::free)> buffer_;  // in huge pages, as packed weights are
  std::vector<double> seconds_;
};

}  // namespace reprise::bench
