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

// The disjunction of the words of `bytes`, a multiple of 512, read as wide as the CPU can.
uint64_t ReadBytes(const char* from, int64_t bytes) {
  const hn::ScalableTag<uint64_t> d;
  const int64_t lanes = hn::Lanes(d);
  const auto* words = reinterpret_cast<const uint64_t*>(from);
  const int64_t count = bytes / static_cast<int64_t>(sizeof(uint64_t));
  auto any0 = hn::Zero(d);
  auto any1 = hn::Zero(d);
  auto any2 = hn::Zero(d);
  auto any3 = hn::Zero(d);
  for (int64_t i = 0; i < count; i += 4 * lanes) {
    any0 = hn::Or(any0, hn::Load(d, words + i));
    any1 = hn::Or(any1, hn::Load(d, words + i + lanes));
    any2 = hn::Or(any2, hn::Load(d, words + i + 2 * lanes));
    any3 = hn::Or(any3, hn::Load(d, words + i + 3 * lanes));
  }
  return hn::GetLane(hn::Or(hn::Or(any0, any1), hn::Or(any2, any3)));
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

HWY_EXPORT(ReadBytes);

namespace {

constexpr int64_t kBytes = int64_t{512} << 20;
constexpr int64_t kHugePageBytes = int64_t{2} << 20;
constexpr int64_t kSliceUnit = 4096;
// Of a sample, the fastest of which counts: the first ones find threads of what ran before that
// still spin, and our own asleep.
constexpr int kReads = 5;

}  // namespace

MemoryBandwidth::MemoryBandwidth(int32_t num_threads)
    : num_threads_(num_threads > 0 ? num_threads : omp_get_num_procs()),
      buffer_(static_cast<char*>(std::aligned_alloc(kHugePageBytes, kBytes)), &std::free) {
  CHECK(buffer_ != nullptr);
  madvise(buffer_.get(), kBytes, MADV_HUGEPAGE);
  std::memset(buffer_.get(), 'a', kBytes);
}

double MemoryBandwidth::SecondsToRead() const {
  const char* bytes = buffer_.get();
  const int64_t slice = kBytes / num_threads_ / kSliceUnit * kSliceUnit;
  uint64_t any = 0;
  const absl::Time start = absl::Now();
#pragma omp parallel for num_threads(num_threads_) reduction(| : any) schedule(static)
  for (int i = 0; i < num_threads_; ++i) {
    any |= HWY_DYNAMIC_DISPATCH(ReadBytes)(bytes + i * slice, slice);
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  CHECK(any == word);
  return seconds;
}

void MemoryBandwidth::Sample() {
  double least = SecondsToRead();
  for (int read = 1; read < kReads; ++read) least = std::min(least, SecondsToRead());
  seconds_.push_back(least);
}

double MemoryBandwidth::BytesPerSecond() const {
  std::vector<double> sorted = seconds_;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  return kBytes / sorted[sorted.size() / 2];
}

}  // namespace reprise::bench
#endif  // HWY_ONCE
