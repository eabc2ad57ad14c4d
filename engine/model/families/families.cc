#include "engine/model/families/family.h"

namespace reprise::engine {

absl::Span<const Family> Families() {
  static constexpr Family kFamilies[] = {
      {"Gemma2ForCausalLM", ReadGemma2},    {"Gemma3ForCausalLM", ReadGemma3},
      {"GPT2LMHeadModel", ReadGpt2},        {"LlamaForCausalLM", ReadLlama},
      {"MistralForCausalLM", ReadMistral},  {"MixtralForCausalLM", ReadMixtral},
      {"Qwen2ForCausalLM", ReadQwen2},      {"Qwen3ForCausalLM", ReadQwen3},
      {"Qwen3MoeForCausalLM", ReadQwen3Moe}};
  return kFamilies;
}

}  // namespace reprise::engine
