// The rotary positions of a config.json. Pure functions.
#pragma once

#include "absl/status/status.h"
#include "engine/model/json_object.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// Fills position and rope_theta. Newer configs keep theta and scaling in rope_parameters, older
// ones in two fields of their own. REQUIRES: out->head_dim is set; RefuseMovingPositions(config) is
// OK.
absl::Status ReadRope(const JsonObject& config, ModelConfig* out);

}  // namespace reprise::engine
