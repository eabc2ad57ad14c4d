#include "cachestore/base/status_macros.h"
#include "engine/model/families/family.h"
#include "engine/model/families/llama_like.h"
#include "engine/model/families/rope_fields.h"
#include "engine/model/families/window_fields.h"

namespace reprise::engine {

absl::Status ReadQwen3(const JsonObject& config, ModelConfig* out) {
  out->family = "qwen3";
  RETURN_IF_ERROR(RequireFields(config, {"num_key_value_heads", "head_dim"}));
  RETURN_IF_ERROR(ReadLlamaLike(config, out));
  RETURN_IF_ERROR(ReadRope(config, out));
  ASSIGN_OR_RETURN(out->qkv_bias, config.BoolOr("attention_bias", false));
  out->attention_output_bias = out->qkv_bias;
  out->names.query_norm = "self_attn.q_norm";
  out->names.key_norm = "self_attn.k_norm";
  return ReadQwenWindows(config, out);
}

}  // namespace reprise::engine
