#include "engine/model/prefill_cost.h"

#include <gtest/gtest.h>

namespace reprise::engine {
namespace {

ModelConfig Llama70B() {
  ModelConfig config;
  config.hidden_size = 8192;
  config.intermediate_size = 28672;
  config.num_heads = 64;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.layers.resize(80);
  return config;
}

TEST(PrefillCostTest, OfLlama70BAttentionEqualsTheRestAt52000Tokens) {
  // 68.5e9 weights beside the embeddings, over 80 x 2 x 64 x 128.
  EXPECT_EQ(AttentionTokens(Llama70B()), 52'224);
}

TEST(PrefillCostTest, AnExpertCountsWhereTheTokenGoesThroughIt) {
  ModelConfig config = Llama70B();
  for (LayerConfig& layer : config.layers) layer.has_experts = true;
  config.experts = {.count = 8, .per_token = 1, .intermediate_size = 28672};
  const int64_t of_one = AttentionTokens(config);
  EXPECT_NEAR(of_one, AttentionTokens(Llama70B()), 8);
  config.experts.per_token = 2;
  EXPECT_GT(AttentionTokens(config), of_one + of_one / 2);
}

TEST(PrefillCostTest, LayersWithAWindowDoNotGrow) {
  ModelConfig config = Llama70B();
  for (size_t i = 0; i < 40; ++i) config.layers[i].window = 4096;
  EXPECT_EQ(AttentionTokens(config), 2 * 52'224 + 4096);
  for (LayerConfig& layer : config.layers) layer.window = 4096;
  EXPECT_EQ(AttentionTokens(config), 0);
}

}  // namespace
}  // namespace reprise::engine
