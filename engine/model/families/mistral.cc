#include "cachestore/base/status_macros.h"
#include "engine/model/families/family.h"
#include "engine/model/families/llama_like.h"
#include "engine/model/families/rope_fields.h"
#include "engine/model/families/window_fields.h"

namespace reprise::engine {

absl::Status ReadMistral(const JsonObject& config, ModelConfig* out) {
  out->family = "mistral";
  RETURN_IF_ERROR(RequireFields(config, {"num_key_value_heads"}));
  RETURN_IF_ERROR(RefuseWindows(config));  // by layer: the window is that of all layers
  RETURN_IF_ERROR(ReadLlamaLike(config, out));
  RETURN_IF_ERROR(ReadRope(config, out));
  return ReadUniformWindow(config, out);
}

}  // namespace reprise::engine
