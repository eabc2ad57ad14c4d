#include "engine/run/top_logits.h"

#include <algorithm>
#include <cstddef>

#include "cachestore/base/check.h"
#include "engine/backend/cpu_logits.h"

namespace reprise::engine {
namespace {

bool RanksBefore(const RankedLogit& a, const RankedLogit& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

void TakeTopLogits(absl::Span<const float> logits, int32_t count, std::vector<RankedLogit>* best) {
  CHECK(count > 0 && !logits.empty());
  // A heap of the best so far, the worst of them on top. A later token of the same logit ranks
  // behind.
  best->clear();
  const size_t wanted = std::min(static_cast<size_t>(count), logits.size());
  size_t next = 0;
  for (; next < wanted; ++next) best->push_back({logits[next], static_cast<uint32_t>(next)});
  std::make_heap(best->begin(), best->end(), RanksBefore);
  for (;; ++next) {
    next = FirstAbove(logits, next, best->front().logit);
    if (next == logits.size()) break;
    std::pop_heap(best->begin(), best->end(), RanksBefore);
    best->back() = {logits[next], static_cast<uint32_t>(next)};
    std::push_heap(best->begin(), best->end(), RanksBefore);
  }
  std::sort_heap(best->begin(), best->end(), RanksBefore);
}

}  // namespace reprise::engine
