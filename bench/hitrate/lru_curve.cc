#include "bench/hitrate/lru_curve.h"

#include <algorithm>
#include <numeric>

#include "bench/hitrate/use_runs.h"

namespace reprise::bench {
namespace {

// Sums over ranges of a changing array.
class SumTree {
 public:
  explicit SumTree(size_t size) : sums_(size + 1) {}

  void Add(size_t at, int64_t value) {
    for (size_t i = at + 1; i < sums_.size(); i += i & (~i + 1)) sums_[i] += value;
  }
  // Of what lies before `end`.
  int64_t SumBefore(size_t end) const {
    int64_t sum = 0;
    for (size_t i = end; i > 0; i &= i - 1) sum += sums_[i];
    return sum;
  }

 private:
  std::vector<int64_t> sums_;
};

}  // namespace

LruCurve::LruCurve(const cachestore::Trace& trace) : hits_(trace.num_blocks() + 2) {
  const UseRuns last_uses = UseRuns::Last(trace);
  SumTree in_stack(trace.requests.size());  // by request: blocks whose last use it was
  int64_t stack_size = 0;
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    // Before the request, the stack's order is: later last uses first; of one request, root first.
    // So of a run, which is the beginning of what its request left, the places are consecutive.
    int64_t taken = 0;  // by this request, from the places before: all of later uses
    for (const UseRun& run : last_uses.Of(i)) {
      if (run.request == UseRuns::kNone) continue;
      const int64_t place = stack_size - in_stack.SumBefore(run.request + 1) + taken;
      if (trace.requests[i].is_lookup()) {
        // One hit more at capacity place + 1, another at the next one, and so on: a slope.
        ++hits_[static_cast<size_t>(place) + 1];
        --hits_[static_cast<size_t>(place) + 1 + run.count];
      }
      in_stack.Add(run.request, -int64_t{run.count});
      stack_size -= run.count;
      taken += run.count;
    }
    const auto length = static_cast<int64_t>(trace.NumBlocksOf(trace.requests[i]));
    in_stack.Add(i, length);
    stack_size += length;
  }
  std::partial_sum(hits_.begin(), hits_.end(), hits_.begin());  // the slopes
  std::partial_sum(hits_.begin(), hits_.end(), hits_.begin());
}

int64_t LruCurve::HitsAt(int64_t capacity) const {
  return hits_[std::min(static_cast<size_t>(capacity), hits_.size() - 1)];
}

std::optional<int64_t> LruCurve::CapacityFor(int64_t hits) const {
  const auto it = std::lower_bound(hits_.begin(), hits_.end(), hits);
  if (it == hits_.end()) return std::nullopt;
  return it - hits_.begin();
}

}  // namespace reprise::bench
