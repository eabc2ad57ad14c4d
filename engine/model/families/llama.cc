#include "cachestore/base/status_macros.h"
#include "engine/model/families/family.h"
#include "engine/model/families/llama_like.h"
#include "engine/model/families/rope_fields.h"
#include "engine/model/families/window_fields.h"

namespace reprise::engine {

absl::Status ReadLlama(const JsonObject& config, ModelConfig* out) {
  out->family = "llama";
  ASSIGN_OR_RETURN(const bool attention_bias, config.BoolOr("attention_bias", false));
  out->qkv_bias = out->attention_output_bias = attention_bias;
  ASSIGN_OR_RETURN(out->mlp_bias, config.BoolOr("mlp_bias", false));
  RETURN_IF_ERROR(RefuseWindows(config));
  RETURN_IF_ERROR(ReadLlamaLike(config, out));
  return ReadRope(config, out);
}

}  // namespace reprise::engine
