// What is particular to one family's config.json.

#include <string>
#include <vector>

#include "engine/model/model_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/config_json.h"

namespace reprise::engine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ModelFamiliesTest, ReadsGpt2) {
  const auto config = ReadConfig(Gpt2());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, "gpt2");
  EXPECT_EQ(config->intermediate_size, 256);
  EXPECT_EQ(config->num_kv_heads, 4);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->max_positions, 128);
  EXPECT_EQ(config->norm, NormKind::kLayer);
  EXPECT_EQ(config->position, PositionKind::kLearned);
  EXPECT_EQ(config->activation, Activation::kGeluTanh);
  EXPECT_FALSE(config->gated_mlp);
  EXPECT_TRUE(config->qkv_bias && config->attention_output_bias && config->mlp_bias);
  EXPECT_TRUE(config->tied_embeddings);
}

TEST(ModelFamiliesTest, Qwen2HasBiasesOnQueryKeyAndValueOnly) {
  const auto config = ReadConfig(As("Qwen2ForCausalLM"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, "qwen2");
  EXPECT_TRUE(config->qkv_bias);
  EXPECT_FALSE(config->attention_output_bias || config->mlp_bias);
}

TEST(ModelFamiliesTest, Qwen3HasNormsOfHeadsAndNamesItsHeadDim) {
  nlohmann::json json = As("Qwen3ForCausalLM");
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("head_dim"), HasSubstr("is missing")));
  json["head_dim"] = 32;
  auto config = ReadConfig(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, "qwen3");
  EXPECT_EQ(config->head_dim, 32);
  EXPECT_FALSE(config->qkv_bias || config->attention_output_bias || config->mlp_bias);
  EXPECT_EQ(config->names.query_norm, "self_attn.q_norm");
  EXPECT_EQ(config->names.key_norm, "self_attn.k_norm");
  json["attention_bias"] = true;
  config = ReadConfig(json);
  EXPECT_TRUE(config->qkv_bias && config->attention_output_bias);
}

nlohmann::json Qwen3Moe() {
  nlohmann::json json = As("Qwen3MoeForCausalLM");
  json.update({{"head_dim", 16},
               {"num_hidden_layers", 6},
               {"num_experts", 8},
               {"num_experts_per_tok", 2},
               {"moe_intermediate_size", 96},
               {"norm_topk_prob", true}});
  return json;
}

std::vector<bool> LayersWithExperts(const nlohmann::json& json) {
  const auto config = ReadConfig(json);
  EXPECT_TRUE(config.ok()) << config.status();
  std::vector<bool> layers;
  for (const LayerConfig& layer : config->layers) layers.push_back(layer.has_experts);
  return layers;
}

TEST(ModelFamiliesTest, ReadsQwen3Moe) {
  nlohmann::json json = Qwen3Moe();
  auto config = ReadConfig(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, "qwen3moe");
  EXPECT_EQ(config->names.query_norm, "self_attn.q_norm");
  EXPECT_EQ(config->intermediate_size, 128);
  EXPECT_EQ(config->experts.count, 8);
  EXPECT_EQ(config->experts.per_token, 2);
  EXPECT_EQ(config->experts.intermediate_size, 96);
  EXPECT_TRUE(config->experts.renormalize);
  json.erase("norm_topk_prob");
  json["num_local_experts"] = json["num_experts"];
  json.erase("num_experts");
  config = ReadConfig(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->experts.renormalize);
  EXPECT_EQ(config->experts.count, 8);
}

TEST(ModelFamiliesTest, QwenLayersHaveExpertsOrOneMlp) {
  nlohmann::json json = Qwen3Moe();
  EXPECT_THAT(LayersWithExperts(json), ElementsAre(true, true, true, true, true, true));
  json["decoder_sparse_step"] = 2;
  EXPECT_THAT(LayersWithExperts(json), ElementsAre(false, true, false, true, false, true));
  json["mlp_only_layers"] = {0, 3};
  EXPECT_THAT(LayersWithExperts(json), ElementsAre(false, true, false, false, false, true));
  json["mlp_only_layers"] = {6};
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("mlp_only_layers"), HasSubstr("has 6")));
  json["mlp_only_layers"] = 3;
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("mlp_only_layers"), HasSubstr("a list")));
}

TEST(ModelFamiliesTest, ReadsMixtral) {
  nlohmann::json json = As("MixtralForCausalLM");
  json.update({{"num_local_experts", 8}, {"num_experts_per_tok", 2}, {"sliding_window", nullptr}});
  json.erase("rope_theta");
  const auto config = ReadConfig(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, "mixtral");
  EXPECT_EQ(config->rope.theta, 1e6);
  EXPECT_EQ(config->experts.intermediate_size, 128);
  EXPECT_TRUE(config->experts.renormalize);
  EXPECT_THAT(LayersWithExperts(json), ElementsAre(true, true));
}

