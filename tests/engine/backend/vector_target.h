// VectorTarget: makes Highway's dynamic dispatch take one vector extension while it lives, so that
// a machine with AVX-512 tests the code that others run. Single-threaded use.
#pragma once

#include <cstdint>

#include "hwy/highway.h"

namespace reprise::engine {

class VectorTarget {
 public:
  explicit VectorTarget(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  ~VectorTarget() {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  VectorTarget(const VectorTarget&) = delete;
  VectorTarget& operator=(const VectorTarget&) = delete;
};

}  // namespace reprise::engine
