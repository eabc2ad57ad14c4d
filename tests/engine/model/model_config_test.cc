#include "engine/model/model_config.h"

#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/config_json.h"
#include "tests/engine/model/model_folder.h"
#include "tests/engine/model/parity_fixture.h"

namespace reprise::engine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(ModelConfigTest, ReadsLlama) {
  const auto config = ReadConfig(Llama());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, "llama");
  EXPECT_EQ(config->architecture, "LlamaForCausalLM");
  EXPECT_EQ(config->vocab_size, 300);
  EXPECT_EQ(config->hidden_size, 64);
  EXPECT_EQ(config->intermediate_size, 128);
  EXPECT_EQ(config->num_layers, 2);
  EXPECT_EQ(config->num_heads, 4);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->max_positions, 512);
  EXPECT_EQ(config->norm, NormKind::kRms);
  EXPECT_FLOAT_EQ(config->norm_epsilon, 1e-5);
  EXPECT_EQ(config->position, PositionKind::kRope);
  EXPECT_EQ(config->rope.theta, 500000);
  EXPECT_FLOAT_EQ(config->attention_scale, 0.25);
  EXPECT_EQ(config->activation, Activation::kSiluMul);
  EXPECT_TRUE(config->gated_mlp);
  EXPECT_FALSE(config->qkv_bias || config->attention_output_bias || config->mlp_bias);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_THAT(config->eos_token_ids, ElementsAre(7));
}

TEST(ModelConfigTest, FillsInWhatLlamaConfigsLeaveOut) {
  nlohmann::json json = Llama();
  for (const char* field : {"num_key_value_heads", "rms_norm_eps", "rope_theta", "eos_token_id",
                            "tie_word_embeddings", "hidden_act"}) {
    json.erase(field);
  }
  const auto config = ReadConfig(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->num_kv_heads, 4);
  EXPECT_FLOAT_EQ(config->norm_epsilon, 1e-6);
  EXPECT_EQ(config->rope.theta, 10000);
  EXPECT_FALSE(config->tied_embeddings);
  EXPECT_EQ(config->activation, Activation::kSiluMul);
  EXPECT_THAT(config->eos_token_ids, IsEmpty());
}

TEST(ModelConfigTest, ReadsBiasesAndHeadDim) {
  nlohmann::json json = Llama();
  json["attention_bias"] = true;
  json["mlp_bias"] = true;
  json["head_dim"] = 32;
  const auto config = ReadConfig(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->qkv_bias && config->attention_output_bias && config->mlp_bias);
  EXPECT_EQ(config->head_dim, 32);
  EXPECT_FLOAT_EQ(config->attention_scale, 1 / std::sqrt(32.0f));
}

TEST(ModelConfigTest, EveryRequiredFieldIsNamedWhenMissingOrImpossible) {
  for (const char* field : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads", "max_position_embeddings"}) {
    nlohmann::json json = Llama();
    json.erase(field);
    EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr(field), HasSubstr("is missing")));
    for (const nlohmann::json& value :
         {nlohmann::json(0), nlohmann::json(-5), nlohmann::json(1ull << 63), nlohmann::json("many"),
          nlohmann::json(2.5)}) {
      json[field] = value;
      EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr(field), HasSubstr(value.dump())));
    }
  }
  for (const char* field : {"n_embd", "n_layer", "n_head", "n_positions"}) {
    nlohmann::json json = Gpt2();
    json.erase(field);
    EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr(field), HasSubstr("is missing")));
  }
}

TEST(ModelConfigTest, FieldsThatContradictEachOtherAreNamed) {
  nlohmann::json json = Llama();
  json["num_key_value_heads"] = 3;
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("is 4"), HasSubstr("num_key_value_heads 3")));
  json = Llama();
  json["num_attention_heads"] = 6;
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("hidden_size"), HasSubstr("num_attention_heads 6")));
  json = Llama();
  json["head_dim"] = 15;
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("head_dim"), HasSubstr("15"), HasSubstr("even")));
  json = Gpt2();
  json["n_head"] = 5;
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("n_embd"), HasSubstr("n_head 5")));
}