TEST(ModelFamiliesTest, ExpertsWithoutTheirNumbersAreRefused) {
  for (const char* field : {"num_experts", "num_experts_per_tok", "moe_intermediate_size"}) {
    nlohmann::json json = Qwen3Moe();
    json.erase(field);
    EXPECT_THAT(ErrorOf(json), HasSubstr("is missing")) << field;
  }
  nlohmann::json json = Qwen3Moe();
  json["num_experts_per_tok"] = 9;
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("num_experts_per_tok"), HasSubstr("from 1 to 8")));
  json = As("MixtralForCausalLM");
  json["sliding_window"] = nullptr;
  EXPECT_THAT(ErrorOf(json), HasSubstr("num_local_experts"));
}

std::vector<int64_t> Windows(const nlohmann::json& json) {
  const auto config = ReadConfig(json);
  EXPECT_TRUE(config.ok()) << config.status();
  std::vector<int64_t> windows;
  for (const LayerConfig& layer : config->layers) windows.push_back(layer.window);
  return windows;
}

TEST(ModelFamiliesTest, MistralHasOneWindowOrNone) {
  nlohmann::json json = As("MistralForCausalLM");
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("sliding_window"), HasSubstr("missing")));
  json["sliding_window"] = 511;
  EXPECT_THAT(Windows(json), ElementsAre(511, 511));
  json["sliding_window"] = 4096;  // all positions
  EXPECT_THAT(Windows(json), ElementsAre(512, 512));
  json["sliding_window"] = nullptr;
  EXPECT_THAT(Windows(json), ElementsAre(0, 0));
  json["sliding_window"] = 0;
  EXPECT_THAT(ErrorOf(json), HasSubstr("sliding_window"));
  json["sliding_window"] = 511;
  json["layer_types"] = {"full_attention", "sliding_attention"};
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("layer_types"), HasSubstr("sliding_attention")));
  json.erase("layer_types");
  json.erase("num_key_value_heads");
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("num_key_value_heads"), HasSubstr("missing")));
}

TEST(ModelFamiliesTest, QwenHasWindowsWhereItUsesThem) {
  nlohmann::json json = As("Qwen2ForCausalLM");
  json["num_hidden_layers"] = 3;
  json["sliding_window"] = 100;  // written by default, and off
  json["max_window_layers"] = 1;
  EXPECT_THAT(Windows(json), ElementsAre(0, 0, 0));
  json["use_sliding_window"] = true;
  EXPECT_THAT(Windows(json), ElementsAre(0, 100, 100));
  json["max_window_layers"] = 28;
  EXPECT_THAT(Windows(json), ElementsAre(0, 0, 0));
  json["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
  EXPECT_THAT(Windows(json), ElementsAre(100, 0, 100));
  json["use_sliding_window"] = false;
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("layer_types"), HasSubstr("sliding_attention")));
}

TEST(ModelFamiliesTest, LayerTypesThatSayNothingClearAreRefused) {
  nlohmann::json json = As("Qwen2ForCausalLM");
  json["use_sliding_window"] = true;
  json["sliding_window"] = 100;
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("max_window_layers"), HasSubstr("missing")));
  json["layer_types"] = {"full_attention"};
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("layer_types"), HasSubstr("2 types")));
  json["layer_types"] = {"full_attention", "chunked_attention"};
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("layer_types"), HasSubstr("chunked_attention")));
  json["layer_types"] = {"full_attention", "sliding_attention"};
  json.erase("sliding_window");
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("sliding_window"), HasSubstr("missing")));
}

TEST(ModelFamiliesTest, FamiliesWithoutWindowsRefuseThem) {
  for (nlohmann::json json : {Llama(), Qwen3Moe()}) {
    EXPECT_TRUE(ReadConfig(json).ok());
    json["use_sliding_window"] = true;
    EXPECT_THAT(ErrorOf(json), HasSubstr("use_sliding_window"));
    json["use_sliding_window"] = false;
    json["layer_types"] = {"full_attention", "sliding_attention"};
    EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("layer_types"), HasSubstr("sliding_attention")));
  }
}

nlohmann::json Gemma3() {
  nlohmann::json json = As("Gemma3ForCausalLM");
  for (const char* field : {"hidden_act", "rope_theta", "tie_word_embeddings"}) json.erase(field);
  json.update({{"head_dim", 32}, {"num_hidden_layers", 7}, {"sliding_window", 100}});
  return json;
}

TEST(ModelFamiliesTest, ReadsGemma3) {
  const auto config = ReadConfig(Gemma3());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, "gemma3");
  EXPECT_EQ(config->activation, Activation::kGeluTanhMul);
  EXPECT_TRUE(config->norm_adds_one);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_EQ(config->attention_scale, 1.0f / 16);  // query_pre_attn_scalar 256
  EXPECT_EQ(config->embedding_scale, 8);          // hidden_size 64
  EXPECT_EQ(config->names.mlp_norm, "pre_feedforward_layernorm");
  EXPECT_EQ(config->names.attention_output_norm, "post_attention_layernorm");
  EXPECT_EQ(config->names.mlp_output_norm, "post_feedforward_layernorm");
  EXPECT_EQ(config->rope, (RopeScheme{1e6, {}}));
  EXPECT_EQ(config->window_rope, (RopeScheme{1e4, {}}));
}

