#include "engine/model/families/family.h"

namespace reprise::engine {

absl::Span<const Family> Families() {
  static constexpr Family kFamilies[] = {{"GPT2LMHeadModel", ReadGpt2},
                                         {"LlamaForCausalLM", ReadLlama},
                                         {"MistralForCausalLM", ReadMistral},
                                         {"Qwen2ForCausalLM", ReadQwen2},
                                         {"Qwen3ForCausalLM", ReadQwen3}};
  return kFamilies;
}

}  // namespace reprise::engine
