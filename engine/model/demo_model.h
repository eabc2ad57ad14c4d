// Demo models: a complete Hugging Face folder with seeded weights, for demonstrations and
// benchmarks where no trained model is at hand. Its text means nothing, but computing it costs what
// a trained model of that shape costs, and it does not collapse into one repeated token.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/backend/tensor.h"

namespace reprise::engine {

// The defaults are a Llama of 104 million parameters.
struct DemoModelOptions {
  std::string family = "llama";  // "llama", "gpt2", "qwen2"
  int64_t vocab_size = 259;      // at least 259: 256 bytes and three special tokens
  int64_t hidden_size = 768;
  int64_t num_layers = 12;
  int64_t num_heads = 12;
  int64_t num_kv_heads = 4;  // gpt2: equal to num_heads
  int64_t intermediate_size = 3072;
  int64_t max_positions = 8192;
  ElementType dtype = ElementType::kF32;  // or kBF16
  uint64_t seed = 1;                      // same options, same bytes

  // kInvalidArgument names the field, its value and what it must be.
  absl::Status Validate() const;
};

// Writes config.json, generation_config.json, model.safetensors, tokenizer.json (bytes as tokens,
// in the GPT-2 alphabet, and <|endoftext|>, <|im_start|>, <|im_end|>) and tokenizer_config.json
// into `folder`, which is made if need be. config.json comes last: a folder that has it is
// complete. BLOCKS. kInvalidArgument: Validate(); kAlreadyExists: the folder has a config.json;
// kResourceExhausted and others: the file that could not be written is named.
absl::Status WriteDemoModel(const DemoModelOptions& options, const std::string& folder);

// The same without model.safetensors, for weights that no file holds.
absl::Status WriteDemoDescription(const DemoModelOptions& options, const std::string& folder);

}  // namespace reprise::engine
