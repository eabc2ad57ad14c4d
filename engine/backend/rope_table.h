// RopeTable: cosines and sines of rotary position embedding (Su et al., arXiv 2104.09864) for every
// position and frequency. Immutable after construction, thread-safe.
#pragma once

#include <cstdint>
#include <vector>

namespace reprise::engine {

struct RopeTable {
  int64_t rotary_dim = 0;  // even; dims [0, rotary_dim) of a head are rotated
  int64_t num_positions = 0;
  std::vector<float> cosines;  // [num_positions, rotary_dim / 2]
  std::vector<float> sines;    // [num_positions, rotary_dim / 2]
};

// Frequency i is theta^(-2 i / rotary_dim); angle = position x frequency, computed in f64 and
// rounded the way Hugging Face does (frequency in f32).
RopeTable MakeRopeTable(int64_t rotary_dim, int64_t num_positions, double theta);

}  // namespace reprise::engine
