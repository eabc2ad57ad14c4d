#include "engine/model/families/llama_like.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/families/config_fields.h"

namespace reprise::engine {
namespace {

WeightNames LlamaNames() {
  WeightNames names;
  names.prefixes = {"model.", ""};
  names.token_embedding = "embed_tokens";
  names.final_norm = "norm";
  names.lm_head = "lm_head";
  names.layers = "layers.";
  names.attention_norm = "input_layernorm";
  names.qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  names.attention_output = "self_attn.o_proj";
  names.mlp_norm = "post_attention_layernorm";
  names.mlp_input = {"mlp.gate_proj", "mlp.up_proj"};
  names.mlp_output = "mlp.down_proj";
  names.ignored = {".rotary_emb.inv_freq"};
  return names;
}

}  // namespace

absl::Status ReadLlamaLike(const JsonObject& config, ModelConfig* out) {
  ASSIGN_OR_RETURN(out->hidden_size, config.Int("hidden_size", kWidthRange));
  ASSIGN_OR_RETURN(out->intermediate_size, config.Int("intermediate_size", kWidthRange));
  ASSIGN_OR_RETURN(out->num_layers, config.Int("num_hidden_layers", kLayerRange));
  out->layers.resize(out->num_layers);
  ASSIGN_OR_RETURN(out->num_heads, config.Int("num_attention_heads", kHeadRange));
  ASSIGN_OR_RETURN(out->max_positions, config.Int("max_position_embeddings", kPositionRange));
  ASSIGN_OR_RETURN(out->num_kv_heads,
                   config.IntOr("num_key_value_heads", kHeadRange, out->num_heads));
  if (out->num_heads % out->num_kv_heads != 0) {
    return config.Error("num_attention_heads", absl::StrCat("is ", out->num_heads,
                                                            ", not a multiple of "
                                                            "num_key_value_heads ",
                                                            out->num_kv_heads));
  }
  if (!config.Has("head_dim") && out->hidden_size % out->num_heads != 0) {
    return config.Error("hidden_size", absl::StrCat("is ", out->hidden_size,
                                                    ", not a multiple of "
                                                    "num_attention_heads ",
                                                    out->num_heads));
  }
  ASSIGN_OR_RETURN(out->head_dim,
                   config.IntOr("head_dim", kWidthRange, out->hidden_size / out->num_heads));
  if (out->head_dim % 2 != 0) {
    return config.Error("head_dim",
                        absl::StrCat("is ", out->head_dim, "; rotary positions need an even one"));
  }
  out->names = LlamaNames();
  out->norm = NormKind::kRms;
  ASSIGN_OR_RETURN(out->norm_epsilon, config.PositiveOr("rms_norm_eps", 1e-6));
  out->gated_mlp = true;
  ASSIGN_OR_RETURN(out->activation, ReadActivation(config, "hidden_act", "silu", out->gated_mlp));
  out->attention_scale = 1 / std::sqrt(static_cast<float>(out->head_dim));
  ASSIGN_OR_RETURN(out->tied_embeddings, config.BoolOr("tie_word_embeddings", false));
  return absl::OkStatus();
}

absl::Status RequireFields(const JsonObject& config, std::initializer_list<const char*> fields) {
  for (const char* field : fields) {
    if (!config.Has(field)) return config.Error(field, "is missing");
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine
