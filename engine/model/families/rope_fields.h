// The rotary positions of a config.json. Pure functions.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/rope_scheme.h"
#include "engine/model/json_object.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// The scheme that `rope`, an object of `config`, describes: rope_type default, linear, llama3 or
// yarn with its numbers. `theta` stands when it names none. kInvalidArgument names the field and
// what is wrong with it. REQUIRES: RefuseMovingPositions(config) is OK.
absl::StatusOr<RopeScheme> ReadRopeScheme(const JsonObject& config, const JsonObject& rope,
                                          double theta);

// Fills position and rope, the same for all layers; out->rope.theta stands when there is none.
// Newer configs keep theta and scaling in rope_parameters, older ones in rope_theta and
// rope_scaling. REQUIRES: RefuseMovingPositions(config) is OK.
absl::Status ReadRope(const JsonObject& config, ModelConfig* out);

}  // namespace reprise::engine
