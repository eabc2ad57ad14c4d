// Which layers attend to a sliding window. KV of a window layer is as valid as any: a token's K and
// V depend on what came before it, and a window only shortens that. So windows mask attention, and
// nothing else; being in config.json they are in the model's digest. Pure functions.
#pragma once

#include "absl/status/status.h"
#include "engine/model/json_object.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// All layers: sliding_window, or none when it is null. kInvalidArgument: it is missing, for then it
// has a value that differs between implementations. REQUIRES: layers and max_positions are set.
absl::Status ReadUniformWindow(const JsonObject& config, ModelConfig* out);

// The layers that `layer_types` calls sliding_attention get sliding_window, those that it calls
// full_attention none. REQUIRES: likewise, and config has layer_types.
absl::Status ReadLayerTypes(const JsonObject& config, ModelConfig* out);

// Qwen: none unless use_sliding_window; then layer_types decide, or, when there are none, layers
// from max_window_layers on have windows. REQUIRES: as ReadUniformWindow.
absl::Status ReadQwenWindows(const JsonObject& config, ModelConfig* out);

// Refuses windows in a family that has none.
absl::Status RefuseWindows(const JsonObject& config);

}  // namespace reprise::engine
