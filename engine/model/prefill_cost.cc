#include "engine/model/prefill_cost.h"

namespace reprise::engine {
namespace {

// Of a layer, those that one token goes through; biases and norms are nothing beside them.
int64_t WeightsOf(const ModelConfig& config, const LayerConfig& layer) {
  const int64_t attention =
      2 * config.hidden_size * (config.num_heads + config.num_kv_heads) * config.head_dim;
  if (layer.has_experts) {
    const ExpertConfig& experts = config.experts;
    return attention +
           config.hidden_size * (experts.count + 3 * experts.per_token * experts.intermediate_size);
  }
  const int64_t matrices = config.gated_mlp ? 3 : 2;
  return attention + matrices * config.hidden_size * config.intermediate_size;
}

}  // namespace

int64_t AttentionTokens(const ModelConfig& config) {
  const int64_t per_token_before = 4 * config.num_heads * config.head_dim;
  int64_t growing = 0;   // operations for each token before this one
  int64_t constant = 0;  // operations for this one
  for (const LayerConfig& layer : config.layers) {
    constant += 2 * WeightsOf(config, layer);
    (layer.window == 0 ? growing : constant) +=
        per_token_before * (layer.window == 0 ? 1 : layer.window);
  }
  return growing == 0 ? 0 : constant / growing;
}

}  // namespace reprise::engine
