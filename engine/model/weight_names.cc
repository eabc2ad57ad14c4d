#include "engine/model/weight_names.h"

#include "cachestore/base/check.h"

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

// Llama, Mistral, Qwen2.
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

const WeightNames& WeightNamesOf(const std::string& family) {
  static const WeightNames* const gpt2 = new WeightNames(Gpt2Names());
  static const WeightNames* const llama = new WeightNames(LlamaNames());
  CHECK(family == "gpt2" || family == "llama" || family == "mistral" || family == "qwen2");
  return family == "gpt2" ? *gpt2 : *llama;
}

}  // namespace reprise::engine
