#include "cachestore/base/status_macros.h"
#include "engine/model/families/config_fields.h"
#include "engine/model/families/family.h"
#include "engine/model/families/llama_like.h"

namespace reprise::engine {

absl::Status ReadMixtral(const JsonObject& config, ModelConfig* out) {
  out->rope.theta = 1e6;  // where the config names none
  RETURN_IF_ERROR(RequireFields(config, {"rms_norm_eps"}));
  RETURN_IF_ERROR(ReadMistral(config, out));
  out->family = "mixtral";
  RETURN_IF_ERROR(ReadExperts(config, "num_local_experts", "num_experts_per_tok", &out->experts));
  out->experts.intermediate_size = out->intermediate_size;
  out->experts.renormalize = true;
  for (LayerConfig& layer : out->layers) layer.has_experts = true;
  out->names.router = "block_sparse_moe.gate";
  out->names.experts = "block_sparse_moe.experts.";
  out->names.expert_input = {"w1", "w3"};
  out->names.expert_output = "w2";
  return absl::OkStatus();
}

}  // namespace reprise::engine
