// ModelShape: what of a model the kernels here are particular about. Plain data.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace reprise::engine::cuda {

struct ModelShape {
  int64_t head_dim = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t expert_intermediate_size = 0;  // 0: no experts
};

// kInvalidArgument: the kernels do not take such a model; names the size, its value and the rule.
// They take every model's vocabulary, number of heads, window and score cap. Pure.
absl::Status CheckModelShape(const ModelShape& shape);

}  // namespace reprise::engine::cuda
