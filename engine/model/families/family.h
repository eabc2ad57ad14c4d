// The model families. A family is one file of this folder: a function that turns config.json into a
// ModelConfig, names of tensors included, or says why it cannot; and its line in families.cc.
// Nothing outside of this folder knows a family. Pure functions.
#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/model/json_object.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

struct Family {
  const char* architecture;  // architectures[0] of config.json
  // Fills all of `out` but architecture, vocab_size (set before) and eos_token_ids.
  // kInvalidArgument names the field and what is wrong with it.
  absl::Status (*read)(const JsonObject& config, ModelConfig* out);
};

// In the order of help texts.
absl::Span<const Family> Families();

absl::Status ReadGemma2(const JsonObject& config, ModelConfig* out);
absl::Status ReadGemma3(const JsonObject& config, ModelConfig* out);
absl::Status ReadGpt2(const JsonObject& config, ModelConfig* out);
absl::Status ReadLlama(const JsonObject& config, ModelConfig* out);
absl::Status ReadMistral(const JsonObject& config, ModelConfig* out);
absl::Status ReadMixtral(const JsonObject& config, ModelConfig* out);
absl::Status ReadQwen2(const JsonObject& config, ModelConfig* out);
absl::Status ReadQwen3(const JsonObject& config, ModelConfig* out);
absl::Status ReadQwen3Moe(const JsonObject& config, ModelConfig* out);

}  // namespace reprise::engine
