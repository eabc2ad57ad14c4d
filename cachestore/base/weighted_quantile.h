// WeightedQuantile: a quantile of measurements some of which count for more than others.
#pragma once

#include <algorithm>
#include <vector>

#include "cachestore/base/check.h"

namespace reprise::cachestore {

struct WeightedValue {
  double value = 0;
  double weight = 0;  // > 0
};

// The least value that has `quantile` (0 to 1) of the weight at or below it. REQUIRES: there are
// values.
inline double WeightedQuantile(std::vector<WeightedValue> values, double quantile) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end(),
            [](const WeightedValue& a, const WeightedValue& b) { return a.value < b.value; });
  double total = 0;
  for (const WeightedValue& value : values) total += value.weight;
  double below = 0;
  for (const WeightedValue& value : values) {
    below += value.weight;
    if (below >= quantile * total) return value.value;
  }
  return values.back().value;
}

}  // namespace reprise::cachestore
