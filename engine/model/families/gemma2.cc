#include <cstdint>

#include "cachestore/base/status_macros.h"
#include "engine/model/families/family.h"
#include "engine/model/families/gemma.h"
#include "engine/model/families/llama_like.h"
#include "engine/model/families/rope_fields.h"
#include "engine/model/families/window_fields.h"

namespace reprise::engine {
namespace {

// Older configs leave out that every other layer has a window, from the first on.
absl::Status ReadWindows(const JsonObject& config, ModelConfig* out) {
  if (config.Has("layer_types")) return ReadLayerTypes(config, out);
  RETURN_IF_ERROR(RequireFields(config, {"sliding_window"}));
  RETURN_IF_ERROR(ReadUniformWindow(config, out));
  for (int64_t i = 1; i < out->num_layers; i += 2) out->layers[i].window = 0;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadGemma2(const JsonObject& config, ModelConfig* out) {
  out->family = "gemma2";
  RETURN_IF_ERROR(ReadGemmaLike(config, {.attention = 50, .logits = 30}, out));
  RETURN_IF_ERROR(ReadRope(config, out));
  return ReadWindows(config, out);
}

}  // namespace reprise::engine
