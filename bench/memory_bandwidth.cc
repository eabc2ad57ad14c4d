#include "bench/memory_bandwidth.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/base/check.h"

namespace reprise::bench {
namespace {

constexpr int64_t kBytes = int64_t{512} << 20;
constexpr int64_t kHugePageBytes = int64_t{2} << 20;

}  // namespace

MemoryBandwidth::MemoryBandwidth(int32_t num_threads)
    : num_threads_(num_threads > 0 ? num_threads : omp_get_num_procs()),
      buffer_(static_cast<char*>(std::aligned_alloc(kHugePageBytes, kBytes)), &std::free) {
  CHECK(buffer_ != nullptr);
  madvise(buffer_.get(), kBytes, MADV_HUGEPAGE);
  std::memset(buffer_.get(), 'a', kBytes);
}

void MemoryBandwidth::Sample() {
  // memchr for a byte that is not there: the C library reads as wide as the CPU allows.
  const char* bytes = buffer_.get();
  const int64_t slice = kBytes / num_threads_;
  bool found = false;
  const absl::Time start = absl::Now();
#pragma omp parallel for num_threads(num_threads_) reduction(|| : found) schedule(static)
  for (int i = 0; i < num_threads_; ++i) {
    found = found || std::memchr(bytes + i * slice, 'x', slice) != nullptr;
  }
  seconds_.push_back(absl::ToDoubleSeconds(absl::Now() - start));
  CHECK(!found);
}

double MemoryBandwidth::BytesPerSecond() const {
  std::vector<double> sorted = seconds_;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  return kBytes / sorted[sorted.size() / 2];
}

}  // namespace reprise::bench
