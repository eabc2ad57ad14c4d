#include "bench/fma_peak.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/fma_peak.cc"
// The order of these matters.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace reprise::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;

// Independent chains: more than latency x units of any CPU, no more than its registers.
constexpr int kChains = 12;

// Runs `rounds` multiply-adds in each chain. Returns the operations done; `seed` and *sink keep the
// compiler from computing it beforehand or not at all.
double MultiplyAdd(int64_t rounds, float seed, float* sink) {
  const F32 d;
  hn::Vec<F32> sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = hn::Set(d, seed + static_cast<float>(c));
  const auto factor = hn::Set(d, 0.999f);
  const auto term = hn::Set(d, seed);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int c = 0; c < kChains; ++c) sums[c] = hn::MulAdd(sums[c], factor, term);
  }
  for (int c = 1; c < kChains; ++c) sums[0] = hn::Add(sums[0], sums[c]);
  *sink = hn::GetLane(hn::SumOfLanes(d, sums[0]));
  return 2.0 * static_cast<double>(rounds) * kChains * static_cast<double>(hn::Lanes(d));
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <omp.h>

#include "bench/rounds.h"
#include "cachestore/base/check.h"

namespace reprise::bench {

HWY_EXPORT(MultiplyAdd);

FmaPeak::FmaPeak(int32_t num_threads)
    : num_threads_(num_threads > 0 ? num_threads : omp_get_num_procs()) {}

void FmaPeak::Sample() {
  constexpr int64_t kRounds = 10'000'000;
  double operations = 0;
  float sum = 0;
  const double seconds = SecondsOf([&] {
#pragma omp parallel for num_threads(num_threads_) reduction(+ : operations, sum) schedule(static)
    for (int i = 0; i < num_threads_; ++i) {
      float sink = 0;
      operations += HWY_DYNAMIC_DISPATCH(MultiplyAdd)(kRounds, 1.0f + static_cast<float>(i), &sink);
      sum += sink;
    }
  });
  CHECK(sum > 0);
  rates_.push_back(operations / seconds);
}

double FmaPeak::OperationsPerSecond() const { return Median(rates_); }

}  // namespace reprise::bench
#endif  // HWY_ONCE
