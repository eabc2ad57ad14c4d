#include <cstdint>

#include "cachestore/base/status_macros.h"
#include "engine/model/families/config_fields.h"
#include "engine/model/families/family.h"
#include "engine/model/families/gemma.h"
#include "engine/model/families/llama_like.h"
#include "engine/model/families/rope_fields.h"
#include "engine/model/families/window_fields.h"

namespace reprise::engine {
namespace {

// Layers with a window turn by angles of their own.
absl::Status ReadRopes(const JsonObject& config, ModelConfig* out) {
  constexpr double kTheta = 1e6;
  constexpr double kWindowTheta = 1e4;
  out->position = PositionKind::kRope;
  if (config.Has("rope_parameters")) {
    ASSIGN_OR_RETURN(const JsonObject ropes, config.Object("rope_parameters"));
    ASSIGN_OR_RETURN(const JsonObject full, ropes.Object("full_attention"));
    ASSIGN_OR_RETURN(const JsonObject sliding, ropes.Object("sliding_attention"));
    ASSIGN_OR_RETURN(out->rope, ReadRopeScheme(config, full, kTheta));
    ASSIGN_OR_RETURN(out->window_rope, ReadRopeScheme(config, sliding, kWindowTheta));
    return absl::OkStatus();
  }
  out->rope.theta = kTheta;
  RETURN_IF_ERROR(ReadRope(config, out));
  RopeScheme window_rope;
  ASSIGN_OR_RETURN(window_rope.theta, config.PositiveOr("rope_local_base_freq", kWindowTheta));
  out->window_rope = window_rope;
  return absl::OkStatus();
}

// Older configs say how many layers there are from one without a window to the next.
absl::Status ReadWindows(const JsonObject& config, ModelConfig* out) {
  if (config.Has("layer_types")) return ReadLayerTypes(config, out);
  RETURN_IF_ERROR(RequireFields(config, {"sliding_window"}));
  RETURN_IF_ERROR(ReadUniformWindow(config, out));
  ASSIGN_OR_RETURN(const int64_t pattern, config.IntOr("sliding_window_pattern", kLayerRange, 6));
  for (int64_t i = pattern - 1; i < out->num_layers; i += pattern) out->layers[i].window = 0;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadGemma3(const JsonObject& config, ModelConfig* out) {
  out->family = "gemma3";
  RETURN_IF_ERROR(ReadGemmaLike(config, /*defaults=*/{}, out));
  RETURN_IF_ERROR(ReadRopes(config, out));
  RETURN_IF_ERROR(ReadWindows(config, out));
  out->names.query_norm = "self_attn.q_norm";
  out->names.key_norm = "self_attn.k_norm";
  return absl::OkStatus();
}

}  // namespace reprise::engine
