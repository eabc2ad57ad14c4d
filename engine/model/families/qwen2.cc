#include "cachestore/base/status_macros.h"
#include "engine/model/families/family.h"
#include "engine/model/families/llama_like.h"

namespace reprise::engine {

absl::Status ReadQwen2(const JsonObject& config, ModelConfig* out) {
  out->family = "qwen2";
  out->qkv_bias = true;
  RETURN_IF_ERROR(RequireKvHeads(config));
  ASSIGN_OR_RETURN(const bool sliding, config.BoolOr("use_sliding_window", false));
  if (sliding) {
    return config.Error("use_sliding_window", "is true; sliding-window attention is not supported");
  }
  return ReadLlamaLike(config, out);
}

}  // namespace reprise::engine