TEST(ModelConfigTest, UnsupportedSettingsAreRefusedByName) {
  const auto with = [](nlohmann::json json, const char* field, nlohmann::json value) {
    json[field] = std::move(value);
    return json;
  };
  EXPECT_THAT(ErrorOf(with(Llama(), "hidden_act", "relu6")), HasSubstr("\"relu6\""));
  EXPECT_THAT(ErrorOf(with(Gpt2(), "activation_function", "mish")), HasSubstr("\"mish\""));
  EXPECT_THAT(ErrorOf(with(Gpt2(), "add_cross_attention", true)), HasSubstr("add_cross_attention"));
  EXPECT_THAT(ErrorOf(with(Gpt2(), "scale_attn_by_inverse_layer_idx", true)),
              HasSubstr("scale_attn_by_inverse_layer_idx"));
  EXPECT_THAT(ErrorOf(with(Llama(), "quantization_config", {{"quant_method", "gptq"}})),
              HasSubstr("quantization_config"));
  EXPECT_THAT(ErrorOf(with(Llama(), "partial_rotary_factor", 0.5)),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(ErrorOf(with(Llama(), "rope_theta", -1)), HasSubstr("rope_theta"));
  EXPECT_THAT(ErrorOf(with(Llama(), "tie_word_embeddings", "yes")),
              AllOf(HasSubstr("tie_word_embeddings"), HasSubstr("true or false")));
  EXPECT_THAT(ErrorOf(with(Llama(), "rope_parameters", {{"full_attention", {{"rope_theta", 1}}}})),
              HasSubstr("differ by layer"));
}

TEST(ModelConfigTest, EncodersAreRefusedWithTheReason) {
  for (const char* architecture :
       {"BertModel", "BertForMaskedLM", "RobertaForSequenceClassification", "XLMRobertaModel",
        "T5ForConditionalGeneration", "T5EncoderModel", "DistilBertModel", "DebertaV2Model",
        "ModernBertForMaskedLM", "BartForConditionalGeneration", "ErnieForMaskedLM",
        "ErnieMModel"}) {
    EXPECT_THAT(ErrorOf(As(architecture)),
                AllOf(HasSubstr(architecture),
                      HasSubstr("an encoder lets earlier positions see later tokens, so cached KV "
                                "of a prefix is not valid")));
  }
  nlohmann::json json = Llama();
  json["is_encoder_decoder"] = true;
  EXPECT_THAT(ErrorOf(json), HasSubstr("cached KV of a prefix is not valid"));
}

TEST(ModelConfigTest, DecodersNamedAfterAnEncoderAreNotCalledOne) {
  for (const char* architecture : {"Ernie4_5ForCausalLM", "Ernie4_5_MoeForCausalLM"}) {
    EXPECT_THAT(ErrorOf(As(architecture)),
                AllOf(HasSubstr("is not supported"), Not(HasSubstr("encoder"))));
  }
}

TEST(ModelConfigTest, UnknownArchitectureListsTheSupportedOnes) {
  EXPECT_THAT(ErrorOf(As("FalconForCausalLM")),
              AllOf(HasSubstr("FalconForCausalLM"), HasSubstr(SupportedArchitectures())));
  EXPECT_EQ(SupportedArchitectures(),
            "Gemma2ForCausalLM, Gemma3ForCausalLM, GPT2LMHeadModel, LlamaForCausalLM, "
            "MistralForCausalLM, "
            "MixtralForCausalLM, "
            "Qwen2ForCausalLM, Qwen3ForCausalLM, Qwen3MoeForCausalLM");
  nlohmann::json json = Llama();
  json.erase("architectures");
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("architectures"), HasSubstr("missing")));
  json["architectures"] = nlohmann::json::array();
  EXPECT_THAT(ErrorOf(json), HasSubstr("list of one name"));
}

TEST(ModelConfigTest, GenerationConfigDecidesTheEndTokens) {
  const ModelFolder folder;
  folder.Write("config.json", Llama().dump());
  folder.Write("generation_config.json", R"({"eos_token_id": [8, 9]})");
  EXPECT_THAT(ReadModelConfig(folder.path())->eos_token_ids, ElementsAre(8, 9));
  folder.Write("generation_config.json", R"({"eos_token_id": 3})");
  EXPECT_THAT(ReadModelConfig(folder.path())->eos_token_ids, ElementsAre(3));
  folder.Write("generation_config.json", R"({"temperature": 1})");
  EXPECT_THAT(ReadModelConfig(folder.path())->eos_token_ids, ElementsAre(7));
  folder.Write("generation_config.json", R"({"eos_token_id": [3, 300]})");
  EXPECT_THAT(std::string(ReadModelConfig(folder.path()).status().message()),
              AllOf(HasSubstr("generation_config.json"), HasSubstr("eos_token_id"),
                    HasSubstr("300"), HasSubstr("299")));
  folder.Write("generation_config.json", "{");
  EXPECT_THAT(std::string(ReadModelConfig(folder.path()).status().message()),
              AllOf(HasSubstr("generation_config.json"), HasSubstr("not JSON")));
}

TEST(ModelConfigTest, UnreadableConfigIsNamed) {
  const ModelFolder folder;
  absl::Status status = ReadModelConfig(folder.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("config.json"));
  for (const char* text : {"", "{", "[]", "{\"a\": \xff}", "{\"architectures\": [\"Llama"}) {
    folder.Write("config.json", text);
    status = ReadModelConfig(folder.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("config.json"));
  }
}

TEST(ModelConfigTest, DeepJsonIsRefusedWithoutTakingTheStack) {
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  const ModelFolder folder;
  for (const char* field : {"architectures", "rope_scaling", "layer_types", "other"}) {
    std::string text = Llama().dump();
    text.replace(text.size() - 1, 1, std::string(",\"") + field + "\":" + deep + "}");
    folder.Write("config.json", text);
    const absl::Status status = ReadModelConfig(folder.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("at most 64"));
  }
}

TEST(ModelConfigTest, ReadsEveryParityFixture) {
  const std::vector<std::string> names = ParityFixtureNames();
  EXPECT_GE(names.size(), 12u);
  for (const std::string& name : names) {
    const auto config = ReadModelConfig(FixturePath(name));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->vocab_size, 272);
    EXPECT_EQ(name.substr(0, name.find('_')), config->family);
    const ModelFolder folder(name);
    const nlohmann::json json = nlohmann::json::parse(folder.Read("config.json"));
    EXPECT_EQ(config->tied_embeddings, json.at("tie_word_embeddings").get<bool>()) << name;
  }
}

}  // namespace
}  // namespace reprise::engine
