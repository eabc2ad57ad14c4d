// Small config.json objects of a test, and how ReadModelConfig takes them.
#pragma once

#include <string>

#include "engine/model/model_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/model/model_folder.h"

namespace reprise::engine {

inline nlohmann::json Llama() {
  return nlohmann::json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "vocab_size": 300, "hidden_size": 64,
    "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0, "tie_word_embeddings": true, "hidden_act": "silu",
    "eos_token_id": 7})");
}

inline nlohmann::json Gpt2() {
  return nlohmann::json::parse(R"({
    "architectures": ["GPT2LMHeadModel"], "vocab_size": 300, "n_embd": 64, "n_layer": 2,
    "n_head": 4, "n_positions": 128})");
}

inline nlohmann::json As(const char* architecture) {
  nlohmann::json config = Llama();
  config["architectures"] = {architecture};
  return config;
}

inline absl::StatusOr<ModelConfig> ReadConfig(const nlohmann::json& config) {
  const ModelFolder folder;
  folder.Write("config.json", config.dump());
  return ReadModelConfig(folder.path());
}

inline std::string ErrorOf(const nlohmann::json& config) {
  const absl::Status status = ReadConfig(config).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("config.json"));
  return std::string(status.message());
}

}  // namespace reprise::engine
