// ModelConfig: what config.json says, as the one layer code understands it. A model family is a
// function that fills this description (families/); nothing below it knows families. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cachestore/block/kv_layout.h"
#include "engine/backend/backend.h"
#include "engine/backend/rope_scheme.h"
#include "engine/model/weight_names.h"

namespace reprise::engine {

enum class NormKind { kRms, kLayer };
enum class PositionKind { kRope, kLearned };

// What differs from layer to layer.
struct LayerConfig {
  bool has_experts = false;  // in place of one MLP
  // A token attends to itself and the window - 1 tokens before it; 0: to all before it.
  int64_t window = 0;
};

// The experts of a layer: gated MLPs, of which each token goes through the `per_token` that the
// router's softmax welcomes most. Their outputs are summed, weighted by it.
struct ExpertConfig {
  int64_t count = 0;
  int64_t per_token = 0;
  int64_t intermediate_size = 0;
  bool renormalize = false;  // the weights of a token's experts are scaled to sum to 1
};

struct ModelConfig {
  std::string architecture;  // architectures[0], e.g. "LlamaForCausalLM"
  std::string family;        // "gpt2", "llama", ...: a file of families/
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  std::vector<LayerConfig> layers;  // [num_layers]
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  NormKind norm = NormKind::kRms;
  float norm_epsilon = 0;
  bool norm_adds_one = false;  // norms multiply by 1 + weight
  PositionKind position = PositionKind::kRope;
  RopeScheme rope;                        // of rotary positions
  std::optional<RopeScheme> window_rope;  // of layers with a window, where it is another one
  float attention_scale = 0;              // scores are q . k x this
  float attention_softcap = 0;            // scores become this x tanh(score / this); 0: they stay
  float logit_softcap = 0;                // likewise for logits
  Activation activation = Activation::kSiluMul;
  bool gated_mlp = true;
  ExpertConfig experts;  // of layers that have them
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool tied_embeddings = false;
  float embedding_scale = 1;  // token embeddings are multiplied by it
  WeightNames names;
  std::vector<uint32_t>
      eos_token_ids;  // from generation_config.json, else config.json; may be empty
};

// The layout of this model's KV, in f32, in blocks of `block_tokens` tokens.
cachestore::KvLayout KvLayoutOf(const ModelConfig& config, int32_t block_tokens);

// The architectures that ReadModelConfig accepts, for help texts and errors: "A, B, C".
std::string SupportedArchitectures();

// Reads config.json (and generation_config.json when there is one) of a Hugging Face folder.
// Errors as LoadModel's.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& folder);

}  // namespace reprise::engine
