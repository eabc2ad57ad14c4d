// What the families that descend from Llama share: rotary positions, RMS norms, grouped queries, a
// gated MLP, and the names of their tensors. Pure functions.
#pragma once

#include <initializer_list>

#include "absl/status/status.h"
#include "engine/model/json_object.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// Fills what they share, all but positions and windows; a family sets or overrides its own
// afterwards.
absl::Status ReadLlamaLike(const JsonObject& config, ModelConfig* out);

// Refuses a config that lacks one of `fields`: those whose default differs from ReadLlamaLike's.
absl::Status RequireFields(const JsonObject& config, std::initializer_list<const char*> fields);

}  // namespace reprise::engine
