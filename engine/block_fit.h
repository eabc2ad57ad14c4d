// CheckBlockFits: whether the store can hold KV blocks of a model. Pure function, thread-safe.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// kInvalidArgument when a block of `block_tokens` tokens is larger than blocks can be, or than a
// RAM tier of `ram_bytes`; names both sizes and the largest block_tokens that would fit.
absl::Status CheckBlockFits(const ModelConfig& config, int32_t block_tokens, int64_t ram_bytes);

}  // namespace reprise::engine
