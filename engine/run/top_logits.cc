#include "engine/run/top_logits.h"

#include <algorithm>
#include <cstddef>

#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

bool RanksBefore(const RankedLogit& a, const RankedLogit& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

void TakeTopLogits(absl::Span<const float> logits, int32_t count, std::vector<RankedLogit>* best) {
  CHECK(count > 0);
  // A heap of the best so far, the worst of them on top. A later token of the same logit ranks
  // behind.
  best->clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (best->size() == static_cast<size_t>(count)) {
      if (logits[i] <= best->front().logit) continue;
      std::pop_heap(best->begin(), best->end(), RanksBefore);
      best->pop_back();
    }
    best->push_back({logits[i], static_cast<uint32_t>(i)});
    std::push_heap(best->begin(), best->end(), RanksBefore);
  }
  std::sort_heap(best->begin(), best->end(), RanksBefore);
}

}  // namespace reprise::engine