TEST(ModelFamiliesTest, Gemma3LayersAlternate) {
  nlohmann::json json = Gemma3();
  EXPECT_THAT(Windows(json), ElementsAre(100, 100, 100, 100, 100, 0, 100));
  json["sliding_window_pattern"] = 2;
  EXPECT_THAT(Windows(json), ElementsAre(100, 0, 100, 0, 100, 0, 100));
  json["num_hidden_layers"] = 2;
  json["layer_types"] = {"full_attention", "sliding_attention"};
  EXPECT_THAT(Windows(json), ElementsAre(0, 100));
  json.erase("layer_types");
  json["sliding_window"] = nullptr;
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("sliding_window"), HasSubstr("missing")));
}

TEST(ModelFamiliesTest, Gemma3ReadsItsTwoRopesOldAndNew) {
  nlohmann::json json = Gemma3();
  json.update({{"rope_theta", 5e5}, {"rope_local_base_freq", 2e4}});
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  auto config = ReadConfig(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope, (RopeScheme{5e5, LinearRope{8}}));
  EXPECT_EQ(config->window_rope, (RopeScheme{2e4, {}}));
  json = Gemma3();
  json["rope_parameters"]["full_attention"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  json["rope_parameters"]["sliding_attention"] = {{"rope_type", "default"}, {"rope_theta", 3e4}};
  config = ReadConfig(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope, (RopeScheme{1e6, LinearRope{8}}));
  EXPECT_EQ(config->window_rope, (RopeScheme{3e4, {}}));
  json["rope_parameters"].erase("sliding_attention");
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("sliding_attention"), HasSubstr("missing")));
}

TEST(ModelFamiliesTest, Gemma3CapsScoresOnlyWhereItSaysSo) {
  nlohmann::json json = Gemma3();
  EXPECT_EQ(ReadConfig(json)->attention_softcap, 0);
  EXPECT_EQ(ReadConfig(json)->logit_softcap, 0);
  json.update({{"attn_logit_softcapping", 40.0}, {"final_logit_softcapping", nullptr}});
  EXPECT_EQ(ReadConfig(json)->attention_softcap, 40);
  EXPECT_EQ(ReadConfig(json)->logit_softcap, 0);
  json["use_bidirectional_attention"] = true;
  EXPECT_THAT(ErrorOf(json), HasSubstr("cached KV of a prefix is not valid"));
}

nlohmann::json Gemma2() {
  nlohmann::json json = As("Gemma2ForCausalLM");
  for (const char* field : {"hidden_act", "rope_theta", "tie_word_embeddings"}) json.erase(field);
  json.update({{"head_dim", 32}, {"num_hidden_layers", 5}, {"sliding_window", 100}});
  return json;
}

TEST(ModelFamiliesTest, ReadsGemma2) {
  const auto config = ReadConfig(Gemma2());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, "gemma2");
  EXPECT_EQ(config->activation, Activation::kGeluTanhMul);
  EXPECT_TRUE(config->norm_adds_one);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_EQ(config->attention_scale, 1.0f / 16);  // query_pre_attn_scalar 256
  EXPECT_EQ(config->embedding_scale, 8);          // hidden_size 64
  EXPECT_EQ(config->names.attention_norm, "input_layernorm");
  EXPECT_EQ(config->names.mlp_norm, "pre_feedforward_layernorm");
  EXPECT_EQ(config->names.attention_output_norm, "post_attention_layernorm");
  EXPECT_EQ(config->names.mlp_output_norm, "post_feedforward_layernorm");
  EXPECT_EQ(config->names.query_norm, "");
  EXPECT_EQ(config->rope, (RopeScheme{1e4, {}}));
  EXPECT_FALSE(config->window_rope.has_value());
}

TEST(ModelFamiliesTest, Gemma2LayersAlternate) {
  nlohmann::json json = Gemma2();
  EXPECT_THAT(Windows(json), ElementsAre(100, 0, 100, 0, 100));
  json["num_hidden_layers"] = 2;
  json["layer_types"] = {"full_attention", "sliding_attention"};
  EXPECT_THAT(Windows(json), ElementsAre(0, 100));
  json.erase("layer_types");
  json.erase("sliding_window");
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("sliding_window"), HasSubstr("missing")));
}

TEST(ModelFamiliesTest, Gemma2CapsScoresUnlessItSaysNot) {
  nlohmann::json json = Gemma2();
  EXPECT_EQ(ReadConfig(json)->attention_softcap, 50);
  EXPECT_EQ(ReadConfig(json)->logit_softcap, 30);
  json.update({{"attn_logit_softcapping", nullptr}, {"final_logit_softcapping", 20}});
  EXPECT_EQ(ReadConfig(json)->attention_softcap, 0);
  EXPECT_EQ(ReadConfig(json)->logit_softcap, 20);
  for (const char* field : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    json = Gemma2();
    json[field] = -1;
    EXPECT_THAT(ErrorOf(json), HasSubstr(field));
  }
  json = Gemma2();
  json["use_bidirectional_attention"] = true;
  EXPECT_THAT(ErrorOf(json), HasSubstr("cached KV of a prefix is not valid"));
}

}  // namespace
}  // namespace reprise::engine
