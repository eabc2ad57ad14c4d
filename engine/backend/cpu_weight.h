// CpuWeight: a packed weight of the CPU backend that can multiply. Two kinds: OneDnnWeight
// (onednn_weight.h) and PortableWeight (portable_weight.h). Immutable. Engine-thread only.
#pragma once

#include <cstdint>

#include "engine/backend/backend.h"

namespace reprise::engine {

class CpuWeight : public PackedWeight {
 public:
  CpuWeight(int64_t in_features, int64_t out_features)
      : in_features_(in_features), out_features_(out_features) {}

  int64_t in_features() const final { return in_features_; }
  int64_t out_features() const final { return out_features_; }

  // out = x W + bias. x: [rows, in_features]; bias: [out_features] or nullptr;
  // out: [rows, out_features]; x and out do not overlap. Keeps the row contract of backend.h.
  virtual void Multiply(const float* x, int64_t rows, const float* bias, float* out) const = 0;

 private:
  const int64_t in_features_;
  const int64_t out_features_;
};

}  // namespace reprise::engine
