#include "engine/model/families/gemma.h"

#include <cmath>

#include "cachestore/base/status_macros.h"
#include "engine/model/families/config_fields.h"
#include "engine/model/families/llama_like.h"

namespace reprise::engine {
namespace {

// Null switches a cap off, and a field that is missing does not.
absl::StatusOr<float> ReadSoftcap(const JsonObject& config, const char* field, double fallback) {
  if (!config.value().contains(field)) return static_cast<float>(fallback);
  if (!config.Has(field)) return 0.0f;
  ASSIGN_OR_RETURN(const double cap, config.PositiveOr(field, fallback));
  return static_cast<float>(cap);
}

}  // namespace

absl::Status ReadGemmaLike(const JsonObject& config, const GemmaSoftcaps& defaults,
                           ModelConfig* out) {
  ASSIGN_OR_RETURN(const bool both_ways, config.BoolOr("use_bidirectional_attention", false));
  if (both_ways) {
    return config.Error("use_bidirectional_attention",
                        "is true: earlier positions see later tokens, so cached KV of a prefix is "
                        "not valid");
  }
  RETURN_IF_ERROR(RequireFields(config, {"num_key_value_heads", "head_dim"}));
  RETURN_IF_ERROR(ReadLlamaLike(config, out));
  ASSIGN_OR_RETURN(out->qkv_bias, config.BoolOr("attention_bias", false));
  out->attention_output_bias = out->qkv_bias;
  ASSIGN_OR_RETURN(out->activation, ReadActivation(config, "hidden_activation", "gelu_pytorch_tanh",
                                                   out->gated_mlp));
  ASSIGN_OR_RETURN(const double scalar, config.PositiveOr("query_pre_attn_scalar", 256));
  out->attention_scale = static_cast<float>(1 / std::sqrt(scalar));
  ASSIGN_OR_RETURN(out->attention_softcap,
                   ReadSoftcap(config, "attn_logit_softcapping", defaults.attention));
  ASSIGN_OR_RETURN(out->logit_softcap,
                   ReadSoftcap(config, "final_logit_softcapping", defaults.logits));
  out->embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(out->hidden_size)));
  out->norm_adds_one = true;
  ASSIGN_OR_RETURN(out->tied_embeddings, config.BoolOr("tie_word_embeddings", true));
  out->names.attention_output_norm = "post_attention_layernorm";
  out->names.mlp_norm = "pre_feedforward_layernorm";
  out->names.mlp_output_norm = "post_feedforward_layernorm";
  return absl::OkStatus();
}

}  // namespace reprise::engine
