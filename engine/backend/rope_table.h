// RopeTable: cosines and sines of rotary position embedding (Su et al., arXiv 2104.09864) by a
// RopeScheme, for the positions used so far. A row takes 4 x rotary_dim bytes, so a context of
// 131,072 positions at dim 128 would take 64 MiB; rows come in pages of kPagePositions, computed
// when first needed, and never move. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/rope_scheme.h"

namespace reprise::engine {

class RopeTable {
 public:
  static constexpr int64_t kPagePositions = 1024;

  // Of no positions yet. Dims [0, rotary_dim) of a head are rotated. REQUIRES: rotary_dim is even
  // and above 0.
  RopeTable(int64_t rotary_dim, RopeScheme scheme)
      : rotary_dim_(rotary_dim), scheme_(std::move(scheme)) {}

  // Computes what is missing of positions [0, num_positions). kResourceExhausted: no memory; what
  // was there stays.
  absl::Status Cover(int64_t num_positions);

  int64_t rotary_dim() const { return rotary_dim_; }
  const RopeScheme& scheme() const { return scheme_; }
  // Positions below this have rows.
  int64_t num_positions() const { return static_cast<int64_t>(pages_.size()) * kPagePositions; }

  // [rotary_dim / 2], times the scheme's attention factor.
  // REQUIRES: position < num_positions().
  const float* cosines(int64_t position) const { return row(position); }
  const float* sines(int64_t position) const { return row(position) + rotary_dim_ / 2; }

 private:
  const float* row(int64_t position) const {
    return pages_[position / kPagePositions].get() + position % kPagePositions * rotary_dim_;
  }

  int64_t rotary_dim_;
  RopeScheme scheme_;
  std::vector<float> frequencies_;               // [rotary_dim / 2]; empty before the first page
  std::vector<std::unique_ptr<float[]>> pages_;  // [kPagePositions][cosines, sines]
};

}  // namespace reprise::engine
