// CheckBlockFits: whether the store can hold KV blocks of a model. Pure function, thread-safe.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cachestore/block/kv_layout.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// A tier by the name that users know, and its budget.
struct TierSize {
  absl::string_view name;
  int64_t bytes = 0;
};

// kInvalidArgument when a block of `block_tokens` tokens in `dtype` is larger than blocks can be,
// or than all of `tier`; names both sizes and the largest block_tokens that would fit. Also when
// the model's head_dim is odd and the dtype packs two elements into a byte.
absl::Status CheckBlockFits(const ModelConfig& config, int32_t block_tokens,
                            cachestore::DType dtype, const TierSize& tier);

}  // namespace reprise::engine
