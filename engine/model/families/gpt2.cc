#include <cmath>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/families/config_fields.h"
#include "engine/model/families/family.h"

namespace reprise::engine {
namespace {

WeightNames Gpt2Names() {
  WeightNames names;
  names.order = WeightOrder::kInOut;
  names.prefixes = {"transformer.", ""};
  names.token_embedding = "wte";
  names.position_embedding = "wpe";
  names.final_norm = "ln_f";
  names.lm_head = "lm_head";
  names.layers = "h.";
  names.attention_norm = "ln_1";
  names.qkv = {"attn.c_attn"};
  names.attention_output = "attn.c_proj";
  names.mlp_norm = "ln_2";
  names.mlp_input = {"mlp.c_fc"};
  names.mlp_output = "mlp.c_proj";
  names.ignored = {".attn.bias", ".attn.masked_bias"};
  return names;
}

}  // namespace

absl::Status ReadGpt2(const JsonObject& config, ModelConfig* out) {
  out->family = "gpt2";
  out->names = Gpt2Names();
  ASSIGN_OR_RETURN(out->hidden_size, config.Int("n_embd", kWidthRange));
  ASSIGN_OR_RETURN(out->num_layers, config.Int("n_layer", kLayerRange));
  out->layers.resize(out->num_layers);
  ASSIGN_OR_RETURN(out->num_heads, config.Int("n_head", kHeadRange));
  ASSIGN_OR_RETURN(out->max_positions, config.Int("n_positions", kPositionRange));
  ASSIGN_OR_RETURN(out->intermediate_size,
                   config.IntOr("n_inner", kWidthRange, 4 * out->hidden_size));
  if (out->hidden_size % out->num_heads != 0) {
    return config.Error("n_embd", absl::StrCat("is ", out->hidden_size,
                                               ", not a multiple of n_head ", out->num_heads));
  }
  out->num_kv_heads = out->num_heads;
  out->head_dim = out->hidden_size / out->num_heads;
  out->norm = NormKind::kLayer;
  ASSIGN_OR_RETURN(out->norm_epsilon, config.PositiveOr("layer_norm_epsilon", 1e-5));
  out->position = PositionKind::kLearned;
  out->gated_mlp = false;
  ASSIGN_OR_RETURN(out->activation,
                   ReadActivation(config, "activation_function", "gelu_new", out->gated_mlp));
  out->qkv_bias = out->attention_output_bias = out->mlp_bias = true;
  ASSIGN_OR_RETURN(const bool scaled, config.BoolOr("scale_attn_weights", true));
  out->attention_scale = scaled ? 1 / std::sqrt(static_cast<float>(out->head_dim)) : 1;
  for (const char* field : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) {
    ASSIGN_OR_RETURN(const bool on, config.BoolOr(field, false));
    if (on) return config.Error(field, "is true, which is not supported");
  }
  ASSIGN_OR_RETURN(out->tied_embeddings, config.BoolOr("tie_word_embeddings", true));
  return absl::OkStatus();
}

}  // namespace reprise::engine
