#include "bench/memory_bandwidth.h"

#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/memory_bandwidth.cc"
// The order of these matters.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace reprise::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Sums `bytes`, a multiple of 512, as wide as the CPU can load.
uint64_t SumBytes(const char* from, int64_t bytes) {
  const hn::ScalableTag<uint64_t> d;
  const int64_t lanes = hn::Lanes(d);
  const auto* words = reinterpret_cast<const uint64_t*>(from);
  const int64_t count = bytes / static_cast<int64_t>(sizeof(uint64_t));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto sum2 = hn::Zero(d);
  auto sum3 = hn::Zero(d);
  for (int64_t i = 0; i < count; i += 4 * lanes) {
    sum0 = hn::Add(sum0, hn::Load(d, words + i));
    sum1 = hn::Add(sum1, hn::Load(d, words + i + lanes));
    sum2 = hn::Add(sum2, hn::Load(d, words + i + 2 * lanes));
    sum3 = hn::Add(sum3, hn::Load(d, words + i + 3 * lanes));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/base/check.h"

namespace reprise::bench {

HWY_EXPORT(SumBytes);

namespace {

constexpr int64_t kBytes = int64_t{512} << 20;
constexpr int64_t kHugePageBytes = int64_t{2} << 20;
constexpr int64_t kSliceUnit = 4096;

}  // namespace

MemoryBandwidth::MemoryBandwidth(int32_t num_threads)
    : num_threads_(num_threads > 0 ? num_threads : omp_get_num_procs()),
      buffer_(static_cast<char*>(std::aligned_alloc(kHugePageBytes, kBytes)), &std::free) {
  CHECK(buffer_ != nullptr);
  madvise(buffer_.get(), kBytes, MADV_HUGEPAGE);
  std::memset(buffer_.get(), 'a', kBytes);
}

void MemoryBandwidth::Sample() {
  const char* bytes = buffer_.get();
  const int64_t slice = kBytes / num_threads_ / kSliceUnit * kSliceUnit;
  uint64_t sum = 0;
  const absl::Time start = absl::Now();
#pragma omp parallel for num_threads(num_threads_) reduction(+ : sum) schedule(static)
  for (int i = 0; i < num_threads_; ++i) {
    sum += HWY_DYNAMIC_DISPATCH(SumBytes)(bytes + i * slice, slice);
  }
  seconds_.push_back(absl::ToDoubleSeconds(absl::Now() - start));
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  CHECK(sum == word * static_cast<uint64_t>(slice * num_threads_ / int64_t{sizeof(word)}));
}

double MemoryBandwidth::BytesPerSecond() const {
  std::vector<double> sorted = seconds_;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  return kBytes / sorted[sorted.size() / 2];
}

}  // namespace reprise::bench
#endif  // HWY_ONCE
