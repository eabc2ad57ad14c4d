// What the families that descend from Llama share: rotary positions, RMS norms, grouped queries, a
// gated MLP, and the names of their tensors. Pure functions.
#pragma once

#include "absl/status/status.h"
#include "engine/model/json_object.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// Fills what they share; a family sets or overrides its own afterwards.
absl::Status ReadLlamaLike(const JsonObject& config, ModelConfig* out);

// Refuses a config without num_key_value_heads: for families with a default of their own for it.
absl::Status RequireKvHeads(const JsonObject& config);

}  // namespace reprise::engine
